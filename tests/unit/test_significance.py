"""Tests find what is there and nothing else, and corrections are those of their authors."""

import numpy as np
import pytest

from drift.metrics import resampling, significance


def mean(values, keys=None) -> resampling.Sums:
    return resampling.mean([f"{number:04}" for number in range(len(values))] if keys is None else keys, values)


def p_of(a: resampling.Statistic, b: resampling.Statistic, permutations: int = significance.PERMUTATIONS) -> float:
    """The p-value of one comparison of one seed, item by item."""
    (p,) = significance.permutation_p([[(a, b)]], resampling.Clusters.alone(a.keys), permutations, 0)
    return p


def test_p_is_uniform_where_there_is_no_difference():
    random = np.random.default_rng(4)
    p = [p_of(mean(random.normal(0, 1, 40)), mean(random.normal(0, 1, 40)), 400) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_p_of_all_alike_is_one_and_of_a_clear_difference_as_small_as_it_gets():
    a = mean(np.arange(50.0))
    assert p_of(a, a) == 1.0
    assert p_of(a, mean(np.arange(50.0) + 1)) == pytest.approx(1 / (1 + significance.PERMUTATIONS))


def test_p_of_a_few_items_is_that_of_all_exchanges():
    """Four differences of one sign: 2 of the 16 exchanges are as extreme."""
    p = p_of(mean([1.0, 2.0, 3.0, 4.0]), mean([0.0, 0.0, 0.0, 0.0]))
    assert p == pytest.approx(2 / 16, abs=0.01)


def test_holm_by_hand():
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.5, 0.9]) == [1.0, 1.0]
    assert significance.holm([]) == []


def test_clusters_are_exchanged_whole():
    """Four users of three alike rows: 2 of 16 exchanges are as extreme, not 2 of 4,096."""
    keys = [f"{number:02}" for number in range(12)]
    clusters = resampling.Clusters.of(keys, [str(int(key) // 3) for key in keys])
    (p,) = significance.permutation_p([[(mean(np.ones(12), keys), mean(np.zeros(12), keys))]], clusters, 10_000, 0)
    assert p == pytest.approx(2 / 16, abs=0.01)


def test_seeds_are_exchanged_together():
    """The same ten rows under three seeds are no thirty rows."""
    one, other = mean(np.ones(4)), mean(np.zeros(4))
    clusters = resampling.Clusters.alone(one.keys)
    (p,) = significance.permutation_p([[(one, other)] * 3], clusters, 10_000, 0)
    assert p == pytest.approx(2 / 16, abs=0.01)


def test_exchanges_come_in_blocks_of_bounded_size_and_are_as_many_as_asked():
    keys = np.arange(1_000_000)
    for names in (keys, keys // 500_000):  # whether items or clusters are many
        blocks = list(significance.exchanges(resampling.Clusters(keys, names), 10, 1))
        assert [len(block) for block in blocks] == [4, 4, 2]
        assert blocks[0].shape[1] == names.max() + 1


def test_p_does_not_depend_on_what_else_is_tested():
    random = np.random.default_rng(5)
    first, second, third = (mean(random.random(30)) for _ in range(3))
    clusters = resampling.Clusters.alone(first.keys)
    together = significance.permutation_p([[(first, second)], [(first, third)]], clusters, 500, 0)
    assert together == [significance.permutation_p([[pair]], clusters, 500, 0)[0] for pair in ((first, second), (first, third))]


def test_sign_flips_of_six_seeds_are_exact_and_of_five_tell_nothing():
    assert significance.sign_flip_p([0.1] * 6, 0) == 2 / 2**6
    assert significance.sign_flip_p([0.1] * 5 + [-0.1], 0) == 2 * (1 + 6) / 2**6
    assert significance.sign_flip_p([0.1] * 5, 0) is None


def test_benjamini_hochberg_by_hand():
    assert significance.benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert significance.benjamini_hochberg([0.9, 0.5]) == [0.9, 0.9]
    assert significance.benjamini_hochberg([]) == []
