"""Details of conversations in Parquet by any writer: a value, or null and a flag; never a lost
conversation."""

import uuid
from collections import Counter
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import turns
from drift import tables
from drift.cli import StageError
from drift.sources import details, lmsys, logs, parquet, ultrafeedback, wildchat
from tests.builders.sources import EXCHANGE, exchanged, read_turns, turns_settings

NOON = datetime(2024, 3, 10, 12)
SAID = [{"role": "user", "content": "q", "turn_identifier": 7}, {"role": "assistant", "content": "r", "turn_identifier": 7}]
TEXTS = pa.dictionary(pa.int8(), pa.string())


def wildchat_row(**fields) -> dict:
    return {"conversation_hash": "h", "timestamp": NOON, "hashed_ip": "ip", "toxic": False} | fields | {"conversation": SAID}


def of_wildchat(tmp_path, table: pa.Table) -> dict:
    """The exchange that a table of one row makes."""
    rows, _ = read_turns(tmp_path, "wildchat", w=table)
    return rows.row(0, named=True)


@pytest.mark.parametrize(
    ("field", "value", "column", "expected"),
    [
        ("timestamp", pa.array(["2024-03-10 12:00:00"]), "timestamp", NOON),
        ("timestamp", pa.array([1_710_072_000]), "timestamp", NOON),
        ("timestamp", pa.array([1_710_072_000_000.0]), "timestamp", NOON),
        ("timestamp", pa.array([NOON], pa.timestamp("ns", "UTC")), "timestamp", NOON),
        ("timestamp", pa.array([date(2024, 3, 10)]), "timestamp", datetime(2024, 3, 10)),
        ("timestamp", pa.array([None]), "timestamp", None),
        ("toxic", pa.array(["True"]), "toxic", True),
        ("toxic", pa.array(["no"]), "toxic", False),
        ("toxic", pa.array([1.0]), "toxic", True),
        ("toxic", pa.array([0]), "toxic", False),
        ("toxic", pa.array([float("nan")]), "toxic", None),
        ("toxic", pa.array([None]), "toxic", None),
        ("redacted", pa.array(["false"]), "redacted", False),
        ("model", pa.array([4]), "model", "4"),
        ("model", pa.array(["gpt-4"], TEXTS), "model", "gpt-4"),
        ("model", pa.array([b"gpt-4"]), "model", "gpt-4"),
        ("language", pa.array([None]), "language", None),
        ("hashed_ip", pa.array([3.0]), "user_id", "w:1"),
        ("hashed_ip", pa.array([Decimal("3")]), "user_id", "w:1"),
        ("conversation_hash", pa.array([12]), "conversation_id", "w:12_7"),
        ("conversation_hash", pa.array([b"h"]), "conversation_id", "w:h_7"),
    ],
)
def test_a_column_of_another_type_is_read_for_what_it_says(tmp_path, field, value, column, expected):
    table = pa.Table.from_pylist([wildchat_row()])
    table = table.drop_columns([field] if field in table.column_names else []).append_column(field, value)
    row = of_wildchat(tmp_path, table)
    assert (row[column], row["flags"], row["response"]) == (expected, [], "r")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("timestamp", value) for value in ("soon", "20240310", 7.5e300, True, datetime(1612, 3, 1), 10**15)),
        *(("toxic", value) for value in ("perhaps", 2, 0.5)),
        *(("model", value) for value in (1.5, True)),
    ],
)
def test_a_column_that_says_nothing_known_costs_itself_alone(tmp_path, field, value):
    row = of_wildchat(tmp_path, pa.Table.from_pylist([wildchat_row(**{field: value})]))
    assert (row[field], row["flags"], row["response"]) == (None, ["unreadable_detail"], "r")


@pytest.mark.parametrize(
    ("field", "value", "column", "expected", "flags"),
    [
        ("timestamp", "2024-03-10T12:00:00Z", "timestamp", NOON, []),
        ("timestamp", datetime(1612, 3, 1), "timestamp", datetime(2023, 1, 1), ["unreadable_detail"]),
        ("toxic", "true", "toxic", True, []),
        ("toxic", "maybe", "toxic", False, ["unreadable_detail"]),
        ("redacted", 1, "redacted", True, []),
        ("turn_identifier", 7.0, "conversation_id", "w:h_7", []),
        ("turn_identifier", "t", "conversation_id", "w:h_t", []),
        ("turn_identifier", None, "conversation_id", "w:h", []),
    ],
)
def test_a_field_of_messages_likewise(tmp_path, field, value, column, expected, flags):
    said = [message | {field: value} for message in SAID]
    other = {"conversation_hash": "x", "conversation": None, "toxic": None, "timestamp": None}
    row = {"conversation_hash": "h", "conversation": said, "toxic": False, "timestamp": datetime(2023, 1, 1)}
    row = of_wildchat(tmp_path, pa.Table.from_pylist([other, row, {**other, "conversation": []}]))
    assert (row[column], row["flags"], row["response"]) == (expected, flags, "r")


