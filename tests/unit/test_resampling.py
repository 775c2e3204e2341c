"""Intervals cover what they claim to, and are the same every time."""

import numpy as np
import pytest

from drift.cli import StageError
from drift.metrics import resampling


def mean(values, keys=None) -> resampling.Sums:
    return resampling.mean([f"{number:04}" for number in range(len(values))] if keys is None else keys, values)


def interval(statistic: resampling.Statistic, resamples: int = 1000, seed: int = 0):
    return resampling.interval(resampling.bootstrap(statistic, resamples, seed))


# As a held-out benchmark of 100 test groups: 194 rows of 100 users or conversations, a few of which
# have many.
SIZES = np.repeat([1, 2, 3, 5, 9], [50, 29, 13, 5, 3])


def covered(correlation: float, *, clustered: bool, repeats: int = 6000) -> float:
    """The share of samples whose interval holds the true mean, 0.5; of shares of a win that
    correlate within a cluster.

    All samples are one statistic: its replicates are a column a sample.
    """
    random = np.random.default_rng(11)
    of_row = np.repeat(np.arange(len(SIZES)), SIZES)
    common, own = random.normal(size=(len(SIZES), repeats)), random.normal(size=(len(of_row), repeats))
    won = 1 / (1 + np.exp(-3 * (np.sqrt(correlation) * common[of_row] + np.sqrt(1 - correlation) * own)))
    keys = np.array([f"{row:03}" for row in range(len(of_row))])
    statistic = resampling.Sums(keys, won, lambda sums: sums)
    clusters = (
        resampling.Clusters.of(keys, [f"{number:03}" for number in of_row]) if clustered else resampling.Clusters.alone(keys)
    )
    counts = clusters.spread(resampling.resampled(clusters.count, 1000, 5), keys)
    replicates = (statistic.replicates(counts) / counts.sum(axis=1, keepdims=True)).T
    ends = np.array([resampling.interval(one, clusters.effective(keys)) for one in replicates])
    return float(np.mean((ends[:, 0] <= 0.5) & (ends[:, 1] >= 0.5)))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_interval_covers_95_times_in_100_however_alike_the_rows_of_a_user_are(correlation):
    assert 0.94 <= covered(correlation, clustered=True) <= 0.96


def test_interval_over_rows_covers_too_seldom_where_those_of_a_user_are_alike():
    assert covered(0.6, clustered=False, repeats=1000) < 0.88


@pytest.mark.parametrize(
    ("seeds", "spread"), [(2, 0.03), (2, 0.1), (2, 0.3), (3, 0.0), (3, 0.03), (3, 0.1), (3, 0.3), (6, 0.03), (6, 0.3)]
)
def test_interval_over_seeds_covers_at_least_95_times_in_100(seeds, spread):
    """Of 60 clusters; `spread`: standard deviation between trainings, where a task's is 0.28 and an
    answer's 0.28 again."""
    random, hits, repeats = np.random.default_rng(2), 0, 2000
    counts = resampling.resampled(60, 400, 1) / 60
    for _ in range(repeats):
        values = spread * random.normal(size=(seeds, 1)) + 0.28 * (random.normal(size=60) + random.normal(size=(seeds, 60)))
        low, high = resampling.interval_over_seeds(values.mean(axis=1), list(values @ counts.T), 60)
        hits += low <= 0 <= high
    assert hits / repeats >= 0.94


def test_interval_of_one_seed_is_that_over_its_clusters():
    replicates = resampling.bootstrap(mean(np.random.default_rng(0).random(50)), 400, 1)
    assert resampling.interval_over_seeds([0.5], [replicates], 50) == resampling.interval(replicates, 50)


def test_t_is_that_of_the_tables():
    found = {freedom: resampling.t_quantile(0.975, freedom) for freedom in (1, 2, 5, 30, np.inf)}
    assert found == pytest.approx({1: 12.706, 2: 4.303, 5: 2.571, 30: 2.042, np.inf: 1.960}, abs=0.001)


def test_clusters_are_drawn_whole():
    clusters = resampling.Clusters.of(list("abcd"), ["x", "y", "x", "z"])
    counts = clusters.spread(resampling.resampled(clusters.count, 50, 1), np.array(list("abcd")))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all(), "as many clusters as there are"
    assert clusters.effective(np.array(list("abcd"))) == pytest.approx(16 / 6)


def test_item_without_a_cluster_is_refused():
    clusters = resampling.Clusters.alone(["a", "b"])
    with pytest.raises(StageError, match="c is none of the 2 items"):
        resampling.bootstrap(mean([1.0, 2.0], ["a", "c"]), 10, 1, clusters)


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


def test_nothing_has_no_interval_nor_has_one_cluster():
    assert interval(mean([])) is None
    assert resampling.interval(np.array([0.25, 0.25]), 1) is None


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
