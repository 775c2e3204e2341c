"""A judge's agreement with published figures is the agreement that is there, and a file that cannot
serve says why."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import validation
from drift import tables
from drift.settings.judging import ValidationSettings
from tests.builders.judging import write_lines
from tests.conftest import REPOSITORY

SETTINGS = ValidationSettings(seed=1, bootstrap=200)


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


def test_a_draw_in_one_order_is_no_flip_as_in_the_scores_of_a_run():
    drawn = measured(*[pair(f"i{at}", 0.9, {"AB": 0.75, "BA": 0.5}) for at in range(6)])
    assert drawn["position_flip_rate"]["value"] == 0.0


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


def stage(folder, script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / f"scripts/{script}.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def published_tables(folder, kind: str, *rows: dict) -> subprocess.CompletedProcess:
    write_lines(folder / "published.jsonl", *rows)
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
        done = published_tables(tmp_path, kind, SCORED, PAIRED)
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
        ([SCORED | {"score": 11}], "record 1: score is not a number from 1 to 10"),
        ([SCORED | {"score": "7"}], "record 1: score is not a number from 1 to 10"),
        ([SCORED, PAIRED | {"preference": 2}], "record 2: preference is not a number from 0 to 1"),
        ([{"id": "1", "prompt": "Why?", "score": 7}], "record 1: no field 'response'"),
        ([PAIRED], "has no items with response and score"),
    ],
)
def test_an_item_that_cannot_serve_is_named(tmp_path, rows, what):
    done = published_tables(tmp_path, "score", *rows)
    assert done.returncode == 1
    assert what in done.stderr
    assert "Traceback" not in done.stderr


def test_a_validation_goes_from_verdicts_to_the_table(tmp_path):
    assert published_tables(tmp_path, "score", *[SCORED | {"id": str(n), "score": 1 + n} for n in range(8)]).returncode == 0
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
    judge = ("--judge", "tiny", "wildbench", "judgments.parquet", "score-published.parquet")
    done = stage(tmp_path, "validation", *judge, "--settings", SETTINGS.canonical(), "--validation", "validation.parquet")
    assert done.returncode == 0, done.stderr
    found = {row["metric"]: row for row in tables.read_table(tables.Validation, tmp_path / "validation.parquet").to_dicts()}
    assert found["pearson"]["value"] == pytest.approx(1.0)
    assert found["agreement"]["value"] == 1.0, "a point more than published is within a point"
    assert found["kappa"]["value"] < 1.0
    assert "position_flip_rate" not in found