def test_what_the_moderation_did_not_say_of_a_message_is_not_known(tmp_path):
    said = {"a": [True, None], "b": None, "c": [False], "d": [None], "e": [False, None], "f": [], "g": ["yes"]}
    for number, kind in enumerate((pa.bool_(), pa.string())):
        of_kind = {name: flags for name, flags in said.items() if (name == "g") == (kind == pa.string())}
        moderation = [flags and [{"flagged": flag} for flag in flags] for flags in of_kind.values()]
        table = pa.table(
            {
                "conversation_id": list(of_kind),
                "conversation": [EXCHANGE] * len(of_kind),
                "openai_moderation": pa.array(moderation, pa.list_(pa.struct({"flagged": kind}))),
            }
        )
        pq.write_table(table, tmp_path / f"{number}.parquet")
    frames = lmsys.read([tmp_path / "0.parquet", tmp_path / "1.parquet"], Counter())
    toxic = {row["id"]: row["toxic"] for frame in frames for row in frame.to_dicts()}
    assert toxic == {"a": True, "b": None, "c": False, "d": None, "e": None, "f": False, "g": True}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([0.0, 1.0, None]), ["0", "1"]),
        (pa.array([Decimal("0"), Decimal("1"), None]), ["0", "1"]),
        (pa.array(["a", "b", ""], TEXTS), ["a", "b"]),
        (pa.array([b"a", b"\xff", None]), ["a", "\ufffd"]),
        (pa.array([uuid.UUID(int=1).bytes, uuid.UUID(int=2).bytes, None], pa.uuid()), [str(uuid.UUID(int=n)) for n in (1, 2)]),
    ],
    ids=["floats", "decimals", "dictionary", "bytes", "uuid"],
)
def test_ids_of_logs_in_any_type_are_ids(tmp_path, ids, expected):
    pq.write_table(pa.table({"id": ids, "messages": [EXCHANGE] * 3}), tmp_path / "x.parquet")
    counts = Counter()
    read = [row["id"] for frame in logs.read([tmp_path / "x.parquet"], counts) for row in frame.to_dicts()]
    assert (read, counts[logs.NO_ID]) == (expected, 1)


def test_messages_as_maps_and_times_that_python_does_not_know_are_read(tmp_path):
    said = [[list(message.items()) for message in EXCHANGE]] * 2
    times = pa.array([253_402_300_800, 1_710_072_000], pa.int64()).cast(pa.timestamp("s"))
    messages = pa.array(said, pa.list_(pa.map_(pa.string(), pa.string())))
    pq.write_table(pa.table({"id": ["a", "b"], "messages": messages, "timestamp": times}), tmp_path / "x.parquet")
    first, second = (logs.parse(row) for row in parquet.parquet_rows(tmp_path / "x.parquet"))
    assert (first["timestamp"], second["timestamp"]) == (None, NOON)
    assert [exchanged(row)[0]["flags"] for row in (first, second)] == [["unreadable_detail"], []]


@pytest.mark.parametrize("score", [pa.array([2], pa.int8()), pa.array([2.0], pa.float32()), pa.array([Decimal("2")])])
def test_scores_of_any_number_are_scores(tmp_path, score):
    messages = [[{"role": "assistant", "content": text}] for text in ("good", "bad")]
    columns = {"prompt": ["q"], "prompt_id": [1], "score_chosen": [7.0], "score_rejected": score}
    pq.write_table(pa.table(columns | {"chosen": messages[:1], "rejected": messages[1:]}), tmp_path / "x.parquet")
    ((row,),) = (frame.to_dicts() for frame in ultrafeedback.read([tmp_path / "x.parquet"], Counter()))
    assert (row["id"], row["messages"][1]["evidence"]) == ("1", ["overall score 2"])


@pytest.mark.parametrize("kind", ["wildchat", "logs"])
def test_texts_that_are_not_utf_8_are_mended(tmp_path, kind):
    said = pa.array([[{"role": b"user", "content": b"q\xff"}, {"role": b"assistant", "content": b"r"}]])
    id_column, column = {"wildchat": ("conversation_hash", "conversation"), "logs": ("id", "messages")}[kind]
    pq.write_table(pa.table({id_column: ["a"], column: said}), tmp_path / "x.parquet")
    turns.write_turns({"w": tmp_path / "x.parquet"}, turns_settings(w=kind), tmp_path / "turns.parquet")
    assert tables.read_table(tables.Turns, tmp_path / "turns.parquet")["user"].to_list() == ["q\ufffd"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"role": 1}, r"column conversation\.role is Int64, not String"),
        ({"content": True}, r"column conversation\.content is Boolean, not String"),
        ({"content": ["q"]}, r"no column conversation\.content; it has: conversation\.role"),
    ],
)
def test_a_text_of_another_type_is_refused_with_its_column(tmp_path, fields, said):
    pq.write_table(pa.table({"conversation_hash": ["a"], "conversation": [[EXCHANGE[0] | fields]]}), tmp_path / "x.parquet")
    with pytest.raises(StageError, match=rf"x\.parquet: {said}"):
        list(wildchat.read([tmp_path / "x.parquet"], Counter()))


@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        (True, details.name, None),
        (float("inf"), details.name, None),
        (Decimal("1.5"), details.name, None),
        (10**400, details.number, None),
        (True, details.number, None),
        ("1", details.number, None),
        (Decimal("1.5"), details.number, 1.5),
        (" YES ", details.flag, True),
        (None, details.flag, None),
    ],
)
def test_details_are_what_they_say(value, read, expected):
    assert read(value) == expected


def test_flags_of_a_system_prompt_are_those_of_the_first_exchange():
    system = {"role": "system", "content": "Be brief."}
    rows = exchanged(logs.parse({"id": 1, "timestamp": "soon", "messages": [system, *EXCHANGE, *EXCHANGE]}))
    assert [row["flags"] for row in rows] == [["unreadable_detail"], []]
