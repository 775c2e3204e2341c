"""How a judge judges is resolved in one place: its row, then the benchmark's, then what was
published."""

import sys

import pytest

from drift import plugins, verdicts
from drift.judging import protocols
from tests.builders.judging import CHOICE, LETTER, SCORE, changed, configuration
from tests.conftest import REPOSITORY

HELDOUT = {"kind": "heldout"}
ALPACA = {"kind": "alpacaeval", "path": "alpaca.json"}
WILDBENCH = {"kind": "wildbench", "path": "wildbench.jsonl"}
DECODING = {"temperature": 0.0, "max_tokens": 300}


def protocol(benchmark: dict, **judge):
    """How a judge with this row judges a benchmark with that row."""
    config = configuration({"b": benchmark}, {"j": {"path": "judge"} | judge})
    return protocols.protocol_of(config, "b", "j")


def test_a_judges_row_overrides_the_benchmark_and_the_benchmark_its_kind():
    assert protocol(HELDOUT) == LETTER
    assert protocol(HELDOUT | {"order": "random"}) == changed(LETTER, order="random")
    assert protocol(HELDOUT | {"order": "random"}, order="both") == LETTER
    assert protocol(HELDOUT, verdict="score") == SCORE
    assert protocol(HELDOUT, verdict="choice") == CHOICE
    assert protocol(ALPACA) == changed(LETTER, order="alpacaeval", letters=("m", "M"))
    assert protocol(WILDBENCH) == changed(SCORE, order="random")


def test_a_benchmarks_judges_are_its_own_or_the_runs():
    rows = {"first": HELDOUT, "second": ALPACA | {"judge": ["b", "a"]}, "third": WILDBENCH | {"judge": "b"}}
    config = configuration(rows, {"a": {"path": "judge"}, "b": {"path": "other"}})
    assert [protocols.judges_of(config, name) for name in rows] == [["a"], ["b", "a"], ["b"]]
    assert protocols.judged(config) == [("first", "a"), ("second", "b"), ("second", "a"), ("third", "b")]


def test_a_letter_is_read_off_and_other_verdicts_are_sampled():
    assert protocols.generation(LETTER, DECODING) == {"choices": ["A", "B"], "schema": None, "decoding": None}
    assert protocols.max_tokens(LETTER, DECODING) == 1
    asked = protocols.generation(CHOICE, DECODING)
    assert (asked["choices"], asked["decoding"]) == (None, DECODING)
    assert list(asked["schema"]["properties"]) == ["of_a", "of_b", "comparison", "choice"]
    assert protocols.max_tokens(SCORE, DECODING) == 300


def test_candidates_are_scored_each_by_itself():
    ranking = protocols.ranking_protocol(votes=3)
    assert (ranking.verdict, ranking.pairwise, ranking.votes) == ("score", False, 3)
    assert protocols.questions_per_answer(ranking) == 3


@pytest.mark.parametrize(
    ("how", "count", "words"),
    [
        (LETTER, 2, "letter, both orders"),
        (changed(CHOICE, order="random", votes=2), 2, "choice of five, one order a task, 2 votes"),
        (changed(SCORE, votes=3), 3, "score 1 to 10, 3 votes"),
    ],
    ids=["letter", "choice", "score"],
)
def test_orders_and_votes_are_counted_and_named(how, count, words):
    assert protocols.questions_per_answer(how) == count
    assert protocols.words(how) == words


@pytest.mark.parametrize("name", plugins.VERDICTS)
def test_every_verdict_has_what_the_contract_lists(name):
    verdict = verdicts.load(name)
    for attribute in verdicts.Verdict.__annotations__:
        assert hasattr(verdict, attribute), attribute
    assert (REPOSITORY / "scripts/templates" / verdict.TEMPLATE).is_file()
    assert (verdict.SCHEMA is None) == (verdict.choices(("A", "B")) is not None), "read off or sampled"
    assert (verdict.DRAW is not None) == verdict.PAIRWISE


def test_a_new_verdict_is_a_module_and_a_line(monkeypatch, tmp_path):
    (tmp_path / "grade.py").write_text(
        "PAIRWISE = False\nTEMPLATE = 'judge-score.txt'\nSCHEMA = None\nDRAW = None\nLABEL = 'grade'\nTYPICAL_TOKENS = 1\n"
        "def choices(letters):\n    return ['P', 'F']\n"
        "def read(reply):\n    return {'score': 10.0 if reply.text == 'P' else 1.0}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(plugins.VERDICTS, "grade", "grade")
    how = protocol(HELDOUT, verdict="grade")
    assert (how.verdict, how.pairwise) == ("grade", False)
    assert protocols.words(how) == "grade"
    assert protocols.generation(how, DECODING)["choices"] == ["P", "F"]
    sys.modules.pop("grade")
