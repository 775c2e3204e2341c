"""From messages to exchanges, the readers of WildChat, LMSYS and your own logs, and the ledger of a source."""

import io
import json
import os
import subprocess
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turns
from drift import tables
from drift.cli import StageError
from drift.sources import conversations, exchanges, logs
from tests.conftest import REPOSITORY, STAGE_PYTHON
from tests.shards import wildchat_1m


def chat(*said: tuple[str, str]) -> dict:
    return {"id": "c", "messages": [{"role": role, "content": content} for role, content in said]}


def exchanged(*chats: dict) -> list[dict] | str:
    """The rows of Turns that the conversations make; or why the only one makes none."""
    (frame,) = conversations.frames(chats)
    rows, dropped = exchanges.exchanges(frame)
    return rows.to_dicts() or next(iter(+dropped))


def texts(rows: list[dict]) -> list[tuple]:
    return [(row["user"], row["response"], row["feedback"]) for row in rows]


def test_feedback_is_the_next_message_and_the_system_prompt_is_on_the_first_turn():
    rows = exchanged(chat(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")))
    assert texts(rows) == [("a", "b", "c"), ("c", None, None)]
    assert [row["system"] for row in rows] == ["s", None]
    assert [row["turn"] for row in rows] == [0, 1]


def test_neighbours_of_one_role_are_merged_and_flagged():
    rows = exchanged(chat(("user", "a"), ("human", "b"), ("gpt", "c"), ("bing", "d")))
    assert texts(rows) == [("a\n\nb", "c\n\nd", None)]
    assert rows[0]["flags"] == ["merged_response", "merged_user"]


def test_empty_messages_are_left_out_and_flagged():
    rows = exchanged(chat(("user", "a"), ("assistant", " \n"), ("user", "b"), ("assistant", "c"), ("user", "")))
    assert texts(rows) == [("a\n\nb", "c", None)]
    assert rows[0]["flags"] == ["empty_message", "merged_user"]


def test_lone_surrogates_become_replacement_characters_that_can_be_written(tmp_path):
    (rows,) = exchanged(chat(("user", json.loads(r'"a \ud83d b \ud83d\ude00"')), ("assistant", "x\u2028y")))
    assert rows["user"] == "a \ufffd b \U0001f600"
    assert rows["response"] == "x\u2028y"
    assert rows["flags"] == ["lone_surrogate"]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([("user", "a"), ("tool", "b"), ("assistant", "c")], exchanges.UNKNOWN_ROLE),
        ([("user", "a"), ("system", "b"), ("assistant", "c")], exchanges.LATE_SYSTEM),
        ([("system", "s"), ("assistant", "a"), ("user", "b"), ("assistant", "c")], exchanges.STARTS_WITH_ASSISTANT),
        ([("user", "a")], exchanges.NO_EXCHANGE),
        ([("user", " "), ("user", "a"), ("assistant", "")], exchanges.NO_EXCHANGE),
        ([("system", "s")], exchanges.NO_EXCHANGE),
        ([], exchanges.NO_EXCHANGE),
    ],
)
def test_conversations_without_exchanges_say_why(said, reason):
    assert exchanged(chat(*said)) == reason


said = st.tuples(st.sampled_from(["system", "user", "assistant"]), st.sampled_from(["", " ", "a", "b\u2028"]))


@given(st.lists(said, max_size=8))
def test_every_word_is_kept_once_and_turns_alternate(messages):
    rows = exchanged(chat(*messages))
    if isinstance(rows, str):
        return
    spoken = "\n\n".join(text for row in rows for text in (row["system"], row["user"], row["response"]) if text)
    assert spoken == "\n\n".join(content for _, content in messages if content.strip())
    assert all(row["response"] for row in rows[:-1])
    assert [row["feedback"] for row in rows] == [*(row["user"] for row in rows[1:]), None]


def write_logs(path, *records: object) -> None:
    path.write_bytes(b"\n".join(json.dumps(record, ensure_ascii=False).encode() for record in records))


def read_all(reader, *files) -> tuple[list[dict], Counter]:
    """What a reader makes of files, as dicts without what is null, and its counts."""
    counts = Counter()
    frames = list(reader.read(list(files), counts))
    rows = [row for frame in frames for row in frame.to_dicts()]
    return [without_nulls(row) for row in rows], counts


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


