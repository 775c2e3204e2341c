"""Uncertainty of statistics over items: bootstrap intervals over clusters of items, and these with
the seeds of the training.

A statistic is given by its items' keys and by how it follows from them. What is drawn at random for
clusters depends on their number and the seed alone, so that replicates of two policies on the same
items may be subtracted. Tests are in drift.metrics.significance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import hypot, inf, sqrt
from statistics import NormalDist
from typing import Protocol, Self

import numpy as np
from scipy.special import stdtrit

from drift.cli import StageError

# Both tails of a 95% interval together.
OUTSIDE = 0.05


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
    """A number over items that is no Statistic, as it takes all policies of a run together."""

    value: float
    # (resamples,): of the same resamples of the clusters as those of statistics; None: it has none.
    replicates: np.ndarray | None
    n: int  # items behind it


@dataclass(frozen=True)
class Bounded:
    """A number with its 95% interval (None: there is none), and the items behind it."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Clusters:
    """Which items belong together, as they share a user or a conversation: they are drawn and
    exchanged together."""

    keys: np.ndarray  # (n,), of all items, sorted and unique
    numbers: np.ndarray  # (n,), of each item's cluster, from 0

    @classmethod
    def of(cls, keys: Sequence[str], names: Sequence[str]) -> Self:
        """`names`: of each item's cluster."""
        keys, names = np.asarray(keys), np.asarray(names)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], np.unique(names[order], return_inverse=True)[1])

    @classmethod
    def alone(cls, keys: Sequence[str]) -> Self:
        """Every item is a cluster by itself."""
        return cls.of(keys, keys)

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.numbers.max()) + 1 if len(self.numbers) else 0

    def numbers_of(self, keys: np.ndarray) -> np.ndarray:
        """The clusters' numbers of the items `keys`, (m,). StageError for an item without one."""
        if np.array_equal(keys, self.keys):
            return self.numbers
        places = np.searchsorted(self.keys, keys)
        known = places < len(self.keys)
        known[known] = self.keys[places[known]] == keys[known]
        if not known.all():
            raise StageError(
                f"{keys[~known][0]} is none of the {len(self.keys)} items whose clusters are known: the tables are of "
                "different runs of the pools. Delete the answers, verdicts and log-probabilities, and run again."
            )
        return self.numbers[places]

    def spread(self, drawn: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """What was drawn for clusters, (r, count), for the items `keys`: (r, m)."""
        numbers = self.numbers_of(keys)
        # Of clusters of one item each nothing need be copied.
        return drawn if np.array_equal(numbers, np.arange(drawn.shape[1])) else drawn[:, numbers]

    def effective(self, keys: np.ndarray) -> float:
        """As many clusters of one size as tell as much as those of the items `keys` (Kish 1965):
        fewer than there are, where a few hold most items."""
        sizes = np.bincount(self.numbers_of(keys))
        return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(keys) else 0.0


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
    items, sums, rows_of_item = _added_up(np.asarray(keys)[judged], parts[judged])
    return Sums(items, sums / rows_of_item[:, None], follows)


def summed(keys: Sequence[str], parts: np.ndarray, follows: Callable[[np.ndarray], np.ndarray]) -> Sums:
    """The statistic of rows, several of which may have one key: an item adds what its rows add.
    `keys`: (rows,). `parts`: (rows, k)."""
    items, sums, _ = _added_up(np.asarray(keys), parts)
    return Sums(items, sums, follows)


def _added_up(keys: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items, (n,), what the rows of each add up to, (n, k), and how many they are, (n,)."""
    items, item_of_row, rows_of_item = np.unique(keys, return_inverse=True, return_counts=True)
    sums = np.zeros((len(items), parts.shape[1]))
    # Unbuffered: rows of one item add up, where sums[item_of_row] += would keep the last one alone.
    np.add.at(sums, item_of_row, parts)
    return items, sums, rows_of_item


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


def bootstrap(statistic: Statistic, resamples: int, seed: int, clusters: Clusters | None = None) -> np.ndarray:
    """The statistic's replicates, (resamples,), over `clusters` drawn with replacement; None: over
    items."""
    if not len(statistic.keys):
        return np.array([])
    clusters = clusters or Clusters.alone(statistic.keys)
    return statistic.replicates(clusters.spread(resampled(clusters.count, resamples, seed), statistic.keys))


def interval(replicates: np.ndarray, clusters: float = inf) -> tuple[float, float] | None:
    """The 95% expanded percentile interval of the replicates that are defined; None where none is,
    or where they are of one cluster, which says nothing of others.

    `clusters`: the effective number that was drawn from. Percentile intervals of few clusters are
    too short, as they are for a normal distribution of a variance that is known and too small by
    1 / clusters; wider percentiles make up for both (Hesterberg 2015, arXiv:1411.5279). Of many
    clusters these are the 2.5th and 97.5th.
    """
    replicates = replicates[~np.isnan(replicates)]
    if not len(replicates) or clusters <= 1:
        return None
    freedom = max(clusters - 1, 1.0)
    tail = NormalDist().cdf(-t_quantile(1 - OUTSIDE / 2, freedom) * sqrt(1 + 1 / freedom))
    return tuple(float(end) for end in np.percentile(replicates, (100 * tail, 100 * (1 - tail))))


def bounded(statistic: Statistic, resamples: int, seed: int, clusters: Clusters | None = None) -> Bounded:
    """A statistic with its interval over `clusters`, which may be of more items; None: over
    items."""
    keys = statistic.keys
    own = Clusters.of(keys, clusters.numbers_of(keys)) if clusters else Clusters.alone(keys)
    low, high = interval(bootstrap(statistic, resamples, seed, own), own.effective(keys)) or (None, None)
    return Bounded(statistic.value(), low, high, len(keys))


def bounded_mean(keys: Sequence[str], values: Sequence[float], clusters: Clusters, resamples: int, seed: int) -> Bounded:
    """The `mean` with its interval over `clusters`, which may be of more items than `keys`."""
    return bounded(mean(keys, values), resamples, seed, clusters)


def t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t."""
    return float(stdtrit(freedom, share))


def interval_over_seeds(
    values: Sequence[float], replicates: Sequence[np.ndarray], clusters: float
) -> tuple[float, float] | None:
    """The 95% interval of the mean over seeds: `values`, (seeds,), each with its replicates, on the
    same resamples of the clusters, which are common to all seeds. Of one seed that over its
    clusters.

    It reaches as far as the interval over clusters and the one over seeds, by Student's t,
    together, added as squares. Such an interval covers at least 95%, whichever of two variances is
    the larger (Banerjee 1961, Sankhya 23); one by Satterthwaite's degrees of freedom, or by drawing
    seeds, does not where there are two or three seeds and they differ by more than clusters
    explain. It may reach beyond what a share can be.
    """
    if clusters <= 1 or any(not len(of_seed) for of_seed in replicates):
        return None
    over_clusters = interval(np.stack(replicates).mean(axis=0), clusters)
    if len(values) == 1 or over_clusters is None:
        return over_clusters
    mean_, error = float(np.mean(values)), float(np.std(values, ddof=1)) / sqrt(len(values))
    reach = t_quantile(1 - OUTSIDE / 2, len(values) - 1) * error
    low, high = over_clusters
    # Replicates of a biased statistic may lie on one side of it.
    return mean_ - hypot(max(mean_ - low, 0.0), reach), mean_ + hypot(max(high - mean_, 0.0), reach)


def shared(a: Statistic, b: Statistic) -> tuple[Statistic, Statistic]:
    """Both statistics on the items that both have; the same objects where these are all."""
    if np.array_equal(a.keys, b.keys):
        return a, b
    _, positions_a, positions_b = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    return a.take(positions_a), b.take(positions_b)
