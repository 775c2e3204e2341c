"""From messages to exchanges, the readers of WildChat and of your own logs, and the ledger of a source."""

import json
from collections import Counter
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import turns
from drift import sources, tables
from drift.cli import StageError
from drift.sources import logs, wildchat


def chat(*said: tuple[str, str]) -> dict:
    return {"id": "c", "messages": [{"role": role, "content": content} for role, content in said]}


def texts(rows: list[dict]) -> list[tuple]:
    return [(row["user"], row["response"], row["feedback"]) for row in rows]


def test_feedback_is_the_next_message_and_the_system_prompt_is_on_the_first_turn():
    rows = sources.exchanges(chat(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")))
    assert texts(rows) == [("a", "b", "c"), ("c", None, None)]
    assert [row["system"] for row in rows] == ["s", None]
    assert [row["turn"] for row in rows] == [0, 1]


def test_neighbours_of_one_role_are_merged_and_flagged():
    rows = sources.exchanges(chat(("user", "a"), ("human", "b"), ("gpt", "c"), ("bing", "d")))
    assert texts(rows) == [("a\n\nb", "c\n\nd", None)]
    assert rows[0]["flags"] == ["merged_response", "merged_user"]


def test_empty_messages_are_left_out_and_flagged():
    rows = sources.exchanges(chat(("user", "a"), ("assistant", " \n"), ("user", "b"), ("assistant", "c"), ("user", "")))
    assert texts(rows) == [("a\n\nb", "c", None)]
    assert rows[0]["flags"] == ["empty_message", "merged_user"]


def test_lone_surrogates_become_replacement_characters_that_can_be_written(tmp_path):
    (rows,) = sources.exchanges(chat(("user", json.loads(r'"a \ud83d b \ud83d\ude00"')), ("assistant", "x\u2028y")))
    assert rows["user"] == "a \ufffd b \U0001f600"
    assert rows["response"] == "x\u2028y"
    assert rows["flags"] == ["lone_surrogate"]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([("user", "a"), ("tool", "b"), ("assistant", "c")], sources.UNKNOWN_ROLE),
        ([("user", "a"), ("system", "b"), ("assistant", "c")], sources.LATE_SYSTEM),
        ([("system", "s"), ("assistant", "a"), ("user", "b"), ("assistant", "c")], sources.STARTS_WITH_ASSISTANT),
        ([("user", "a")], sources.NO_EXCHANGE),
        ([("user", " "), ("user", "a"), ("assistant", "")], sources.NO_EXCHANGE),
        ([("system", "s")], sources.NO_EXCHANGE),
        ([], sources.NO_EXCHANGE),
    ],
)
def test_conversations_without_exchanges_say_why(said, reason):
    assert sources.exchanges(chat(*said)) == reason


said = st.tuples(st.sampled_from(["system", "user", "assistant"]), st.sampled_from(["", " ", "a", "b\u2028"]))


@given(st.lists(said, max_size=8))
def test_every_word_is_kept_once_and_turns_alternate(messages):
    rows = sources.exchanges(chat(*messages))
    if isinstance(rows, str):
        return
    spoken = "\n\n".join(text for row in rows for text in (row["system"], row["user"], row["response"]) if text)
    assert spoken == "\n\n".join(content for _, content in messages if content.strip())
    assert all(row["response"] for row in rows[:-1])
    assert [row["feedback"] for row in rows] == [*(row["user"] for row in rows[1:]), None]


def write_logs(path, *records: object) -> None:
    path.write_bytes(b"\n".join(json.dumps(record, ensure_ascii=False).encode() for record in records))


EXCHANGE = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]


