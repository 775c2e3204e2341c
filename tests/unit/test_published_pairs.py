"""Published preference pairs: conversations whose second reply to a prompt was preferred to the
first."""

import json

import polars as pl
import pyarrow as pa
import pytest

import labels
import pools
from drift import tables
from drift.cli import StageError
from drift.settings.data import LabelsSettings
from drift.sources import exchanges, pairs
from drift.sources.conversations import UNREADABLE_DETAIL
from tests.builders.corpus import drops, pools_settings
from tests.builders.sources import dropped_in, read_turns, texts, write_logs

HISTORY = ["Where is Vienna?", "In Austria.", "Since when?"]


def said(*texts: str) -> list[dict]:
    """Messages in turn, in the words of WildFeedback's file."""
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def spoken(*texts: str) -> list[dict]:
    """The same in OpenAI's words."""
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def wildfeedback(**changes) -> dict:
    """A record of wildfeedback.json."""
    reply = {"from": "gpt"}
    return {
        "conversations": said(*HISTORY),
        "chosen": reply | {"value": "Since 1156."},
        "rejected": reply | {"value": "No idea."},
    } | changes


def trl(**changes) -> dict:
    """A record as TRL takes it."""
    return {"prompt": "Since when?", "chosen": "Since 1156.", "rejected": "No idea."} | changes


def without(record: dict, field: str) -> dict:
    return {name: value for name, value in record.items() if name != field}


@pytest.fixture
def read(tmp_path):
    """Write a record as JSON Lines and read it beside a sound one: its texts, or why it was
    dropped."""

    def write_and_read(record: object) -> list[tuple] | str:
        write_logs(tmp_path / "p.jsonl", record, trl(id="sound", prompt="And now?"))
        rows, ledger = read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")
        found = texts(rows.filter(rows["conversation_id"] != "p:sound").to_dicts())
        dropped = dropped_in(ledger)
        assert bool(found) != bool(dropped)
        return found or next(reason for (_, reason), count in dropped.items() if count == 1)

    return write_and_read


def test_both_replies_answer_the_same_prompt_and_nobody_says_a_word_of_them(tmp_path):
    (tmp_path / "wildfeedback.json").write_text(json.dumps([wildfeedback()]))
    rows, _ = read_turns(tmp_path, "pairs", w=tmp_path / "wildfeedback.json")
    before, rejected, chosen = rows.to_dicts()
    assert texts([before, rejected, chosen]) == [
        ("Where is Vienna?", "In Austria.", "Since when?"),
        ("Since when?", "No idea.", None),
        ("Since when?", "Since 1156.", None),
    ]
    assert [row["unseen"] for row in (before, rejected, chosen)] == [False, True, False]
    assert [row["source_label"] for row in (before, rejected, chosen)] == [None, "DSAT", "SAT"]
    assert rejected["source_evidence"] == ["rejected in a published pair"]


ONE = [("Since when?", "No idea.", None), ("Since when?", "Since 1156.", None)]
ALL = [(*HISTORY[:2], HISTORY[2]), *ONE]
ENDS = {"chosen": "Since 1156.", "rejected": "No idea."}
WHOLE = {side: spoken(*HISTORY, reply) for side, reply in ENDS.items()}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (wildfeedback(), ALL),
        (trl(), ONE),
        (trl(prompt=spoken(*HISTORY)), ALL),
        (trl(prompt=spoken(*HISTORY), **{side: [{"role": "assistant", "content": text}] for side, text in ENDS.items()}), ALL),
        (trl(prompt=spoken(*HISTORY), **WHOLE), ALL),
        (trl(**WHOLE), ALL),
        (without(trl(**WHOLE), "prompt"), ALL),
        (trl(**WHOLE | {"prompt": None}), ALL),
        (trl(prompt=[{"role": "system", "content": ""}, *spoken(*HISTORY)]), ALL),
    ],
    ids=["wildfeedback", "texts", "messages", "replies", "prompt before", "text before", "no prompt", "null", "empty system"],
)
def test_each_shape_is_the_same_pair(read, record, found):
    assert read(record) == found


LATER = [{"role": "assistant", "content": "Hello!"}, *spoken("Since when?")]


