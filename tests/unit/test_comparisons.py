"""Policies are compared over the items and seeds that both have, and the number of tests is
corrected for."""

from collections.abc import Iterable

import numpy as np
import pytest

from drift.cli import StageError
from drift.metrics import comparisons, resampling, significance

KEYS = [f"{number:03}" for number in range(60)]
CLUSTERS = resampling.Clusters.alone(KEYS)
HOW = comparisons.Resampling({"heldout": CLUSTERS}, 200, 1)
NOTHING = comparisons.Family({}, "drift")


def policy(method: str, iteration: int, model: str = "m", seed: int = 0) -> comparisons.Policy:
    return comparisons.Policy(model, method, iteration, seed)


def replicated(values: Iterable[float], keys: list[str] = KEYS) -> comparisons.Replicated:
    statistic = resampling.mean(keys, list(values))
    return comparisons.Replicated(statistic, resampling.bootstrap(statistic, 200, 1, CLUSTERS))


def scored(values: Iterable[float], keys: list[str] = KEYS, seed: int = 0) -> comparisons.Scored:
    return {seed: replicated(values, keys)}


def contrast(a: comparisons.Scored, b: comparisons.Scored) -> dict:
    return comparisons.contrast(comparisons.paired(a, b, HOW, "heldout"), CLUSTERS, 1)


def test_policies_are_compared_with_base_with_their_start_and_the_other_methods():
    policies = [policy("base", -1), policy("warmup", 0)]
    policies += [policy(method, k, seed=seed) for method in ("drift", "spin") for seed in (1, 2) for k in (1, 2)]
    compared = list(comparisons.pairs(policies, {"drift": "warmup", "spin": "base"}))
    named = {(against, a.method, a.iteration, b.method, b.iteration) for against, a, b in compared}
    assert named == {
        *(
            ("base", method, k, "base", -1)
            for method, k in (("warmup", 0), ("drift", 1), ("drift", 2), ("spin", 1), ("spin", 2))
        ),
        ("previous", "drift", 1, "warmup", 0),
        *(("previous", method, 2, method, 1) for method in ("drift", "spin")),
        *(("method", "drift", k, "spin", k) for k in (1, 2)),
    }
    assert len(compared) == len(named), "of the means over seeds, not seed by seed"


def test_comparison_is_over_the_items_that_both_have():
    found = contrast(scored([1.0, 0.0], KEYS[:2]), scored([0.25, 9.0], [KEYS[0], KEYS[2]]))
    assert (found["n"], found["difference"]) == (1, 0.75)
    nothing = contrast(scored([1.0], KEYS[:1]), scored([1.0], KEYS[1:2]))
    assert (nothing["n"], nothing["difference"]) == (0, None)


def test_seeds_meet_their_like_and_what_all_share_meets_each():
    two = {1: replicated(np.full(60, 1.0)), 2: replicated(np.full(60, 3.0))}
    other = {1: replicated(np.full(60, 0.5)), 2: replicated(np.full(60, 0.5))}
    assert (contrast(two, other)["difference"], contrast(two, other)["seeds"]) == (1.5, 2)
    assert (contrast(two, scored(np.zeros(60)))["difference"], contrast(scored(np.zeros(60)), two)["seeds"]) == (2.0, 2)
    with pytest.raises(StageError, match="of the same seeds"):
        contrast(two, {3: replicated(np.zeros(60))})


def test_six_seeds_have_a_test_over_seeds():
    random = np.random.default_rng(1)
    better = {seed: replicated(0.2 + random.normal(0, 0.01, 60)) for seed in range(1, 7)}
    assert contrast(better, scored(np.zeros(60)))["p_seeds"] == 2 / 2**6


