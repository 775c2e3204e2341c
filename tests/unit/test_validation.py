"""A judge's agreement with published figures is the agreement that is there, and a file that cannot serve says why."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import validation
from drift import tables
from drift.judging.protocols import judging
from drift.metrics import correlation
from tests.builders.run import evaluation
from tests.conftest import REPOSITORY
from tests.unit.test_benchmarks import SHARED, jsonl

GOLDEN = SHARED / "golden/wildbench"
SETTINGS = {"seed": 1, "bootstrap": 200}


# ------------------------------------------------------------------------------------------------------------ measures

figures = st.lists(st.integers(1, 10), min_size=2, max_size=12)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_kappa_is_its_definition_over_the_table_of_both_raters(data):
    x = np.array(data.draw(figures))
    y = np.array(data.draw(st.lists(st.integers(1, 10), min_size=len(x), max_size=len(x))))
    levels = range(1, 11)
    for quadratic in (False, True):
        observed = expected = 0.0
        for a, b in itertools.product(levels, levels):
            weight = (a - b) ** 2 if quadratic else float(a != b)
            observed += weight * np.mean((x == a) & (y == b))
            expected += weight * np.mean(x == a) * np.mean(y == b)
        kappa = correlation.kappa(x, y, quadratic=quadratic)
        assert math.isnan(kappa) if expected == 0 else kappa == pytest.approx(1 - observed / expected)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_kendalls_tau_counts_pairs_of_pairs(data):
    x = data.draw(figures)
    y = data.draw(st.lists(st.integers(1, 10), min_size=len(x), max_size=len(x)))
    concordant = discordant = untied_x = untied_y = 0
    for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2):
        product = (a - c) * (b - d)
        concordant, discordant = concordant + (product > 0), discordant + (product < 0)
        untied_x, untied_y = untied_x + (a != c), untied_y + (b != d)
    tau = correlation.kendall(np.array(x, dtype=float), np.array(y, dtype=float))
    if untied_x and untied_y:
        assert tau == pytest.approx((concordant - discordant) / math.sqrt(untied_x * untied_y))
    else:
        assert math.isnan(tau)


def test_ranks_ignore_the_scale_and_share_ties():
    x = np.array([1.0, 2.0, 2.0, 10.0])
    assert correlation.spearman(x, np.exp(x)) == pytest.approx(1.0)
    assert correlation.spearman(x, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.9486833)
    assert math.isnan(correlation.pearson(x, np.ones(4)))


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published WildBench scores are not on this machine")
def test_two_published_judges_agree_as_far_as_was_measured_of_them():
    """gpt-4o and gpt-4-turbo on the same WildBench answers: Pearson 0.76 to 0.89, quadratic kappa 0.69 to 0.85."""
    rows = pl.read_csv(GOLDEN / "scores.csv.gz").filter(version="v2.0522").drop_nulls("score")
    both = rows.filter(pl.col("judge").str.starts_with("gpt-4o")).join(
        rows.filter(pl.col("judge").str.starts_with("gpt-4-turbo")), on=["model", "session_id"]
    )
    models = both["model"].unique().to_list()
    assert len(models) >= 2
    for model in models:
        of_model = both.filter(model=model)
        x, y = (of_model[name].to_numpy().astype(float) for name in ("score", "score_right"))
        assert len(x) > 1000
        assert 0.755 < correlation.pearson(x, y) < 0.895, model
        assert 0.685 < correlation.kappa(x, y, quadratic=True) < 0.855, model


# --------------------------------------------------------------------------------------------------------------- trials


def pair(
    item: str, preference: float, judge: dict[str, float], models: tuple[str, str] = ("a", "b")
) -> tuple[dict, list[dict]]:
    """A published pair, and the judge's preference for its first answer by order."""
    published = {"prompt_id": item, "preference": preference, "score": None, "model": models[0], "opponent": models[1]}
    verdicts = [
        {
            "request_id": f"{item}{order}",
            "prompt_id": item,
            "sample": 0,
            "kind": "pairwise",
            "opponent": "baseline",
            "order": order,
        }
        | {
            "vote": 0,
            "policy_chars": 1,
            "opponent_chars": 1,
            "preference": value,
            "error": None if value is not None else "none",
        }
        for order, value in judge.items()
    ]
    return published, verdicts