DROPPED = [
    (None, pairs.NOT_A_PAIR),
    (["a", "list"], pairs.NOT_A_PAIR),
    *[(without(wildfeedback(), field), pairs.NOT_A_PAIR) for field in ("chosen", "rejected")],
    (without(wildfeedback(), "conversations"), pairs.NOT_A_PAIR),
    (without(trl(), "prompt"), pairs.NOT_A_PAIR),
    (wildfeedback(conversations=[]), pairs.NOT_A_PAIR),
    *[(wildfeedback(**{field: 3}), pairs.NOT_A_PAIR) for field in ("conversations", "chosen", "rejected")],
    *[(trl(**{field: 3}), pairs.NOT_A_PAIR) for field in ("prompt", "chosen", "rejected")],
    *[(wildfeedback(**{side: None}), pairs.NOT_A_PAIR) for side in ENDS],
    *[(wildfeedback(**{side: []}), pairs.NOT_A_PAIR) for side in ENDS],
    *[(wildfeedback(**{side: {"from": "human", "value": "Hm."}}), pairs.NOT_A_PAIR) for side in ENDS],
    *[(wildfeedback(**{side: {"from": "gpt"}}), pairs.NOT_A_PAIR) for side in ENDS],
    *[(wildfeedback(**{side: {"value": "Hm."}}), pairs.NOT_A_PAIR) for side in ENDS],
    (wildfeedback(conversations=["Since when?"]), pairs.NOT_A_PAIR),
    (trl(prompt=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]), pairs.NOT_A_PAIR),
    *[(trl(**{side: " \n"}), pairs.EMPTY) for side in ENDS],
    (trl(chosen="No idea.\n"), pairs.SAME),
    (trl(**WHOLE | {"chosen": spoken("And then?", "Since 1156.")}), pairs.OTHER_PROMPT),
    (trl(prompt=None, **WHOLE | {"chosen": spoken("And then?", "Since 1156.")}), pairs.OTHER_PROMPT),
    (trl(**WHOLE | {"prompt": "And then?"}), pairs.OTHER_PROMPT),
    (trl(prompt=spoken("a", "b", *HISTORY), **WHOLE), pairs.OTHER_PROMPT),
    (wildfeedback(conversations=said(*HISTORY, "Since 976.")), pairs.BAD_PROMPT),
    (wildfeedback(conversations=[*said("Since when?"), *said("And now?")]), pairs.BAD_PROMPT),
    (trl(prompt=LATER), pairs.BAD_PROMPT),
    (trl(prompt=[{"role": "tool", "content": "1156"}, *spoken("Since when?")]), pairs.BAD_PROMPT),
    (trl(prompt=[*spoken("a", "b"), {"role": "system", "content": "s"}, *spoken("c")]), pairs.BAD_PROMPT),
    (trl(prompt=spoken("Where?", " ", "When?")), pairs.BAD_PROMPT),
    (trl(prompt=""), pairs.BAD_PROMPT),
    (trl(id=["a"]), exchanges.NO_ID),
]


@pytest.mark.parametrize(("record", "reason"), DROPPED)
def test_what_is_no_pair_is_dropped_with_its_reason(read, record, reason):
    assert read(record) == reason


def test_every_reason_has_a_record_here():
    assert {reason for _, reason in DROPPED} == {*pairs.DROPS, exchanges.NO_ID} - {pairs.CUT_OFF}


def test_a_record_that_the_end_of_the_file_cuts_is_counted(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps([wildfeedback(), trl()])[:-9])
    rows, ledger = read_turns(tmp_path, "pairs", p=tmp_path / "p.json")
    assert rows.height == 3
    assert dropped_in(ledger) == {("source:p", pairs.CUT_OFF): 1}


def test_a_file_of_something_else_is_refused_with_what_it_lacks(tmp_path):
    write_logs(tmp_path / "p.jsonl", {"messages": spoken("a", "b")}, {"text": "c"})
    with pytest.raises(StageError, match=f"no exchange in 2 records \\({pairs.NOT_A_PAIR}: 2\\). Check that the source's kind"):
        read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")


def test_files_of_every_format_hold_the_same_pairs(tmp_path):
    many = [trl(prompt=f"Question {number}?") for number in range(3)]
    files = {name: tmp_path / name for name in ("array.json", "lines.json", "lines.jsonl", "one.json")}
    files["array.json"].write_text(json.dumps(many))
    files["one.json"].write_text(json.dumps(many[0]))
    for name in ("lines.json", "lines.jsonl"):
        write_logs(files[name], *many)
    found = {name: sorted(texts(read_turns(tmp_path, "pairs", p=file)[0].to_dicts())) for name, file in files.items()}
    assert found.pop("one.json") == found["array.json"][:2]
    rows, _ = read_turns(tmp_path, "pairs", p=pa.Table.from_pylist(many))
    found["parquet"] = sorted(texts(rows.to_dicts()))
    assert {len(rows) for rows in found.values()} == {6}
    assert all(rows == found["array.json"] for rows in found.values())


