"""Your own logs: JSON Lines or Parquet, with what users thought of the replies."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.sources import logs
from tests.builders.sources import EXCHANGE, exchanged, texts, write_logs


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
    assert counts == {"records": 2, "conversations": 2}


def with_feedback(said: object) -> bytes:
    return json.dumps({"id": 1, "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": said}]}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "1", "mess', logs.NOT_JSON),
        (b"[" * 100_000, logs.NOT_JSON),
        (b'"\xff"', logs.NOT_JSON),
        (b"[1]", logs.NOT_JSON),
        (b'{"messages": []}', logs.NO_MESSAGES),
        (b'{"id": null, "messages": []}', logs.NO_ID),
        (b'{"id": true, "messages": []}', logs.NO_ID),
        (b'{"id": 1, "messages": []}', logs.NO_MESSAGES),
        (b'{"id": 1, "messages": [{"role": "user"}]}', logs.NO_MESSAGES),
        (b'{"id": 1, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', logs.NO_TEXT),
        (b'{"id": 1, "messages": [{"role": "user", "content": [{"type": 1}]}]}', logs.NO_MESSAGES),
        (b'{"id": 1.5, "messages": []}', logs.NO_ID),
        (b'{"id": 1, "messages": [{"role": "user", "content": "a", "feedback": {"thumbs": "up"}}]}', logs.BAD_FEEDBACK),
        (with_feedback({"thumbs": "sideways"}), logs.BAD_FEEDBACK),
        (with_feedback({"thumbs": "up", "id": 5}), logs.BAD_FEEDBACK),
        (with_feedback({"score": 4, "reason": "meh"}), logs.NO_SCALE),
        (with_feedback(5), logs.NO_SCALE),
        (with_feedback({"rating": 4}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 7, "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": "4", "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 1, "scale": [1, 1]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 3, "scale": [1, float("inf")]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": float("nan"), "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 10**400, "scale": [1, 5]}), logs.BAD_FEEDBACK),
        (with_feedback({"rating": 3, "scale": [1, 10**400]}), logs.BAD_FEEDBACK),
        (b'{"id": 1, "messages": [], "n": ' + b"9" * 10_000 + b"}", logs.NOT_JSON),
        (with_feedback({"stars": 4}), logs.BAD_FEEDBACK),
        (with_feedback({"comment": 4}), logs.BAD_FEEDBACK),
        (with_feedback(["down"]), logs.BAD_FEEDBACK),
        (with_feedback("so so"), logs.BAD_FEEDBACK),
    ],
)
def test_lines_that_are_not_a_conversation_say_why(tmp_path, line, reason):
    (tmp_path / "x.jsonl").write_bytes(line)
    assert read_all(logs, tmp_path / "x.jsonl") == ([], {"records": 1, reason: 1})


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
        ({"thumbs": "up", "rating": float("nan"), "comment": float("nan")}, "SAT", ["thumbs up"]),
        ({"rating": Decimal("1.0"), "scale": [Decimal(1), 5]}, "DSAT", ["rating 1 on 1 to 5"]),
        ({"thumbs": True}, "SAT", ["thumbs up"]),
        ("thumbs_down", "DSAT", ["thumbs down"]),
        (-1, "DSAT", ["thumbs down"]),
        ("👎", "DSAT", ["thumbs down"]),
        ({"score": 0}, "DSAT", ["thumbs down"]),
        ({"score": 0.9}, "SAT", ["rating 0.9 on 0 to 1"]),
        ({"score": "-1.0"}, "DSAT", ["thumbs down"]),
        ({"score": "0.9"}, "SAT", ["rating 0.9 on 0 to 1"]),
        ({"value": "like"}, "SAT", ["thumbs up"]),
        ({"thumbs": None, "score": 0}, "DSAT", ["thumbs down"]),
        ({"score": 0, "thumbs": None}, "DSAT", ["thumbs down"]),
        ({"thumbs": "", "score": float("nan"), "value": True}, "SAT", ["thumbs up"]),
        ({}, None, None),
        (None, None, None),
        (float("nan"), None, None),
    ],
)
def test_thumbs_and_ratings_label_the_reply(said, label, evidence):
    conversation = logs.parse({"id": 1, "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": said}]})
    (row,) = exchanged(conversation)
    assert (row["source_label"], row["source_evidence"]) == (label, evidence)


CALL = {"role": "assistant", "content": "One moment.", "tool_calls": [{"id": "t"}]}


ASKED = {"role": "user", "content": "How long does it take?"}
ANSWERED = {"role": "assistant", "content": "Nine minutes."}
RESULT = {"role": "tool", "content": "9 min", "tool_call_id": "t"}


@pytest.mark.parametrize(
    ("calls", "reply", "flags"),
    [
        ([CALL | {"content": None}, RESULT], "Nine minutes.", ["empty_message", "tool_call"]),
        ([CALL | {"content": None}, RESULT, CALL | {"content": ""}, RESULT], "Nine minutes.", ["empty_message", "tool_call"]),
        ([CALL, RESULT], "One moment.\n\nNine minutes.", ["empty_message", "merged_response", "tool_call"]),
        (
            [{"role": "assistant", "content": None, "function_call": {"name": "f"}}],
            "Nine minutes.",
            ["empty_message", "tool_call"],
        ),
        ([{"role": "function", "content": "9 min"}], "Nine minutes.", ["empty_message", "tool_call"]),
    ],
)
def test_a_reply_after_a_tool_call_is_kept_and_flagged_and_so_is_the_rest(calls, reply, flags):
    rows = exchanged(logs.parse({"id": 1, "messages": [*EXCHANGE, ASKED, *calls, ANSWERED, *EXCHANGE]}))
    assert texts(rows) == [("q", "r", ASKED["content"]), (ASKED["content"], reply, "q"), ("q", "r", None)]
    assert [row["flags"] for row in rows] == [[], flags, []]


def test_a_call_that_no_reply_follows_is_none(tmp_path):
    rows = exchanged(logs.parse({"id": 1, "messages": [ASKED, CALL | {"content": None}, RESULT, *EXCHANGE]}))
    assert texts(rows) == [(f"{ASKED['content']}\n\nq", "r", None)]
    assert "tool_call" in rows[0]["flags"], "no filter would know"


@pytest.mark.parametrize("part", [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_audio", "input_audio": {}}])
def test_a_message_with_a_part_that_is_no_text_is_flagged_and_so_is_what_follows(part):
    asked = {"role": "user", "content": [{"type": "text", "text": "See."}, part]}
    rows = exchanged(logs.parse({"id": 1, "messages": [*EXCHANGE, asked, ANSWERED, *EXCHANGE]}))
    assert texts(rows) == [("q", "r", "See."), ("See.", "Nine minutes.", "q"), ("q", "r", None)]
    assert [row["flags"] for row in rows] == [[], ["missing_part"], ["missing_part"]]
    alone = asked | {"content": [part]}
    assert logs.parse({"id": 1, "messages": [{"role": "system", "content": "Be kind."}, alone, *EXCHANGE]}) == logs.NO_TEXT


def test_a_reply_without_content_is_no_reply_and_costs_no_other():
    nothing = {"role": "assistant", "content": None}
    rows = exchanged(logs.parse({"id": 1, "messages": [*EXCHANGE, ASKED, nothing]}))
    assert texts(rows) == [("q", "r", ASKED["content"]), (ASKED["content"], None, None)]


@pytest.mark.parametrize(
    "refused",
    [
        {"content": None, "refusal": "I cannot."},
        {"content": "I cannot.", "refusal": None, "tool_calls": []},
        {"content": [{"type": "refusal", "refusal": "I cannot."}]},
        {"content": [{"type": "text", "text": "I "}, {"type": "output_text", "text": "cannot."}]},
    ],
)
def test_a_refusal_is_a_reply(refused):
    rows = exchanged(logs.parse({"id": 1, "messages": [EXCHANGE[0], {"role": "assistant"} | refused]}))
    assert texts(rows) == [("q", "I cannot.", None)]


@pytest.mark.parametrize("name", ["comment", "reason", "text"])
@pytest.mark.parametrize(
    "others", [{}, {"comment": None, "reason": "", "text": " ", "thumbs": None}], ids=["alone", "with others"]
)
def test_the_words_of_a_feedback_go_by_several_names_of_which_one_says_something(name, others):
    said = others | {"score": -1, name: "Too long."}
    (row,) = exchanged(logs.parse({"id": 1, "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": said}]}))
    assert (row["source_label"], row["feedback"]) == ("DSAT", "Too long.")


def test_feedback_is_on_a_reply_whatever_its_role_is_called():
    reply = {"role": "ChatGPT", "content": "r", "feedback": "thumbs_up"}
    assert exchanged(logs.parse({"id": 1, "messages": [EXCHANGE[0], reply]}))[0]["source_label"] == "SAT"


@pytest.mark.parametrize(
    "reply",
    [
        {"content": "<think>Hm.\n</think>\n\n5", "reasoning_content": None},
        {"content": '<details type="reasoning" done="true" duration="2">\n<summary>Thought</summary>\n> Hm.\n</details>\n5'},
        {"content": "5", "reasoning_content": "Hm."},
        {"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "5"}]},
        {"content": [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "5"}]},
        {"content": "Hm, `5` it is.\n</think>\n\n5"},
        {"content": "Hm. After </think> comes the reply.</think> \r\n5"},
        {"content": "</think>\n\n5"},
    ],
    ids=["tags", "Open WebUI", "a field", "a part", "a part with text", "begun in the prompt", "glued", "empty"],
)
def test_a_thought_is_left_out_of_the_reply_and_flagged(reply):
    rows = exchanged(logs.parse({"id": 1, "messages": [EXCHANGE[0], {"role": "assistant"} | reply, *EXCHANGE]}))
    assert [(row["response"], row["flags"]) for row in rows] == [("5", ["thought"]), ("r", [])]


def test_a_thought_without_a_reply_after_it_leaves_none():
    asked = {"role": "user", "content": "<think> is a tag?"}
    rows = exchanged(logs.parse({"id": 1, "messages": [asked, {"role": "assistant", "content": "<think>Hm"}]}))
    assert rows == "no user message with a reply"
    rows = exchanged(logs.parse({"id": 1, "messages": [asked, {"role": "assistant", "content": "Hm.\n</think>"}]}))
    assert rows == "no user message with a reply"


@pytest.mark.parametrize(
    "reply",
    [
        "The tag <think> opens a thought.",
        "Thoughts end with </think>, and the reply follows.",
        "Thoughts end with </think>\nand the reply follows.",
        "A thought ends with `</think>`\n\nThen comes the reply.",
        "A thought ends so:\n```\n</think>\n```\nThen comes the reply.",
        "Write\n<think>\nthe thought\n</think>\nand then the reply.",
    ],
    ids=["opens", "in a sentence", "at the end of a line", "in backticks", "in a block of code", "both"],
)
def test_a_reply_that_speaks_of_the_tags_of_thoughts_is_left_as_it_is(reply):
    (row,) = exchanged(logs.parse({"id": 1, "messages": [EXCHANGE[0], {"role": "assistant", "content": reply}]}))
    assert (row["response"], row["flags"]) == (reply, [])


def test_tools_of_anthropics_api_are_tools_and_no_files():
    call = {"role": "assistant", "content": [{"type": "text", "text": "One moment."}, {"type": "tool_use", "name": "t"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "content": "9 min"}]}
    rows = exchanged(logs.parse({"id": 1, "messages": [ASKED, call, result, ANSWERED, *EXCHANGE]}))
    assert texts(rows) == [(ASKED["content"], "One moment.\n\nNine minutes.", "q"), ("q", "r", None)]
    assert [row["flags"] for row in rows] == [["empty_message", "merged_response", "tool_call"], []]


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


@pytest.mark.parametrize(
    "time",
    [
        *(1_700_000_000, 1_700_000_000.0, "1700000000", 1_700_000_000_000, "1700000000000"),
        *("2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z", datetime(2023, 11, 14, 22, 13, 20)),
    ],
)
def test_times_of_logs_are_utc(time):
    assert logs.parse({"id": 1, "timestamp": time, "messages": EXCHANGE})["timestamp"] == datetime(2023, 11, 14, 22, 13, 20)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("timestamp", value) for value in ("soon", 1e99, True, [1], -1, "20231114", "0001-01-01T00:00:00+14:00", 10**400)),
        *(("user", value) for value in ([3], True, 1.5, float("inf"))),
        *(("model", value) for value in ({"name": "m"}, False)),
        ("language", ["English"]),
    ],
)
def test_a_detail_that_cannot_be_read_costs_itself_alone(field, value):
    conversation = logs.parse({"id": 1, "messages": EXCHANGE, field: value})
    assert conversation[field] is None
    assert exchanged(conversation)[0]["flags"] == [logs.UNREADABLE_DETAIL]


@pytest.mark.parametrize("nothing", [None, "", float("nan")])
def test_a_detail_that_is_not_there_is_no_oddity(nothing):
    details = dict.fromkeys(("user", "model", "language", "timestamp"), nothing)
    assert exchanged(logs.parse({"id": 1, "messages": EXCHANGE} | details))[0]["flags"] == []


def test_whole_numbers_that_pandas_has_made_doubles_are_whole_numbers(tmp_path):
    table = pa.table({"id": [0.0, 1.0, None], "user": [7.0, None, 8.0], "messages": [EXCHANGE] * 3})
    pq.write_table(table, tmp_path / "x.parquet")
    rows, counts = read_all(logs, tmp_path / "x.parquet")
    assert [(row["id"], row.get("user")) for row in rows] == [("0", "7"), ("1", None)]
    assert counts[logs.NO_ID] == 1


def test_records_without_an_id_are_named_by_their_contents(tmp_path):
    """Files for fine-tuning have none."""
    other = [EXCHANGE[0], EXCHANGE[1] | {"feedback": "down"}]
    write_logs(tmp_path / "x.jsonl", {"messages": EXCHANGE}, {"messages": other}, {"messages": EXCHANGE})
    rows, counts = read_all(logs, tmp_path / "x.jsonl")
    names = [row["id"] for row in rows]
    assert names[0] == names[2] != names[1]
    assert counts == {"records": 3, "conversations": 3}
    write_logs(tmp_path / "y.jsonl", {"messages": other})
    again, _ = read_all(logs, tmp_path / "y.jsonl")
    assert again[0]["id"] == names[1]


def test_parts_of_text_are_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    conversation = logs.parse({"id": 1, "messages": [{"role": "user", "content": parts}]})
    assert conversation["messages"] == [{"role": "user", "content": "ab", "flags": []}]
