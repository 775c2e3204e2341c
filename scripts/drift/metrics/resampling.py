"""Uncertainty over items: bootstrap intervals, paired differences, permutation tests, and Holm's correction for many of them.

A figure is given by its items' keys and by how it follows from them. All figures over the same number of items are resampled
alike, so that replicates of two policies on the same items may be subtracted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

LEVEL = (2.5, 97.5)  # percentiles: a 95% interval
PERMUTATIONS = 10_000  # the smallest p-value is about their inverse, which Holm's correction multiplies by the number of tests
_SAME = 1e-9  # permuted differences this close to the observed one are equal but for rounding


class Figure(Protocol):
    """A number over items."""

    keys: np.ndarray  # (n,), sorted and unique

    def value(self) -> float:
        """The number; NaN where it is not defined."""

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        """The number, (resamples,), were each item there as often as `counts`, (resamples, n), say."""

    def take(self, at: np.ndarray) -> "Figure":
        """The same figure of the items at `at`."""

    def permuted(self, other: "Figure", swapped: np.ndarray) -> np.ndarray:
        """How far it differs from `other`, of the same items, (p,), were they exchanged where `swapped`, (p, n), is 1.

        In whatever measure suits the figure: it is compared with that of an exchange of nothing alone.
        """


@dataclass(frozen=True)
class Sums:
    """A figure that follows from sums over items: a mean, a mean of group means, a ratio."""

    keys: np.ndarray
    parts: np.ndarray  # (n, k): what each item adds to each sum
    follows: Callable[[np.ndarray], np.ndarray]  # sums (..., k) -> figure (...)

    def value(self) -> float:
        return float(self.follows(self.parts.sum(axis=0)))

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        return self.follows(counts @ self.parts)

    def take(self, at: np.ndarray) -> "Sums":
        return Sums(self.keys[at], self.parts[at], self.follows)

    def permuted(self, other: "Sums", swapped: np.ndarray) -> np.ndarray:
        mine = self.parts.sum(axis=0) + swapped @ (other.parts - self.parts)
        return self.follows(mine) - self.follows((self.parts + other.parts).sum(axis=0) - mine)


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first sum over the second; NaN over nothing."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] != 0)


def mean(keys: Sequence[str], values: Sequence[float]) -> Sums:
    """The mean of `values`, (n,), one per item of `keys`; items without one (NaN) are left out."""
    values = np.asarray(values, dtype=np.float64)
    return by_item(keys, np.column_stack([values, np.ones(len(values))]), ratio)


def by_item(keys: Sequence[str], parts: np.ndarray, follows: Callable[[np.ndarray], np.ndarray]) -> Sums:
    """The figure of rows, several of which (an item's samples) may have one key: an item adds the mean of its rows.

    Rows with a part that is NaN have no verdict, and are left out.
    """
    there = ~np.isnan(parts).any(axis=1)
    items, place, rows = np.unique(np.asarray(keys)[there], return_inverse=True, return_counts=True)
    sums = np.zeros((len(items), parts.shape[1]))
    np.add.at(sums, place, parts[there])
    return Sums(items, sums / rows[:, None], follows)


@lru_cache(maxsize=4)
def resampled(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of `n` items is in each of `resamples` samples of n items with replacement: (resamples, n)."""
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n).astype(np.float64)
    counts.flags.writeable = False
    return counts


@lru_cache(maxsize=1)
def exchanges(n: int, permutations: int, seed: int) -> np.ndarray:
    """Which of `n` items are exchanged, 0 or 1, in each of `permutations`: (permutations, n)."""
    swapped = np.random.default_rng(seed).integers(2, size=(permutations, n), dtype=np.int8).astype(np.float64)
    swapped.flags.writeable = False
    return swapped


def interval(replicates: np.ndarray) -> tuple[float, float] | None:
    """The 95% percentile interval (Efron and Tibshirani 1993, chapter 13) of the replicates that are defined; None: no one is."""
    replicates = replicates[~np.isnan(replicates)]
    return tuple(float(end) for end in np.percentile(replicates, LEVEL)) if len(replicates) else None


def bootstrap(figure: Figure, resamples: int, seed: int) -> np.ndarray:
    """The figure's replicates, (resamples,), over items drawn with replacement."""
    return figure.replicates(resampled(len(figure.keys), resamples, seed)) if len(figure.keys) else np.array([])


def shared(a: Figure, b: Figure) -> tuple[Figure, Figure]:
    """Both figures on the items that both have; the same objects where these are all."""
    if np.array_equal(a.keys, b.keys):
        return a, b
    _, at_a, at_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    return a.take(at_a), b.take(at_b)


def permutation_p(a: Figure, b: Figure, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """The two-sided p-value of a difference between `a` and `b`, figures of the same items: could either side's be the other's?

    Under the null hypothesis every item's two results are exchangeable (a paired randomisation test; Phipson and Smyth 2010 for
    the added 1, which keeps p above 0).
    """
    n = len(a.keys)
    observed = abs(a.permuted(b, np.zeros((1, n)))[0])
    # Equal items are equal however they are exchanged; without a defined difference nothing is shown.
    if not observed > 0:
        return 1.0
    # A permuted difference that is not defined counts as an extreme one: that errs on the side of caution.
    extreme = ~(np.abs(a.permuted(b, exchanges(n, permutations, seed))) < observed * (1 - _SAME))
    return (1 + int(extreme.sum())) / (1 + permutations)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: below alpha they keep the chance of any false finding among all of them below alpha."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    found = np.empty(len(p))
    found[order] = adjusted
    return found.tolist()