EXCHANGE = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]


def test_logs_are_split_at_line_feeds_only(tmp_path):
    text = "one\u2028two\u0085three\x0bfour"
    write_logs(
        tmp_path / "chats.jsonl",
        {"id": 1, "messages": [{"role": "user", "content": text}, EXCHANGE[1]]},
        {"id": "2", "messages": EXCHANGE},
    )
    rows, counts = read_all(logs, tmp_path / "chats.jsonl")
    assert rows[0]["messages"][0]["content"] == text
    assert [row["id"] for row in rows] == ["1", "2"]
    assert counts == {"lines": 2, "conversations": 2}


def with_feedback(said: object) -> bytes:
    return json.dumps({"id": 1, "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": said}]}).encode()


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
        (b'{"id": 1, "user": [3], "messages": [{"role": "user", "content": "a"}]}', logs.BAD_DETAIL),
        (b'{"id": 1, "messages": [{"role": "user", "content": "a", "feedback": {"thumbs": "up"}}]}', logs.BAD_FEEDBACK),
        (with_feedback({"thumbs": "sideways"}), logs.BAD_FEEDBACK),
        (with_feedback({"thumbs": True}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 4}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 7, "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": "4", "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 1, "scale": [1, 1]}), logs.BAD_FEEDBACK),
        (with_feedback({"stars": 4}), logs.BAD_FEEDBACK),
        (with_feedback({"comment": 4}), logs.BAD_FEEDBACK),
        (with_feedback(["down"]), logs.BAD_FEEDBACK),
        (with_feedback("down"), logs.BAD_FEEDBACK),
    ],
)
def test_lines_that_are_no_conversation_say_why(tmp_path, line, reason):
    (tmp_path / "x.jsonl").write_bytes(line)
    assert read_all(logs, tmp_path / "x.jsonl") == ([], {"lines": 1, reason: 1})


