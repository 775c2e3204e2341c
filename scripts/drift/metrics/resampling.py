"""Uncertainty over items: bootstrap intervals, paired differences, permutation tests, and Holm's
correction for many of them.

A statistic is given by its items' keys and by how it follows from them. All statistics over the
same number of items are resampled alike, so that replicates of two policies on the same items may
be subtracted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

# Percentiles: a 95% interval.
LEVEL = (2.5, 97.5)
# The smallest p-value is about their inverse, which Holm's correction multiplies by the number of
# tests.
PERMUTATIONS = 10_000
# Permuted differences this close to the observed one are equal but for rounding.
_SAME = 1e-9


class Statistic(Protocol):
    """A number over items."""

    keys: np.ndarray  # (n,), sorted and unique

    def value(self) -> float:
        """The number; NaN where it is not defined."""

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        """The number, (resamples,), if each item occurred as often as `counts`, (resamples, n),
        says."""

    def take(self, positions: np.ndarray) -> "Statistic":
        """The same statistic of the items at `positions`."""

    def permuted(self, other: "Statistic", swapped: np.ndarray) -> np.ndarray:
        """How far it differs from `other`, of the same items, (p,), if they were exchanged where
        `swapped`, (p, n), is 1.

        In whatever measure suits the statistic: it is compared with that of an exchange of nothing,
        and with no other number.
        """


@dataclass(frozen=True)
class Sums:
    """A statistic that follows from sums over items: a mean, a mean of group means, a ratio."""

    keys: np.ndarray
    parts: np.ndarray  # (n, k): what each item adds to each sum
    follows: Callable[[np.ndarray], np.ndarray]  # sums (..., k) -> statistic (...)

    def value(self) -> float:
        return float(self.follows(self.parts.sum(axis=0)))

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        # (resamples, n) @ (n, k): all resamples' sums in one product.
        return self.follows(counts @ self.parts)

    def take(self, positions: np.ndarray) -> "Sums":
        return Sums(self.keys[positions], self.parts[positions], self.follows)

    def permuted(self, other: "Sums", swapped: np.ndarray) -> np.ndarray:
        # (p, k): where an item is swapped, its part is the other side's instead of its own.
        own = self.parts.sum(axis=0) + swapped @ (other.parts - self.parts)
        # What one side does not have, the other has: no second product is needed.
        others = (self.parts + other.parts).sum(axis=0) - own
        return self.follows(own) - self.follows(others)


@dataclass(frozen=True)
class Estimate:
    """A statistic's value with its 95% interval (None: there is none), and the items behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first sum over the second; NaN over nothing."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] != 0)


def mean(keys: Sequence[str], values: Sequence[float]) -> Sums:
    """The mean of `values`, (n,), one per item of `keys`; items without one (NaN) are left out."""
    values = np.asarray(values, dtype=np.float64)
    return by_item(keys, np.column_stack([values, np.ones(len(values))]), ratio)


def by_item(keys: Sequence[str], parts: np.ndarray, follows: Callable[[np.ndarray], np.ndarray]) -> Sums:
    """The statistic of rows, several of which (an item's samples) may have one key: an item adds
    the mean of its rows.

    `keys`: (rows,). `parts`: (rows, k). Rows with a part that is NaN have no verdict, and are left
    out.
    """
    judged = ~np.isnan(parts).any(axis=1)
    items, item_of_row, rows_of_item = np.unique(np.asarray(keys)[judged], return_inverse=True, return_counts=True)
    sums = np.zeros((len(items), parts.shape[1]))
    # Unbuffered: rows of one item add up, where sums[item_of_row] += would keep the last one alone.
    np.add.at(sums, item_of_row, parts[judged])
    return Sums(items, sums / rows_of_item[:, None], follows)


@lru_cache(maxsize=4)
def resampled(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of `n` items is in each of `resamples` samples of n items with replacement:
    (resamples, n)."""
    # Draws of row r are shifted to r*n .. r*n + n - 1, so that one bincount counts all rows apart.
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n).astype(np.float64)
    # The cache hands the same array to everybody.
    counts.flags.writeable = False
    return counts


@lru_cache(maxsize=1)
def exchanges(n: int, permutations: int, seed: int) -> np.ndarray:
    """Which of `n` items are exchanged, 0 or 1, in each of `permutations`: (permutations, n)."""
    swapped = np.random.default_rng(seed).integers(2, size=(permutations, n), dtype=np.int8).astype(np.float64)
    swapped.flags.writeable = False
    return swapped


def interval(replicates: np.ndarray) -> tuple[float, float] | None:
    """The 95% percentile interval (Efron and Tibshirani 1993, chapter 13) of the replicates that
    are defined; None where none is."""
    replicates = replicates[~np.isnan(replicates)]
    return tuple(float(end) for end in np.percentile(replicates, LEVEL)) if len(replicates) else None


def bootstrap(statistic: Statistic, resamples: int, seed: int) -> np.ndarray:
    """The statistic's replicates, (resamples,), over items drawn with replacement."""
    if not len(statistic.keys):
        return np.array([])
    return statistic.replicates(resampled(len(statistic.keys), resamples, seed))


def shared(a: Statistic, b: Statistic) -> tuple[Statistic, Statistic]:
    """Both statistics on the items that both have; the same objects where these are all."""
    if np.array_equal(a.keys, b.keys):
        return a, b
    _, positions_a, positions_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    return a.take(positions_a), b.take(positions_b)


def permutation_p(a: Statistic, b: Statistic, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """The two-sided p-value of a difference between `a` and `b`, statistics of the same items:
    could either side's results be the other's?

    Under the null hypothesis every item's two results are exchangeable (a paired randomisation
    test; Phipson and Smyth 2010 for the added 1, which keeps p above 0).
    """
    n = len(a.keys)
    observed = abs(a.permuted(b, np.zeros((1, n)))[0])
    # Equal items are equal however they are exchanged; without a defined difference nothing is
    # shown.
    if not observed > 0:
        return 1.0
    # A permuted difference that is not defined counts as extreme: that errs on the side of caution.
    extreme = ~(np.abs(a.permuted(b, exchanges(n, permutations, seed))) < observed * (1 - _SAME))
    return (1 + int(extreme.sum())) / (1 + permutations)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: those below alpha keep the chance of any false finding among
    all of them below alpha."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    # The smallest of m is multiplied by m, the next by m - 1, ...; none may be below one before it.
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    in_given_order = np.empty(len(p))
    in_given_order[order] = adjusted
    return in_given_order.tolist()