def test_messages_are_read_from_parquet(tmp_path):
    rows, _ = read_turns(tmp_path, "pairs", p=pa.Table.from_pylist([wildfeedback()]))
    assert texts(rows.to_dicts()) == ALL


def test_pairs_without_an_id_are_named_by_their_contents_and_equal_ones_count_once(tmp_path):
    write_logs(tmp_path / "p.jsonl", trl(), trl(), trl(chosen="1156."), trl(id=7, chosen="In 1156."))
    rows, ledger = read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")
    names = rows["conversation_id"].unique().sort().to_list()
    assert len(names) == 3
    assert "p:7" in names
    assert dropped_in(ledger) == {("source:p", "exact copy of another conversation"): 1}
    write_logs(tmp_path / "p.jsonl", trl(id=7, chosen="In 1156."), trl(chosen="1156."), trl(extra=1))
    again, _ = read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")
    assert again["conversation_id"].unique().sort().to_list() == names


def test_what_a_record_says_of_its_conversation_is_kept_and_costs_itself_alone(tmp_path):
    write_logs(
        tmp_path / "p.jsonl", trl(id="a", language="English", model="m", user="u"), trl(id="b", prompt="What?", model=["m"])
    )
    rows, _ = read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")
    known = rows.select("conversation_id", "language", "model", "user_id", "flags").rows()
    assert known == [
        *[("p:a", "English", "m", "p:1", [])] * 2,
        ("p:b", None, None, None, [UNREADABLE_DETAIL]),
        ("p:b", None, None, None, []),
    ]


@pytest.fixture
def choose(tmp_path):
    """The pools of a file of these records, and their ledger."""

    def read_and_choose(*records: dict, **changed) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
        write_logs(tmp_path / "p.jsonl", *records)
        read_turns(tmp_path, "pairs", p=tmp_path / "p.jsonl")
        said = LabelsSettings(labelers={"published": {"kind": "source"}})
        labels.write_labels(tmp_path / "turns.parquet", said, tmp_path / "labels.parquet", {})
        paths = {pool: tmp_path / f"{pool}.out" for pool in pools.SCHEMAS}
        settings = pools_settings(labeler="published", **changed)
        _, ledger = pools.choose(tmp_path / "turns.parquet", tmp_path / "labels.parquet", {}, settings, paths)
        return {pool: tables.read_table(schema, paths[pool]) for pool, schema in pools.SCHEMAS.items()}, ledger

    return read_and_choose


def test_a_pair_with_a_history_is_a_correction_of_its_whole_prompt_and_no_dsat(choose):
    chosen, ledger = choose(wildfeedback(conversations=[{"from": "system", "value": "Be brief."}, *said(*HISTORY)]))
    prompt = [{"role": "system", "content": "Be brief."}, *spoken(*HISTORY)]
    (row,) = chosen["corrections"].rows(named=True)
    assert row["prompt"] == prompt
    assert (row["rejected"], row["feedback"], row["chosen"]) == ("No idea.", None, "Since 1156.")
    for pool, side, reply in (("sat", "chosen", "Since 1156."), ("wordless", "rejected", "No idea.")):
        (row,) = chosen[pool].rows(named=True)
        assert (row["prompt"], row[side]) == (prompt, reply)
    assert chosen["sat"]["feedback"].to_list() == [None]
    assert chosen["dsat"].is_empty()
    assert drops(ledger, "dsat") == {"not labelled DSAT": 1, "the user said nothing of it": 1}


def test_filters_limits_and_the_split_hold_for_pairs(choose):
    about = ["the cathedral", "the opera", "the river"]
    opened = [said(f"Tell me of {thing}.", "Gladly.", f"How old is {thing}, then?") for thing in about for _ in range(2)]
    records = [
        wildfeedback(conversations=history, rejected={"from": "gpt", "value": f"No idea {number}."})
        for number, history in enumerate(opened)
    ]
    long = sum(map(len, ["Tell me of the river.", "Gladly.", "How old is the river, then?", "Since 1156."]))
    chosen, ledger = choose(
        *records,
        wildfeedback(chosen={"from": "gpt", "value": "I'm sorry, but I cannot help with that."}),
        trl(prompt="Write of " + "it " * 99),
        max_chars=long + 20,
        test_correction_conversations=2,
    )
    assert drops(ledger, "corrections") == {
        "not labelled DSAT": 8,
        "reply refuses": 1,
        "prompt and reply over max_chars": 1,
    }
    sides = chosen["corrections"].select("split", thing=pl.col("prompt").list.first().struct.field("content"))
    assert sides.group_by("thing").agg(pl.col("split").n_unique())["split"].to_list() == [1, 1, 1]
    assert sides["split"].value_counts().sort("split").rows() == [("test", 2), ("train", 4)]
