"""The line that says what a training gained and what it cost elsewhere."""

from drift.metrics.display import minus
from drift.report.gains import gains
from drift.report.judge_behaviour import Behaviour
from tests.builders.run import CONFIG, evaluation
from tests.unit.report.rows import compared

MEASURED = {
    "sums": {"kind": "gsm8k", "path": "test.jsonl"},
    "wishes": {"kind": "ifeval", "path": "wishes.jsonl"},
    "letters": {"kind": "multiple-choice", "path": "letters.jsonl"},
}
CHECKED = CONFIG.model_copy(update={"evaluation": evaluation(benchmarks=MEASURED)})
UP = {"difference": 0.12, "low": 0.08, "high": 0.16}


def checked(benchmark: str, metric: str, **columns) -> dict:
    """A comparison of drift's second iteration with the base model by what code decides."""
    return compared(**{"iteration": 2, "benchmark": benchmark, "judge": "", "metric": metric} | columns)


def measured(*rows: dict, judged: list[Behaviour] | None = None) -> list[dict]:
    """Each line as its policy and the measures of every part."""
    return [
        {"policy": f"{line.policy.method} {line.policy.iteration}", "left out": line.left_out}
        | {heading: [(row.measure, row.difference, row.interval) for row in part] for heading, part in line.parts}
        for line in gains(list(rows), judged or [], CHECKED)
    ]


def test_a_win_rate_stands_next_to_what_it_cost():
    rows = [
        compared(iteration=2, **UP),
        checked("sums", "exact_match_flexible"),
        checked("wishes", "prompt_strict", **UP),
        checked("letters", "accuracy", p_fdr=0.2),
    ]
    (line,) = measured(*rows)
    assert line == {
        "policy": "drift 2",
        "gained": [
            ("heldout: Win rate, judged by tiny", "+12.0", "+8.0 to +16.0"),
            ("wishes: Prompts, strict", "+12.0", "+8.0 to +16.0"),
        ],
        "lost": [("sums: Exact match", minus("-3.1"), minus("-5.0 to -1.0"))],
        "no difference can be claimed": [("letters: Accuracy", minus("-3.1"), minus("-5.0 to -1.0"))],
        "left out": [],
    }


def test_the_last_policy_of_each_method_counts_against_the_base_model_alone():
    rows = [
        compared(iteration=1, **UP),
        compared(iteration=2),
        compared(iteration=2, against="previous", **UP),
        compared(method="spin", iteration=1, **UP),
        compared(method="warmup", iteration=0, **UP),
    ]
    assert [line["policy"] for line in measured(*rows)] == ["drift 2", "spin 1"]
    assert "gained" not in measured(*rows)[0]


def test_one_metric_a_benchmark_is_shown():
    (line,) = measured(compared(**UP), compared(metric="length_controlled_win_rate", **UP))
    assert [measure for measure, *_ in line["gained"]] == ["heldout: Win rate, judged by tiny"]


def test_a_judge_that_means_nothing_shows_no_gain():
    blind = Behaviour("heldout", "tiny", nothing=("it flips",))
    (line,) = measured(compared(**UP), checked("sums", "exact_match_flexible", iteration=1), judged=[blind])
    assert "gained" not in line
    assert line["left out"] == ["heldout by tiny"]
    assert line["lost"]


def test_the_line_is_on_the_page_s_first_screen(page):
    above, _, _ = page.partition('<dl class="facts">')
    assert 'class="gains"' in above
    assert "against the base model" in above
