"""Judges as the page shows them."""

from drift.metrics.display import minus
from drift.report.judge_behaviour import Behaviour
from drift.report.judge_tables import judge_table, judged_by
from drift.report.metric_labels import Measure
from tests.builders.run import CONFIG, evaluation


def test_every_judge_is_shown_with_how_it_judges_and_its_validation():
    rows = [{"judge": "tiny", "benchmark": "heldout", "metric": "pearson", "value": -0.25, "low": -0.5, "high": 0.1, "n": 40}]
    validated, other = judge_table(rows, [Behaviour("heldout", "tiny", nothing=("it flips",))], CONFIG).rows
    assert (validated.judge, validated.how, validated.model) == ("tiny", "letter, both orders", "hf:x/y@z")
    assert validated.measures[0] == Measure(minus("-0.25"), minus("-0.50 to 0.10"), "40")
    assert other.measures == [None], "metrics that no judge has are no columns"
    assert (validated.reading, other.reading) == ("means nothing", None)
    assert (other.benchmark, other.validated) == ("late", False)
    assert not judge_table([], [], CONFIG).rows[0].validated


def test_judge_behind_an_endpoint_is_called_by_its_model():
    asked = evaluation(path=None, endpoint={"url": "http://localhost/v1", "model": "big"}, verdict="score", votes=2)
    (row, _) = judge_table([], [], CONFIG.model_copy(update={"evaluation": asked})).rows
    assert (row.model, row.how) == ("big", "score 1 to 10, 2 votes")


def test_a_benchmark_may_have_several_judges():
    both = evaluation(
        judges={"huge": {"path": "hf:x/z@z"}},
        benchmarks={"heldout": {"kind": "heldout", "judge": ["huge", "tiny"]}},
    )
    assert judged_by(CONFIG.model_copy(update={"evaluation": both})) == [
        ("heldout", "huge"),
        ("heldout", "tiny"),
        ("late", "tiny"),
    ]
