"""Intervals cover what they claim to, tests find what is there and nothing else, and all of it is
the same every time."""

import numpy as np
import pytest

from drift.metrics import resampling


def mean(values, keys=None) -> resampling.Sums:
    return resampling.mean([f"{number:04}" for number in range(len(values))] if keys is None else keys, values)


def interval(statistic: resampling.Statistic, resamples: int = 1000, seed: int = 0):
    return resampling.interval(resampling.bootstrap(statistic, resamples, seed))


def test_interval_covers_the_mean_about_95_times_in_100():
    random = np.random.default_rng(3)
    hits = 0
    for seed in range(300):
        low, high = interval(mean(random.normal(2.0, 1.0, 60)), 400, seed)
        hits += low <= 2.0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(0, 1, 2000)
    low, high = interval(mean(values), 2000, 1)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2000), rel=0.1)


def test_same_seed_same_interval_other_seed_another():
    statistic = mean(np.random.default_rng(0).random(50))
    assert interval(statistic, seed=5) == interval(statistic, seed=5)
    assert interval(statistic, seed=5) != interval(statistic, seed=6)


def test_every_resample_is_of_as_many_items():
    counts = resampling.resampled(30, 100, 2)
    assert (counts.sum(axis=1) == 30).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(30), abs=0.5)


def test_nothing_has_no_interval_and_one_value_is_its_own():
    assert interval(mean([])) is None
    assert interval(mean([0.25])) == (0.25, 0.25)


def test_items_without_a_value_are_left_out():
    statistic = mean([1.0, np.nan, 3.0])
    assert (statistic.value(), len(statistic.keys)) == (2.0, 2)


def test_item_s_samples_count_as_one_item():
    statistic = mean([0.0, 1.0, 1.0], ["a", "a", "b"])
    assert (statistic.keys.tolist(), statistic.value()) == (["a", "b"], 0.75)
    assert set(resampling.bootstrap(statistic, 200, 1)) == {0.5, 0.75, 1.0}


def test_ratio_is_of_sums_and_undefined_over_nothing():
    parts = np.array([[1.0, 1.0], [5.0, 2.0], [0.0, 0.0]])
    statistic = resampling.by_item(["a", "b", "c"], parts, resampling.ratio)
    assert statistic.value() == 2.0
    assert np.isnan(statistic.take(np.array([2])).value())


def test_shared_items_are_matched_by_key_not_by_place():
    a, b = mean([1.0, 2.0, 3.0], ["a", "b", "c"]), mean([1.0, 9.0, 0.5], ["c", "x", "a"])
    mine, other = resampling.shared(a, b)
    assert (mine.value(), other.value()) == (2.0, 0.75)
    assert resampling.shared(a, a) == (a, a)


def test_pairing_removes_the_spread_between_items():
    random = np.random.default_rng(2)
    difficulty = random.normal(0, 10, 100)
    a, b = mean(difficulty + 0.5 + random.normal(0, 0.1, 100)), mean(difficulty)
    low, high = resampling.interval(resampling.bootstrap(a, 1000, 0) - resampling.bootstrap(b, 1000, 0))
    assert 0.4 < low < 0.5 < high < 0.6


def test_p_is_uniform_where_there_is_no_difference():
    random = np.random.default_rng(4)
    p = [resampling.permutation_p(mean(random.normal(0, 1, 40)), mean(random.normal(0, 1, 40)), 400) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_p_of_all_alike_is_one_and_of_a_clear_difference_as_small_as_it_gets():
    a = mean(np.arange(50.0))
    assert resampling.permutation_p(a, a) == 1.0
    assert resampling.permutation_p(a, mean(np.arange(50.0) + 1)) == pytest.approx(1 / (1 + resampling.PERMUTATIONS))


def test_p_of_a_few_items_is_that_of_all_exchanges():
    """Four differences of one sign: 2 of the 16 exchanges are as extreme."""
    p = resampling.permutation_p(mean([1.0, 2.0, 3.0, 4.0]), mean([0.0, 0.0, 0.0, 0.0]))
    assert p == pytest.approx(2 / 16, abs=0.01)


def test_holm_by_hand():
    assert resampling.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert resampling.holm([0.5, 0.9]) == [1.0, 1.0]
    assert resampling.holm([]) == []