def measured(*pairs) -> dict[str, dict]:
    """Rows of Validation by metric."""
    published = pl.DataFrame([made[0] for made in pairs], schema=tables.Published.create_empty().schema)
    judgments = pl.DataFrame([row for made in pairs for row in made[1]], schema=tables.Judgments.create_empty().schema)
    rows = validation.validate(tables.Judgments.validate(judgments), tables.Published.validate(published), SETTINGS)
    full = pl.DataFrame(
        [{"judge": "j", "benchmark": "b"} | row for row in rows], schema=tables.Validation.create_empty().schema
    )
    return {row["metric"]: row for row in tables.Validation.validate(full).to_dicts()}


def test_a_perfect_judge_agrees_wholly_and_one_that_always_says_a_not_at_all():
    truth = [0.9, 0.1, 0.8, 0.3, 0.7, 0.2]
    perfect = measured(*[pair(f"i{at}", value, {"AB": value, "BA": value}) for at, value in enumerate(truth)])
    for metric in ("pearson", "spearman", "kappa", "agreement"):
        assert perfect[metric]["value"] == pytest.approx(1.0), metric
    assert perfect["position_flip_rate"]["value"] == 0.0
    assert perfect["judged"]["value"] == 1.0
    first = measured(*[pair(f"i{at}", value, {"AB": 1.0, "BA": 0.0}) for at, value in enumerate(truth)])
    assert first["position_flip_rate"]["value"] == 1.0
    assert first["agreement"]["value"] == 0.0
    assert first["pearson"]["value"] is None, "a judge without any opinion correlates with nothing"


def test_an_item_without_a_verdict_in_one_order_does_not_count_and_is_said():
    found = measured(
        pair("x", 0.9, {"AB": 1.0, "BA": None}), pair("y", 0.9, {"AB": 0.9, "BA": 0.7}), pair("z", 0.2, {"AB": 0.4, "BA": 0.4})
    )
    assert (found["agreement"]["n"], found["agreement"]["value"]) == (2, 1.0)
    assert found["judged"]["value"] == pytest.approx(2 / 3)


def test_models_are_ranked_by_their_mean_over_both_sides():
    models = [("a", "b"), ("b", "c"), ("a", "c")]
    right = [
        pair(f"{first}{second}{n}", 0.9, {"AB": 0.8, "BA": 0.6}, (first, second)) for n in range(4) for first, second in models
    ]
    assert measured(*right)["rank_agreement"]["value"] == pytest.approx(1.0)
    assert measured(*right)["rank_agreement"]["n"] == 3
    wrong = [pair(f"{first}{second}", 0.9, {"AB": 0.2, "BA": 0.2}, (first, second)) for first, second in models]
    assert measured(*wrong)["rank_agreement"]["value"] == pytest.approx(-1.0)
    assert measured(*right[:1])["rank_agreement"]["value"] is None, "two models are no ranking"