def test_logs_are_split_at_line_feeds_only(tmp_path):
    file, counts = tmp_path / "chats.jsonl", Counter()
    text = "one\u2028two\u0085three\x0bfour"
    write_logs(file, {"id": 1, "messages": [{"role": "user", "content": text}, EXCHANGE[1]]}, {"id": "2", "messages": EXCHANGE})
    conversations = list(logs.read(file, counts))
    assert conversations[0]["messages"][0]["content"] == text
    assert [conversation["id"] for conversation in conversations] == ["1", "2"]
    assert counts == {"lines": 2, "conversations": 2}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "1", "mess', logs.NOT_JSON),
        (b"[" * 100_000, logs.NOT_JSON),
        (b'"\xff"', logs.NOT_JSON),
        (b"[1]", logs.NOT_JSON),
        (b'{"messages": []}', logs.NO_ID),
        (b'{"id": true, "messages": []}', logs.NO_ID),
        (b'{"id": 1, "messages": []}', logs.NO_MESSAGES),
        (b'{"id": 1, "messages": [{"role": "user", "content": null}]}', logs.NO_MESSAGES),
        (b'{"id": 1, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', logs.NO_MESSAGES),
        (b'{"id": 1, "timestamp": "soon", "messages": [{"role": "user", "content": "a"}]}', logs.BAD_DETAIL),
        (b'{"id": 1, "timestamp": 1e99, "messages": [{"role": "user", "content": "a"}]}', logs.BAD_DETAIL),
        (b'{"id": 1, "model": 3, "messages": [{"role": "user", "content": "a"}]}', logs.BAD_DETAIL),
    ],
)
def test_lines_that_are_no_conversation_say_why(line, reason):
    assert logs.parse_line(line) == reason


@pytest.mark.parametrize("time", [1_700_000_000, "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"])
def test_times_of_logs_are_utc(time):
    conversation = logs.parse_line(json.dumps({"id": 1, "timestamp": time, "messages": EXCHANGE}).encode())
    assert conversation["timestamp"] == datetime(2023, 11, 14, 22, 13, 20)


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    conversation = logs.parse_line(json.dumps({"id": 1, "messages": [{"role": "user", "content": parts}]}).encode())
    assert conversation["messages"] == [{"role": "user", "content": "ab"}]


# Rows as the three releases of WildChat have them; the text is made up.
TIME = datetime(2023, 4, 9, 0, 2, 53)
SECRET = {"hashed_ip": "SECRET", "header": {"user-agent": "SECRET"}, "state": "SECRET", "country": "SECRET"}


def wildchat_1m() -> dict:
    zoned = TIME.replace(tzinfo=UTC)
    said = [
        {"content": "q", "role": "user", "language": "English", "turn_identifier": 7, "timestamp": None, **SECRET},
        {"content": "r", "role": "assistant", "language": "English", "turn_identifier": 7, "timestamp": zoned, **SECRET},
    ]
    return {"conversation_hash": "h", "model": "m", "timestamp": zoned, "conversation": said, "language": "English", **SECRET}


def wildchat_48m() -> dict:
    said = [
        {**SECRET, "turn_identifier": 7, "role": "user", "created": 1, "content": "q", "timestamp": None},
        {**SECRET, "turn_identifier": 7, "role": "assistant", "created": 1, "content": "r", "timestamp": TIME},
    ]
    return {**SECRET, "language": "English", "conversation": said, "timestamp": TIME, "model": "m", "conversation_hash": "h"}


def wildchat_first() -> dict:
    said = [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}]
    return {"conversation_id": "h", "model": "m", "timestamp": TIME, "conversation": said, "language": "English"}


@pytest.mark.parametrize(
    ("row", "key"), [(wildchat_1m(), "h_7"), (wildchat_48m(), "h_7"), (wildchat_first(), "h")], ids=["1M", "4.8M", "first"]
)
def test_all_releases_of_wildchat_read_alike(tmp_path, row, key):
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train-0.parquet")
    (conversation,) = wildchat.read(tmp_path / "train-0.parquet", Counter())
    (exchange,) = sources.exchanges(conversation)
    assert conversation["id"] == key
    assert "SECRET" not in repr(conversation)
    assert (exchange["user"], exchange["response"], exchange["timestamp"]) == ("q", "r", TIME)
    assert (exchange["language"], exchange["model"]) == ("English", "m")


def test_personal_columns_of_wildchat_are_not_even_read(tmp_path):
    pq.write_table(pa.Table.from_pylist([wildchat_1m()]), tmp_path / "x.parquet")
    columns = wildchat.wanted_columns(pq.ParquetFile(tmp_path / "x.parquet"), tmp_path)
    assert not [column for column in columns for name in ("ip", "header", "state", "country") if name in column.split(".")[-1]]