def test_comparisons_are_corrected_for_their_number_and_never_mix_judges():
    policies = [policy("base", -1), policy("warmup", 0), policy("drift", 1, seed=1)]
    better = np.full(60, 0.5)
    measured = {
        (policies[0], "heldout", "one", "win_rate"): scored(np.zeros(60)),
        (policies[1], "heldout", "two", "win_rate"): scored(better),
        (policy("drift", 1), "heldout", "one", "win_rate"): scored(better, seed=1),
        (policy("drift", 1), "heldout", "two", "win_rate"): scored(better, seed=1),
        (policies[0], "heldout", "one", "verdict_mass"): scored(better),
        (policy("drift", 1), "heldout", "one", "verdict_mass"): scored(better, seed=1),
    }
    found = comparisons.contrasts(policies, measured, {"win_rate"}, NOTHING, {}, HOW)
    assert [(row["judge"], row["against"], row["difference"]) for row in found] == [
        ("one", "base", 0.5),
        ("two", "previous", 0.0),
    ]
    assert (found[0]["p_fdr"], found[1]["p_fdr"], found[0]["p_holm"]) == (2 * found[0]["p"], 1.0, None)


def paper_sized(gain: float) -> tuple[list[comparisons.Policy], dict]:
    """Two models, three methods of five iterations, six metrics; the last iterations of drift alone
    are better than those of the other methods, by `gain` of a standard deviation of an item."""
    random = np.random.default_rng(3)
    policies, measured = [], {}
    for model in ("a", "b"):
        policies += [policy("base", -1, model), policy("warmup", 0, model)]
        policies += [policy(method, k, model, 1) for method in ("drift", "spin", "iterdpo") for k in range(1, 6)]
    for one in policies:
        added = gain if (one.method, one.iteration) == ("drift", 5) else 0.0
        for metric in range(6):
            measured[one.over_seeds, "heldout", "judge", f"metric{metric}"] = scored(
                added + random.normal(0, 1, 60), seed=one.seed
            )
    return policies, measured


def test_primary_family_is_small_enough_to_reject_at_the_paper_s_scale(monkeypatch):
    """552 comparisons corrected as one family reject nothing: the smallest p times 552 is 0.055."""
    policies, measured = paper_sized(1.0)
    metrics = {f"metric{number}" for number in range(6)}
    family = comparisons.Family({"heldout": ["metric0"]}, "drift")
    monkeypatch.setattr(significance, "PERMUTATIONS", 2000)
    monkeypatch.setattr(comparisons, "_PER_EXPLORATORY", 4)
    rows = comparisons.contrasts(policies, measured, metrics, family, {}, HOW)
    assert len(rows) == 552
    assert max(significance.holm([row["p"] for row in rows])) == 1.0
    assert min(significance.holm([row["p"] for row in rows])) > 0.05, "as one family nothing could be found"
    primary = [row for row in rows if row["family"] == "primary"]
    assert {(row["model"], row["method"], row["iteration"], row["other_method"], row["metric"]) for row in primary} == {
        (model, "drift", 5, other, "metric0") for model in ("a", "b") for other in ("spin", "iterdpo")
    }
    assert max(row["p_holm"] for row in primary) < 0.05


def test_nothing_is_found_where_there_is_nothing(monkeypatch):
    monkeypatch.setattr(significance, "PERMUTATIONS", 1000)
    monkeypatch.setattr(comparisons, "_PER_EXPLORATORY", 2)
    policies, measured = paper_sized(0.0)
    family = comparisons.Family({"heldout": ["metric0"]}, "drift")
    rows = comparisons.contrasts(policies, measured, {f"metric{number}" for number in range(6)}, family, {}, HOW)
    assert [row for row in rows if min(row["p_holm"] or 1.0, row["p_fdr"] or 1.0) < 0.05] == []


def test_family_takes_the_first_metric_that_all_its_policies_have_and_may_be_against_base():
    policies = [policy("base", -1), policy("warmup", 0), policy("drift", 1, seed=1)]
    measured = {
        (one.over_seeds, "heldout", "judge", "win_rate"): scored(np.arange(60.0), seed=one.seed) for one in policies
    } | {(policy("drift", 1), "heldout", "judge", "length_controlled_win_rate"): scored(np.arange(60.0), seed=1)}
    family = comparisons.Family({"heldout": ["length_controlled_win_rate", "win_rate"]}, "base")
    rows = comparisons.contrasts(policies, measured, set(), family, {}, HOW)
    assert [(row["method"], row["other_method"], row["metric"], row["family"]) for row in rows] == [
        ("drift", "base", "win_rate", "primary")
    ]