def test_the_interval_holds_the_value_and_narrows_with_items():
    random = np.random.default_rng(3)

    def noisy(n: int) -> dict:
        truth = random.uniform(size=n)
        judge = np.clip(truth + random.normal(0, 0.3, n), 0, 1)
        return measured(*[pair(f"i{at}", truth[at], {"AB": judge[at]}) for at in range(n)])["pearson"]

    few, many = noisy(20), noisy(400)
    for row in (few, many):
        assert row["low"] < row["value"] < row["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]


# --------------------------------------------------------------------------------------------------------------- stages


def stage(folder, script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / f"scripts/{script}.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def tasks_of(folder, kind: str, *rows: dict) -> subprocess.CompletedProcess:
    jsonl(folder / "published.jsonl", *rows)
    outputs = [part for name in ("tasks", "responses", "published") for part in (f"--{name}", f"{kind}-{name}.parquet")]
    return stage(folder, "validation_tasks", "--source", "published.jsonl", "--kind", kind, *outputs)


SCORED = {"id": "1", "prompt": "Why?", "response": "So.", "score": 7, "model": "m", "checklist": ["Is it so?"]}
PAIRED = {
    "id": "2",
    "messages": [{"role": "user", "content": "Why?"}],
    "response_a": "So.",
    "response_b": "No.",
    "preference": 0.5,
}


def test_a_file_may_hold_both_kinds_and_each_judge_is_asked_about_its_own(tmp_path):
    for kind in ("score", "pairwise"):
        done = tasks_of(tmp_path, kind, SCORED, PAIRED)
        assert done.returncode == 0, done.stderr
    (scored,) = tables.read_table(tables.Tasks, tmp_path / "score-tasks.parquet").to_dicts()
    (paired,) = tables.read_table(tables.Tasks, tmp_path / "pairwise-tasks.parquet").to_dicts()
    assert (scored["prompt_id"], scored["checklist"], scored["baseline"]) == ("1", ["Is it so?"], None)
    assert (paired["prompt_id"], paired["baseline"]) == ("2", "No.")
    (answer,) = tables.read_table(tables.Responses, tmp_path / "pairwise-responses.parquet")["response"]
    assert answer == "So."


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([SCORED | {"score": None}], "record 1: either score or preference is needed"),
        ([SCORED | {"preference": 0.5}], "record 1: either score or preference is needed"),
        ([SCORED | {"score": 11}], "record 1: score is no number from 1 to 10"),
        ([SCORED | {"score": "7"}], "record 1: score is no number from 1 to 10"),
        ([SCORED, PAIRED | {"preference": 2}], "record 2: preference is no number from 0 to 1"),
        ([{"id": "1", "prompt": "Why?", "score": 7}], "record 1: no field 'response'"),
        ([PAIRED], "has no items with response and score"),
    ],
)
def test_an_item_that_cannot_serve_is_named(tmp_path, rows, what):
    done = tasks_of(tmp_path, "score", *rows)
    assert done.returncode == 1
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_a_judges_row_overrides_the_benchmark_and_the_benchmark_its_kind():
    from drift.benchmarks import KINDS

    rows = evaluation(order="random", verdict="score", votes=1).model_dump()
    benchmark, judge = rows["benchmarks"]["heldout"], rows["judges"]["tiny"]
    default = KINDS["heldout"].JUDGING
    assert judging(benchmark, judge, default)["verdict"] == "score"
    plain = evaluation().judges["tiny"].model_dump()
    assert judging(benchmark | {"order": "random"}, plain, default)["order"] == "random"
    assert judging(benchmark, plain, default) == {"verdict": "letter", "order": "both", "letters": ["A", "B"], "votes": 1}
    assert judging(benchmark, plain, KINDS["alpacaeval"].JUDGING)["letters"] == ["m", "M"]


def test_a_trial_goes_from_verdicts_to_the_table(tmp_path):
    assert tasks_of(tmp_path, "score", *[SCORED | {"id": str(n), "score": 1 + n} for n in range(8)]).returncode == 0
    verdicts = [
        {
            "request_id": str(n),
            "prompt_id": str(n),
            "sample": 0,
            "kind": "score",
            "vote": 0,
            "score": min(2.0 + n, 10.0),
            "policy_chars": 3,
        }
        for n in range(8)
    ]
    judgments = pl.DataFrame(verdicts, schema=tables.Judgments.create_empty().schema)
    tables.write_table(judgments, tables.Judgments, tmp_path / "judgments.parquet")
    trial = ("--trial", "tiny", "wildbench", ".", "score-published.parquet", "--settings", json.dumps(SETTINGS))
    done = stage(tmp_path, "validation", *trial, "--validation", "validation.parquet")
    assert done.returncode == 0, done.stderr
    found = {row["metric"]: row for row in tables.read_table(tables.Validation, tmp_path / "validation.parquet").to_dicts()}
    assert found["pearson"]["value"] == pytest.approx(1.0)
    assert found["agreement"]["value"] == 1.0, "a point more than published is within a point"
    assert found["kappa"]["value"] < 1.0
    assert "position_flip_rate" not in found
