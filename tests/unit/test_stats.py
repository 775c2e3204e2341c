"""Intervals cover what they claim to, and are the same every time."""

import numpy as np
import pytest

from drift import stats


def test_interval_covers_the_mean_about_95_times_in_100():
    random = np.random.default_rng(3)
    hits = 0
    for seed in range(300):
        low, high = stats.bootstrap_interval(random.normal(2.0, 1.0, 60), resamples=400, seed=seed)
        hits += low <= 2.0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(1).normal(0, 1, 2000)
    low, high = stats.bootstrap_interval(values, resamples=2000, seed=1)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(2000), rel=0.1)


def test_same_seed_same_interval_other_seed_another():
    values = np.random.default_rng(0).random(50)
    assert stats.bootstrap_interval(values, seed=5) == stats.bootstrap_interval(values, seed=5)
    assert stats.bootstrap_interval(values, seed=5) != stats.bootstrap_interval(values, seed=6)


def test_other_statistic():
    values = np.array([0.0] * 99 + [1000.0])
    assert stats.bootstrap_interval(values, np.median) == (0.0, 0.0)
    assert stats.bootstrap_interval(values, np.mean)[1] > 1


def test_nothing_has_no_interval_and_one_value_is_its_own():
    assert stats.bootstrap_interval(np.array([])) is None
    assert stats.bootstrap_interval(np.array([0.25])) == (0.25, 0.25)


def test_resamples_in_several_batches_are_all_used(monkeypatch):
    monkeypatch.setattr(stats, "_CELLS", 70)
    seen = []
    stats.bootstrap_interval(np.arange(10.0), lambda values, axis: seen.append(len(values)) or values.mean(axis), resamples=17)
    assert seen == [7, 7, 3]


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        stats.bootstrap_interval(np.array([1.0, np.nan]))


def test_pairs_are_matched_by_key_not_by_place():
    differences = stats.paired_differences(
        np.array(["a", "b", "c"]), np.array([1.0, 2.0, 3.0]), np.array(["c", "x", "a"]), np.array([1.0, 9.0, 0.5])
    )
    assert differences.tolist() == [0.5, 2.0]


def test_pairing_removes_the_spread_between_items():
    random, keys = np.random.default_rng(2), np.arange(100)
    difficulty = random.normal(0, 10, 100)
    low, high = stats.paired_interval(keys, difficulty + 0.5 + random.normal(0, 0.1, 100), keys, difficulty)
    assert 0.4 < low < 0.5 < high < 0.6


def test_repeated_keys_are_refused():
    with pytest.raises(ValueError, match="one value per item"):
        stats.paired_differences(np.array(["a", "a"]), np.array([1.0, 2.0]), np.array(["a"]), np.array([1.0]))