@pytest.mark.parametrize(
    ("said", "label", "evidence"),
    [
        ({"thumbs": "down"}, "DSAT", ["thumbs down"]),
        ({"thumbs": "up", "rating": None}, "SAT", ["thumbs up"]),
        ({"rating": 2, "scale": [1, 5]}, "DSAT", ["rating 2 on 1 to 5"]),
        ({"rating": 3, "scale": [1, 5]}, "NEUTRAL", ["rating 3 on 1 to 5"]),
        ({"rating": 4.5, "scale": [1, 5]}, "SAT", ["rating 4.5 on 1 to 5"]),
        ({"rating": 1, "scale": [5, 1]}, "SAT", ["rating 1 on 5 to 1"]),
        ({"thumbs": "up", "rating": 1, "scale": [1, 5]}, "DSAT", ["thumbs up", "rating 1 on 1 to 5"]),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_thumbs_and_ratings_label_the_reply(said, label, evidence):
    conversation = logs.parse(json.loads(with_feedback(said)))
    (row,) = exchanged(conversation)
    assert (row["source_label"], row["source_evidence"]) == (label, evidence)


def test_a_comment_on_a_reply_is_its_feedback_in_place_of_the_next_message():
    messages = [
        *EXCHANGE,
        {"role": "user", "content": "and now?"},
        {"role": "assistant", "content": "r2", "feedback": {"comment": "not what I asked", "thumbs": "down"}},
        {"role": "user", "content": "something else"},
    ]
    rows = exchanged(logs.parse({"id": "1", "messages": messages}))
    assert texts(rows) == [("q", "r", "and now?"), ("and now?", "r2", "not what I asked"), ("something else", None, None)]
    assert [row["source_label"] for row in rows] == [None, "DSAT", None]


def test_logs_in_parquet_read_like_lines(tmp_path):
    said = {"thumbs": None, "rating": 1.0, "scale": [1.0, 5.0], "comment": "too long"}
    none = dict.fromkeys(said)
    record = {
        "id": 7,
        "user": "anna",
        "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
        "messages": [EXCHANGE[0] | {"feedback": none}, EXCHANGE[1] | {"feedback": said}],
    }
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "x.parquet")
    write_logs(tmp_path / "x.jsonl", record | {"timestamp": "2024-01-01T01:00:00+01:00"})
    from_rows, from_lines = (read_all(logs, tmp_path / name) for name in ("x.parquet", "x.jsonl"))
    assert from_rows == from_lines
    assert from_rows[0][0]["messages"][1]["label"] == "DSAT"


@pytest.mark.parametrize("time", [1_700_000_000, "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"])
def test_times_of_logs_are_utc(time):
    assert logs.parse({"id": 1, "timestamp": time, "messages": EXCHANGE})["timestamp"] == datetime(2023, 11, 14, 22, 13, 20)


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    conversation = logs.parse({"id": 1, "messages": [{"role": "user", "content": parts}]})
    assert conversation["messages"] == [{"role": "user", "content": "ab"}]


# Rows as the three releases of WildChat have them; the text is made up.
TIME = datetime(2023, 4, 9, 0, 2, 53)
SECRET = {"hashed_ip": "SECRET", "header": {"user-agent": "SECRET"}, "state": "SECRET", "country": "SECRET"}


def wildchat_48m() -> pa.Table:
    usage = {"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 0}}
    said = [
        {**SECRET, "turn_identifier": 7, "role": "user", "created": 1, "content": "q", "timestamp": None, "toxic": True},
        {**SECRET, "turn_identifier": 7, "role": "assistant", "created": 1, "content": "r", "timestamp": TIME, "usage": usage},
    ]
    row = {**SECRET, "language": "English", "conversation": said, "timestamp": TIME, "model": "m", "conversation_hash": "h"}
    return pa.Table.from_pylist([row])


def wildchat_first() -> pa.Table:
    said = [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}]
    row = {"conversation_id": "h", "model": "m", "timestamp": TIME, "conversation": said, "language": "English", "toxic": False}
    time = pa.array([TIME], pa.timestamp("s"))
    return pa.Table.from_pylist([row]).set_column(2, "timestamp", time)


def wildchat_with(*said: tuple[str | None, str | None]) -> pa.Table:
    """The first WildChat, with these messages."""
    row = wildchat_first().to_pylist()[0]
    messages = [{"role": role, "content": content} for role, content in said]
    return pa.Table.from_pylist([row | {"conversation": messages}], schema=wildchat_first().schema)


def turns_of(tmp_path, kind: str, **sources) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turns and ledger of the tables (as Parquet) or files given by name of their source."""
    paths = {}
    for name, source in sources.items():
        paths[name] = source
        if isinstance(source, pa.Table):
            paths[name] = tmp_path / f"{name}.parquet"
            pq.write_table(source, paths[name])
    options = {"sources": {name: {"kind": kind} for name in paths}}
    ledger = turns.write_turns(paths, options, tmp_path / "turns.parquet")
    tables.Ledger.validate(ledger.sort("lineage", "step"), cast=True)
    return tables.read_table(tables.Turns, tmp_path / "turns.parquet"), ledger


def dropped_in(ledger: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(lineage, reason): n for lineage, reason, n in ledger.select("lineage", "reason", "dropped").rows() if n}


def one_of_wildchat_1m() -> pa.Table:
    return wildchat_1m(pa.array(["q", "r"]), np.array([2]))


@pytest.mark.parametrize(
    ("table", "key", "user", "toxic"),
    [
        (one_of_wildchat_1m(), "cfcd208495d565ef66e7dff9f98764da_0", "w:1", False),
        (wildchat_48m(), "h_7", "w:1", True),
        (wildchat_first(), "h", None, False),
    ],
    ids=["1M", "4.8M", "first"],
)
def test_all_releases_of_wildchat_read_alike(tmp_path, table, key, user, toxic):
    rows, _ = turns_of(tmp_path, "wildchat", w=table)
    (exchange,) = rows.to_dicts()
    assert exchange["conversation_id"] == f"w:{key}"
    assert (exchange["user"], exchange["response"], exchange["timestamp"]) == ("q", "r", TIME)
    assert exchange["language"] == "English"
    assert (exchange["user_id"], exchange["toxic"]) == (user, toxic)


@pytest.mark.parametrize("table", [one_of_wildchat_1m(), wildchat_48m()], ids=["1M", "4.8M"])
def test_nothing_personal_of_wildchat_is_in_any_file(tmp_path, monkeypatch, table):
    kept = []
    monkeypatch.setattr(turns.tempfile, "TemporaryDirectory", lambda dir, prefix: Kept(tmp_path / "temporary"))

    class Kept:
        def __init__(self, folder):
            folder.mkdir()
            kept.append(folder)

        def __enter__(self):
            return str(kept[0])

        def __exit__(self, *_):
            pass

    turns_of(tmp_path, "wildchat", w=table)
    assert "SECRET" in repr(pq.read_table(tmp_path / "w.parquet").to_pylist())
    for written in (tmp_path / "turns.parquet", kept[0] / "gathered.parquet"):
        assert "SECRET" not in repr(pq.read_table(written).to_pylist())


def test_users_are_numbered_and_keep_their_number(tmp_path):
    texts_of = pa.array([f"{'qr'[place % 2]}{place}" for place in range(7 * 2)])
    table = wildchat_1m(texts_of, np.full(7, 2))
    ips = [None, "x", "y", "x", "z", "y", ""]
    table = table.set_column(table.column_names.index("hashed_ip"), "hashed_ip", pa.array(ips))
    rows, _ = turns_of(tmp_path, "wildchat", w=table)
    said = dict(rows.select("user", "user_id").rows())
    assert said["q0"] is said["q12"] is None
    assert said["q2"] == said["q6"]
    assert said["q4"] == said["q10"]
    assert sorted({user for user in said.values() if user}) == ["w:1", "w:2", "w:3"]


def test_every_row_of_wildchat_that_is_no_conversation_is_counted(tmp_path):
    whole = wildchat_first()
    row = whole.to_pylist()[0]
    tables_of = [
        whole,
        pa.Table.from_pylist([row | {"conversation_id": None}, row | {"conversation_id": ""}], schema=whole.schema),
        wildchat_with(("user", None)),
        wildchat_with((None, "a")),
        pa.Table.from_pylist([row | {"conversation": []}, row | {"conversation": None}], schema=whole.schema),
        pa.Table.from_pylist([row | {"conversation": [None]}], schema=whole.schema),
        pa.Table.from_pylist([row, row | {"conversation_id": "i"}], schema=whole.schema),
    ]
    _, ledger = turns_of(tmp_path, "wildchat", w=pa.concat_tables(tables_of))
    assert dropped_in(ledger) == {
        ("source:w", exchanges.NO_ID): 2,
        ("source:w", exchanges.NO_TEXT): 3,
        ("source:w", exchanges.NO_EXCHANGE): 2,
        ("source:w", turns.EXACT_COPY): 2,
    }
    assert ledger["rows_in"][0] == 10


def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path):
    with pytest.raises(StageError, match=r"no column conversation\.role, conversation\.content; it has: text"):
        turns_of(tmp_path, "wildchat", w=pa.table({"text": ["a"]}))
    said = pa.table({"conversation_hash": ["h"], "conversation": [[{"role": "user", "content": 7}]]})
    with pytest.raises(StageError, match=r"column conversation\.content is Int64, not String"):
        turns_of(tmp_path, "wildchat", w=said)


@pytest.mark.parametrize("damage", ["not parquet", "cut", "overwritten"])
def test_a_damaged_shard_stops_with_its_name(tmp_path, damage):
    file = tmp_path / "train-00000.parquet"
    pq.write_table(wildchat_1m(pa.array([f"text {n}" * 50 for n in range(2000)]), np.full(1000, 2)), file)
    whole = file.read_bytes()
    middle = len(whole) // 8
    file.write_bytes(
        {"not parquet": b"<html>", "cut": whole[:-1000], "overwritten": whole[:200] + bytes(middle) + whole[200 + middle :]}[
            damage
        ]
    )
    with pytest.raises(StageError, match=r"train-00000\.parquet: not a whole Parquet file"):
        turns_of(tmp_path, "wildchat", w=file)
    assert not (tmp_path / "turns.parquet").exists()


def test_text_that_is_not_utf8_is_mended(tmp_path):
    raw = pa.array([b"broken \xed\xa0\xbd here", b"r"]).cast(pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    rows, _ = turns_of(tmp_path, "wildchat", w=wildchat_1m(broken, np.array([2])))
    assert rows["user"].to_list() == ["broken \ufffd\ufffd\ufffd here"]


def test_very_long_messages_are_kept_whole(tmp_path):
    text = "long " * 2_000_000
    rows, _ = turns_of(tmp_path, "wildchat", w=wildchat_1m(pa.array([text, text + "reply"]), np.array([2])))
    assert (rows["user"][0], rows["response"][0]) == (text, text + "reply")


def test_lmsys(tmp_path):
    said = [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}]
    row = {"conversation_id": "c", "model": "vicuna", "conversation": said, "turn": 1, "language": "English", "redacted": True}
    judged = [
        {"categories": {"hate": False}, "category_scores": {"hate": 0.1}, "flagged": flagged} for flagged in (False, True)
    ]
    rows, _ = turns_of(tmp_path, "lmsys", l=pa.Table.from_pylist([row | {"openai_moderation": judged}]))
    (exchange,) = rows.to_dicts()
    assert (exchange["conversation_id"], exchange["user"], exchange["response"]) == ("l:c", "q", "r")
    assert (exchange["model"], exchange["toxic"], exchange["redacted"]) == ("vicuna", True, True)


@pytest.fixture
def two_sources(tmp_path):
    """Two sources that share a conversation, with one of every drop that all readers have in common."""
    ours = tmp_path / "ours"
    ours.mkdir()
    other = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "another reply"}]
    longer = [*EXCHANGE, {"role": "user", "content": "no"}]
    write_logs(ours / "b.jsonl", {"id": "1", "messages": other, "timestamp": 9}, {"id": "3"})
    write_logs(
        ours / "a.jsonl",
        {"id": "1", "messages": EXCHANGE, "timestamp": 8},
        {"id": "2", "messages": EXCHANGE[1:]},
        {"id": "9", "messages": longer},
    )
    write_logs(tmp_path / "theirs.jsonl", {"id": "1", "messages": EXCHANGE}, {"id": "2", "messages": other})
    return {"theirs": tmp_path / "theirs.jsonl", "ours": ours}


def test_every_record_of_every_source_is_accounted_for(tmp_path, two_sources):
    rows, ledger = turns_of(tmp_path, "logs", **two_sources)
    assert sorted(rows["conversation_id"]) == ["ours:1", "ours:9", "ours:9"]
    assert dropped_in(ledger) == {
        ("source:ours", logs.NO_MESSAGES): 1,
        ("source:ours", exchanges.STARTS_WITH_ASSISTANT): 1,
        ("source:ours", turns.SAME_ID): 1,
        ("source:theirs", turns.EXACT_COPY): 2,
    }
    last = ledger.group_by("lineage").agg(pl.col("rows_out").sort_by("step").last()).sort("lineage")
    assert last.rows() == [("source:ours", 3), ("source:theirs", 0)]


def lines_of(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def parquet_of(table: pa.Table) -> bytes:
    pq.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


LMSYS = {"conversation_id": "c", "model": "m", "language": "English", "conversation": EXCHANGE}
RATED = {"instruction": "q", "completions": [{"response": reply, "overall_score": n} for n, reply in enumerate("ab")]}
ANNOTATED = [
    {"UtteranceId": n, "Role": role, "Content": text, "Satisfaction": None, "Disatisfaction": n >= 2}
    for n, (role, text) in enumerate((("User", "q"), ("Agent", "r"), ("User", "no"), ("Agent", "s")))
]
SAID = [("user", "q"), ("assistant", "r"), ("user", "no"), ("assistant", "s")]


@pytest.mark.parametrize(
    ("kind", "file", "content", "records", "rows"),
    [
        ("wildchat", "x.parquet", parquet_of(pa.concat_tables([wildchat_first(), wildchat_with(("user", None))])), 2, 1),
        ("lmsys", "x.parquet", parquet_of(pa.Table.from_pylist([LMSYS, LMSYS | {"conversation": []}])), 2, 1),
        ("logs", "x.jsonl", lines_of({"id": "1", "messages": EXCHANGE}, {"id": "2"}), 2, 1),
        ("ultrafeedback", "x.jsonl", lines_of(RATED, 7), 2, 2),
        (
            "sharegpt",
            "x.json",
            json.dumps(
                [7, {"id": "a_0", "conversations": [{"from": role, "value": "t"} for role in ("human", "gpt")]}]
            ).encode(),
            2,
            1,
        ),
        ("wildfeedback", "x.json", json.dumps([*ANNOTATED, ANNOTATED[0] | {"Content": "elsewhere"}]).encode(), 2, 2),
    ],
)
def test_the_ledger_of_every_kind_leads_from_its_records_to_its_turns(tmp_path, kind, file, content, records, rows):
    (tmp_path / file).write_bytes(content)
    beside = {}
    if kind == "wildfeedback":
        beside["s"] = tmp_path / "wildchat.parquet"
        pq.write_table(wildchat_with(*SAID), beside["s"])
    written = tmp_path / "turns.out"
    ledger = turns.write_turns({"s": tmp_path / file}, {"sources": {"s": {"kind": kind}}}, written, beside).sort("step")
    tables.Ledger.validate(ledger, cast=True)
    assert ledger["rows_in"][0] == records
    assert ledger["rows_in"][1:].to_list() == ledger["rows_out"][:-1].to_list()
    assert ledger["dropped"].sum() == 1
    assert ledger["rows_out"][-1] == tables.read_table(tables.Turns, written).height == rows


def test_of_copies_the_one_that_the_source_has_labelled_is_kept(tmp_path):
    liked = [EXCHANGE[0], EXCHANGE[1] | {"feedback": {"thumbs": "up"}}]
    write_logs(tmp_path / "a.jsonl", {"id": "1", "messages": EXCHANGE})
    write_logs(tmp_path / "b.jsonl", {"id": "1", "messages": liked})
    rows, _ = turns_of(tmp_path, "logs", a=tmp_path / "a.jsonl", b=tmp_path / "b.jsonl")
    assert rows.select("conversation_id", "source_label").rows() == [("b:1", "SAT")]


@settings(deadline=None, max_examples=8)
@given(st.permutations(range(4)), st.integers(1, 5))
def test_the_order_of_shards_and_rows_does_not_matter(tmp_path_factory, order, frame):
    """The same conversations, cut into shards and frames in any way, give the same bytes."""
    folder = tmp_path_factory.mktemp("order")
    texts_of = pa.array([f"{'qr'[place % 2]}{place % 10}" for place in range(4 * 6)])
    shards = wildchat_1m(texts_of, np.full(12, 2))
    ips = pa.array([f"ip{n % 3}" for n in range(12)])
    shards = shards.set_column(shards.column_names.index("hashed_ip"), "hashed_ip", ips)
    (folder / "shards").mkdir()
    for place, number in enumerate(order):
        pq.write_table(shards.slice(number * 3, 3), folder / "shards" / f"{place}.parquet")
    options = {"sources": {"w": {"kind": "wildchat"}}}
    whole = folder / "whole.parquet"
    pq.write_table(shards, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations, "ROWS", frame)
        turns.write_turns({"w": folder / "shards"}, options, folder / "a.parquet")
    turns.write_turns({"w": whole}, options, folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_any_number_of_threads_gives_the_same_bytes(tmp_path):
    for shard in range(2):
        texts_of = pa.array([f"{shard} {place} " * 20 for place in range(60_000)])
        pq.write_table(wildchat_1m(texts_of, np.full(15_000, 4), shard * 12_000), tmp_path / f"train-{shard}.parquet")
    written = []
    for threads in ("1", "4"):
        written.append(tmp_path / f"turns-{threads}.out")
        command = [STAGE_PYTHON, REPOSITORY / "scripts/turns.py", "--source", f"w={tmp_path}", "--turns", written[-1]]
        command += ["--ledger", tmp_path / f"ledger-{threads}.out", "--settings", '{"sources": {"w": {"kind": "wildchat"}}}']
        subprocess.run(command, check=True, env=os.environ | {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads})
    assert written[0].read_bytes() == written[1].read_bytes()
    assert pq.read_metadata(written[0]).num_rows > 2 * tables.ROW_GROUP


def test_a_source_of_another_kind_stops_with_what_was_dropped(tmp_path):
    write_logs(tmp_path / "x.jsonl", {"id": "a_0", "conversations": []})
    with pytest.raises(StageError, match=f"no exchange in 1 lines \\({logs.NO_MESSAGES}: 1\\)"):
        turns_of(tmp_path, "logs", ours=tmp_path / "x.jsonl")


def test_an_empty_folder_stops_with_its_name(tmp_path):
    with pytest.raises(StageError, match=r"no \*\.jsonl or \*\.parquet file there"):
        turns_of(tmp_path, "logs", ours=tmp_path)
