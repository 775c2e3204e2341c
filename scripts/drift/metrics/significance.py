"""Tests of differences between policies, and corrections for their number."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from drift.metrics.resampling import Clusters, Statistic

# The least number of exchanges: the smallest p-value is about its inverse.
PERMUTATIONS = 10_000
# Numbers of one block of exchanges: 32 MB, however many items and exchanges there are.
_BLOCK = 4_000_000
# Permuted differences this close to the observed one are equal but for rounding.
_SAME = 1e-9
# With fewer seeds no pattern of signs is rare enough for 0.05: 2 of 2^5 are 0.0625.
SEEDS = 6
# Above it patterns of signs are drawn, not listed.
_LISTED = 16

# One comparison: of every seed the statistics of both policies, of the same items.
Compared = Sequence[tuple[Statistic, Statistic]]


def permutation_p(compared: Sequence[Compared], clusters: Clusters, permutations: int, seed: int) -> list[float]:
    """The two-sided p-value of every comparison of means over seeds: could either side's results be
    the other's?

    Under the null hypothesis the two results of every cluster are exchangeable, of all its items
    and of all seeds at once (a paired randomisation test, given the policies that were trained;
    Phipson and Smyth 2010 for the added 1, which keeps p above 0). All comparisons see the same
    exchanges, block by block.
    """
    observed = [abs(float(_difference(pairs, clusters, np.zeros((1, clusters.count)))[0])) for pairs in compared]
    extreme = np.zeros(len(compared), dtype=np.int64)
    for swapped in exchanges(clusters, permutations, seed):
        for number, pairs in enumerate(compared):
            if observed[number] > 0:
                permuted = np.abs(_difference(pairs, clusters, swapped))
                # One that is not defined counts as extreme: that errs on the side of caution.
                extreme[number] += np.count_nonzero(~(permuted < observed[number] * (1 - _SAME)))
    # Equal items are equal however they are exchanged; without a defined difference nothing is
    # shown.
    return [(1 + int(count)) / (1 + permutations) if value > 0 else 1.0 for value, count in zip(observed, extreme, strict=True)]


def _difference(pairs: Compared, clusters: Clusters, swapped: np.ndarray) -> np.ndarray:
    """The difference of the means over seeds, (p,), after exchanges `swapped`, (p, clusters)."""
    return np.mean([one.permuted(other, clusters.spread(swapped, one.keys)) for one, other in pairs], axis=0)


def exchanges(clusters: Clusters, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """Which clusters are exchanged, 0 or 1, in each of `permutations`: in blocks, (p, clusters), of
    which no more than _BLOCK numbers become once they are spread over the items."""
    generator, rows = np.random.default_rng(seed), max(1, _BLOCK // max(len(clusters.keys), 1))
    for start in range(0, permutations, rows):
        size = min(rows, permutations - start), clusters.count
        yield generator.integers(2, size=size, dtype=np.int8).astype(np.float64)


def sign_flip_p(differences: Sequence[float], seed: int) -> float | None:
    """The two-sided p-value of the mean of the seeds' differences, over all patterns of their
    signs; None with fewer than SEEDS, of which no result could be below 0.05.

    Exact (Fisher 1935) up to 16 seeds; of more seeds patterns are drawn.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < SEEDS or np.isnan(values).any():
        return None
    if len(values) <= _LISTED:
        signs, added = np.array(list(product((1.0, -1.0), repeat=len(values)))), 0
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), size=(PERMUTATIONS, len(values)))
        added = 1
    extreme = int(np.count_nonzero(np.abs(signs @ values) >= abs(values.sum()) * (1 - _SAME)))
    return (extreme + added) / (len(signs) + added)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: those below alpha keep the chance of any false finding among
    all of them below alpha."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    # The smallest of m is multiplied by m, the next by m - 1, ...; none may be below one before it.
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return _in_given_order(adjusted, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's (1995) adjusted p-values: of those below alpha, at most a share of
    alpha is false on average."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    # The k-th smallest of m is multiplied by m / k; none may be above one after it.
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _in_given_order(np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0), order)


def _in_given_order(adjusted: np.ndarray, order: np.ndarray) -> list[float]:
    given = np.empty(len(order))
    given[order] = adjusted
    return given.tolist()
