"""What one judge's verdicts on one policy's answers give, on each kind of benchmark."""

from importlib import import_module

import numpy as np
import polars as pl
import pytest

from drift import benchmarks
from drift.metrics import wildbench
from tests.builders.judgments import compared, frame, judgment, score_of, tasks, values


def statistics(judgments: pl.DataFrame, kind: str = "heldout", known: pl.DataFrame | None = None) -> dict:
    known = tasks(*judgments["prompt_id"].unique().sort()) if known is None else known
    return benchmarks.statistics(kind, judgments, known, {})


def test_win_rate_averages_the_orders_and_flips_are_counted():
    found = statistics(
        compared(("a", "AB", 0.9), ("a", "BA", 0.2), ("b", "AB", 0.6), ("b", "BA", 0.7), ("c", "AB", 0.1), ("c", "BA", 0.3))
    )
    expected = {"win_rate": (0.55 + 0.65 + 0.2) / 3, "position_flip_rate": 1 / 3, "verdict_mass": 0.5, "parse_failure_rate": 0}
    assert values(found) == pytest.approx(expected)
    assert {len(statistic.keys) for statistic in found.values()} == {3}


def test_judge_that_always_prefers_the_first_answer_is_worth_a_draw():
    found = values(statistics(compared(*[(item, order, float(order == "AB")) for item in "abcd" for order in ("AB", "BA")])))
    assert (found["win_rate"], found["position_flip_rate"]) == (0.5, 1.0)


def test_item_of_which_one_order_has_no_verdict_does_not_count():
    found = statistics(compared(("a", "AB", 1.0), ("a", "BA", None), ("b", "AB", 0.4), ("b", "BA", 0.4)))
    assert (found["win_rate"].value(), found["win_rate"].keys.tolist()) == (0.4, ["b"])
    assert found["parse_failure_rate"].value() == 0.25


def test_item_asked_in_one_order_counts_and_cannot_flip():
    found = values(statistics(compared(("a", "AB", 1.0), ("b", "BA", 0.5))))
    assert found["win_rate"] == 0.75
    assert "position_flip_rate" not in found


def test_written_letters_have_a_name_of_their_own_and_no_length_control():
    """Of a judge without probabilities; a draw that nobody judged has no mass either."""
    draw = judgment("same", preference=0.5, mass=None)
    rows = [judgment(str(n), preference=float(n % 3 == 0), mass=None) for n in range(9)] + [draw]
    found = values(statistics(frame(rows), "alpacaeval"))
    assert found == {"written_win_rate": 0.35, "parse_failure_rate": 0.0}
    assert "win_rate" in values(statistics(frame([draw]), "alpacaeval"))


def test_verdicts_in_five_levels_are_wins_draws_and_losses():
    outcomes = [judgment(item, outcome=outcome) for item, outcome in zip("abcd", (2, 1, 0, -2), strict=True)]
    assert values(statistics(frame(outcomes), "arena-hard"))["win_rate"] == (1 + 1 + 0.5 + 0) / 4


def test_votes_are_averaged_and_a_failed_vote_is_not_a_failed_item():
    rows = [
        judgment("a", vote=vote, **found)
        for vote, found in enumerate(({"preference": 1.0}, {"preference": 0.5}, {"error": "cut"}))
    ]
    found = values(statistics(frame(rows)))
    assert (found["win_rate"], found["parse_failure_rate"]) == (0.75, pytest.approx(1 / 3))


def test_every_opponent_has_a_win_rate_of_its_own():
    rows = [judgment("a", preference=1.0), judgment("a", opponent="gpt", preference=0.25)]
    found = values(statistics(frame(rows), "prompts"))
    assert (found["win_rate"], found["win_rate:gpt"]) == (1.0, 0.25)