def test_wildchat_rows_without_text_are_counted(tmp_path):
    row = wildchat_first()
    nothing = row | {"conversation_id": None}
    silent = row | {"conversation": [{"content": None, "role": "user"}]}
    pq.write_table(pa.Table.from_pylist([row, nothing, silent, row | {"conversation": []}]), tmp_path / "x.parquet")
    counts = Counter()
    assert len(list(wildchat.read(tmp_path / "x.parquet", counts))) == 1
    assert counts == {"rows": 4, "conversations": 1, wildchat.NO_ID: 1, wildchat.NO_TEXT: 1, wildchat.EMPTY: 1}


def test_other_files_than_wildchat_stop_with_a_message(tmp_path):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(StageError, match="conversation: role, conversation: content, conversation_hash"):
        list(wildchat.read(tmp_path / "x.parquet", Counter()))
    (tmp_path / "y.parquet").write_bytes(b"<html>")
    with pytest.raises(StageError, match="not a Parquet file"):
        list(wildchat.read(tmp_path / "y.parquet", Counter()))


@pytest.fixture
def two_sources(tmp_path):
    """Two sources that share a conversation, with one of every drop that all readers have in common."""
    ours = tmp_path / "ours"
    ours.mkdir()
    other = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "another reply"}]
    longer = [*EXCHANGE, {"role": "user", "content": "no"}]
    write_logs(ours / "b.jsonl", {"id": "1", "messages": other}, {"id": "3"})
    write_logs(
        ours / "a.jsonl",
        {"id": "1", "messages": EXCHANGE},
        {"id": "2", "messages": EXCHANGE[1:]},
        {"id": "9", "messages": longer},
    )
    write_logs(tmp_path / "theirs.jsonl", {"id": "1", "messages": EXCHANGE}, {"id": "2", "messages": other})
    return {"theirs": tmp_path / "theirs.jsonl", "ours": ours}


SETTINGS = {"sources": {"ours": {"kind": "logs"}, "theirs": {"kind": "logs"}}}


def test_every_record_of_every_source_is_accounted_for(two_sources):
    rows, ledger = turns.read_sources(two_sources, SETTINGS)
    tables.Turns.validate(rows.sort("conversation_id", "turn"), cast=True)
    tables.Ledger.validate(ledger.sort("flow", "step"), cast=True)
    assert sorted(rows["conversation_id"]) == ["ours:1", "ours:9", "ours:9", "theirs:2"]
    drops = {(flow, reason): n for flow, reason, n in ledger.select("flow", "reason", "dropped").rows() if n}
    assert drops == {
        ("source:ours", logs.NO_MESSAGES): 1,
        ("source:ours", sources.STARTS_WITH_ASSISTANT): 1,
        ("source:ours", sources.SAME_ID): 1,
        ("source:theirs", sources.EXACT_COPY): 1,
    }
    last = ledger.group_by("flow").agg(pl.col("rows_out").sort_by("step").last()).sort("flow")
    assert last.rows() == [("source:ours", 3), ("source:theirs", 1)]


def test_the_order_of_sources_does_not_matter(two_sources):
    backwards = dict(reversed(two_sources.items()))
    first, second = (
        turns.read_sources(paths, SETTINGS)[0].sort("conversation_id", "turn") for paths in (two_sources, backwards)
    )
    assert first.equals(second)


def test_a_source_of_another_kind_stops_with_what_was_dropped(tmp_path):
    write_logs(tmp_path / "x.jsonl", {"id": "a_0", "conversations": []})
    with pytest.raises(StageError, match=f"no exchange in 1 lines \\({logs.NO_MESSAGES}: 1\\)"):
        turns.read_sources({"ours": tmp_path / "x.jsonl"}, SETTINGS)


def test_an_empty_folder_stops_with_its_name(tmp_path):
    with pytest.raises(StageError, match=r"no \*\.jsonl file there"):
        turns.read_sources({"ours": tmp_path}, SETTINGS)