def test_wildbench_has_scores_of_one_judge_and_rewards_of_another():
    known = tasks("a", "b", categories=[[wildbench.MATH], [wildbench.CODING]])
    scored = values(statistics(frame([score_of("a", 7.0), score_of("b", 4.0)]), "wildbench", known))
    assert (scored["wb_score"], scored["wb_score_raw"]) == (10.0, 5.5)
    assert scored["wb_score_task_macro"] == pytest.approx((1 * 40 - 1.25 * 20) / 2.25)
    rows = [judgment("a", opponent=name, outcome=outcome) for name, outcome in (("gpt", 2), ("haiku", -1))]
    rows.append(judgment("b", opponent="gpt", outcome=1, policy_chars=1000))
    rows.append(judgment("b", opponent="haiku", error="no choice in the reply"))
    rewarded = values(statistics(frame(rows), "wildbench", known))
    assert rewarded["wb_reward:gpt"] == 75.0
    assert rewarded["wb_reward"] == pytest.approx(100 * (0.75 - 0.5) / 2)
    assert rewarded["wb_reward_k500:gpt"] == 50.0, "a slight win by far more characters is a draw"
    assert not any(name.startswith("wb_score") for name in rewarded)


def test_alpacaeval_with_few_verdicts_has_no_length_control():
    rows = [judgment(str(at), preference=0.25 * at) for at in range(4)]
    found = values(statistics(frame(rows), "alpacaeval"))
    assert (found["win_rate"], found["discrete_win_rate"]) == (0.375, 0.375)
    assert found["standard_error"] == pytest.approx(np.std([0, 0.25, 0.5, 0.75], ddof=1) / 2)
    assert "length_controlled_win_rate" not in found


def test_prompts_of_one_s_own_are_length_controlled_without_difficulty():
    random = np.random.default_rng(0)
    rows = [
        judgment(f"{at:02}", preference=float(random.uniform(0.5, 1)), policy_chars=int(random.integers(1, 99)))
        for at in range(40)
    ]
    found = statistics(frame(rows), "alpacaeval", tasks(*(f"{at:02}" for at in range(40)), difficulty=[0.1] * 39 + [None]))
    assert found["length_controlled_win_rate"].samples[0].difficulty is None
    assert 0.5 < found["length_controlled_win_rate"].value() < 1


def test_a_length_controlled_rate_that_is_the_penalty_s_alone_is_left_out():
    """Few verdicts without a clear majority: the fit's penalty takes the model's own weight, and
    would say 50% with no interval."""
    rows = [judgment(f"{at:02}", preference=0.65 if at % 2 else 0.4, policy_chars=10 + at) for at in range(12)]
    found = statistics(frame(rows), "prompts")
    assert "win_rate" in found
    assert "length_controlled_win_rate" not in found


def test_score_of_another_benchmark_is_the_judge_s_mean():
    found = values(statistics(frame([score_of("a", 7.0), score_of("a", 5.0, vote=1), score_of("b", 2.0)]), "prompts"))
    assert found == {"judge_score": 4.0, "parse_failure_rate": 0.0}


def test_benchmark_of_one_s_own_brings_its_metrics(monkeypatch):
    """A module that is registered, and nothing else, is scored by what it declares."""
    from types import ModuleType

    from drift import plugins
    from drift.metrics import resampling
    from drift.report import metric_labels

    own = ModuleType("drift.benchmarks.own")
    own.METRICS = (benchmarks.Metric("longest", "Longest", headline=True),)
    own.metrics = lambda judgments, tasks, files: {
        "longest": resampling.mean(judgments["prompt_id"], judgments["policy_chars"])
    }
    monkeypatch.setitem(plugins.BENCHMARKS, "own", own.__name__)
    monkeypatch.setattr(plugins, "load", lambda registry, kind: own if kind == "own" else import_module(registry[kind]))
    metric_labels.known.cache_clear()
    try:
        assert values(statistics(frame([judgment("a", preference=1.0)]), "own"))["longest"] == 10.0
        assert metric_labels.metric_named("longest").label == "Longest"
        assert benchmarks.run_metrics("own") is None
    finally:
        metric_labels.known.cache_clear()


def test_metric_that_nobody_labelled_is_shown_by_its_name():
    from drift.report import metric_labels

    (first, last) = metric_labels.in_order(["novelty", "win_rate"])
    assert (first.name, last.label, last.text(0.12345)) == ("win_rate", "novelty", "0.1235")
