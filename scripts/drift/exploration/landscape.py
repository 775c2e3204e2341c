"""Maps of answers, and how much of their high-reward region a policy covers.

A map is made by UMAP (McInnes et al. 2018, arXiv 1802.03426) of all answers of all policies. On a
grid over it each policy has a density of answers, and all others have one and a surface of their
mean reward. The region that counts is where the others' surface is high, among the grid points that
hold 95% of the mass of their density. A policy covers a point of it where its own density is as
high as on the border of those. What is summed is mass of the others' density, not area: UMAP does
not keep areas.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from drift.exploration.answers import Answers

# Of UMAP, its own defaults but for the metric.
_MIN_DISTANCE = 0.1
# Points of a side of the grid, and how far it reaches beyond the outermost answers, in bandwidths.
GRID, _MARGIN = 100, 3.0
# The share of the others' mass that counts as where they write.
_MASS = 0.95
# Surfaces that differ by less are equal but for rounding.
_SAME = 1e-4


def nearest(points: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """The `neighbours` nearest of `points`, (n, width) of length 1, to each of them, itself first,
    and their cosine distances: both (n, neighbours). Exact, and of equal ones the first."""
    places, distances = [], []
    for block in np.array_split(np.arange(len(points)), -(-(len(points) ** 2) // 16_000_000)):
        likeness = points[block] @ points.T
        likeness[np.arange(len(block)), block] = 2.0
        few = np.sort(np.argpartition(-likeness, neighbours - 1, axis=1)[:, :neighbours], axis=1)
        found = np.take_along_axis(likeness, few, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        places.append(np.take_along_axis(few, order, axis=1))
        distances.append(np.clip(1 - np.take_along_axis(found, order, axis=1), 0, 2))
    return np.concatenate(places), np.concatenate(distances)


def umap_of(points: np.ndarray, near: tuple[np.ndarray, np.ndarray], seed: int) -> np.ndarray:
    """The map, (n, 2), of `points` with their `nearest` ones. By one thread and with a seed: the
    same points give the same map."""
    import umap

    with warnings.catch_warnings():
        # That a seed means one thread, and that maps of given neighbours cannot take new points.
        warnings.simplefilter("ignore")
        return umap.UMAP(
            n_neighbors=near[0].shape[1],
            min_dist=_MIN_DISTANCE,
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(near[0].astype(np.int32), near[1].astype(np.float32), None),
        ).fit_transform(points)


def whitened(places: np.ndarray) -> np.ndarray:
    """A map, (n, 2), along its principal axes and of unit variance along both. The kernel of a
    density over it is round then, and a product of one along each axis."""
    left = places - places.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(left.T))
    turned = left @ axes[:, ::-1] / np.sqrt(np.maximum(variances[::-1], 1e-12))
    # Which way an axis points is arbitrary: most answers are below 0, or the axis is turned around.
    return turned * np.where((turned > 0).mean(axis=0) > 0.5, -1.0, 1.0)


@dataclass(frozen=True)
class Region:
    """Where the others write and what is good there, on the grid: all (grid points, r)."""

    mass: np.ndarray  # the others' density
    high: np.ndarray  # whether a grid point is of the region
    border: np.ndarray  # the density at the border of where the others write, (1, r)


class Landscape:
    """Densities on a map: `places`, (P, N, n, 2), as of `whitened`; `bandwidth`: in multiples of
    Scott's (1992) for as many answers."""

    def __init__(self, answers: Answers, places: np.ndarray, bandwidth: float):
        self.answers = answers
        policies, prompts, samples, _ = places.shape
        width = bandwidth * (policies * prompts * samples) ** (-1 / 6)
        flat = places.reshape(-1, 2)
        low, high = flat.min(axis=0) - _MARGIN * width, flat.max(axis=0) + _MARGIN * width
        # (GRID,) for each axis.
        self.axes = [np.linspace(low[axis], high[axis], GRID) for axis in (0, 1)]
        self._smooth = [np.exp(-0.5 * ((axis[:, None] - axis[None, :]) / width) ** 2).astype(np.float32) for axis in self.axes]
        # Of each policy the answers' weights on the grid, and these times their reward, by prompt.
        spread = self._binned(flat).reshape(policies, prompts, samples, 4, 2)
        self._mass, self._reward = [], []
        rewards = answers.standardised
        for policy in range(policies):
            cells, weights = spread[policy, ..., 0].ravel().astype(np.int64), spread[policy, ..., 1]
            columns = np.broadcast_to(np.arange(prompts)[:, None, None], (prompts, samples, 4)).ravel()
            for kept, values in ((self._mass, weights), (self._reward, weights * rewards[policy][..., None])):
                shape = (GRID * GRID, prompts)
                kept.append(sparse.csr_array((values.ravel().astype(np.float32), (cells, columns)), shape=shape))

    def _binned(self, flat: np.ndarray) -> np.ndarray:
        """The four grid points around each place, (n, 4, 2): their number, and the share of the
        place that each of them gets, the more the nearer it is."""
        steps = [axis[1] - axis[0] for axis in self.axes]
        exact = np.stack([(flat[:, axis] - self.axes[axis][0]) / steps[axis] for axis in (0, 1)], axis=1)
        first = np.clip(np.floor(exact).astype(int), 0, GRID - 2)
        rest = exact - first
        corners = []
        for across in (0, 1):
            for up in (0, 1):
                share = np.where(across, rest[:, 0], 1 - rest[:, 0]) * np.where(up, rest[:, 1], 1 - rest[:, 1])
                corners.append(np.stack([(first[:, 0] + across) * GRID + first[:, 1] + up, share], axis=1))
        return np.stack(corners, axis=1)

    def _smoothed(self, sums: np.ndarray) -> np.ndarray:
        """Sums on the grid, (GRID * GRID, r), under the kernel."""
        grid = sums.reshape(GRID, -1)
        across = (self._smooth[0] @ grid).reshape(GRID, GRID, -1)
        return np.matmul(self._smooth[1], across).reshape(GRID * GRID, -1)

    def density(self, policy: int, counts: np.ndarray) -> np.ndarray:
        """The density of a policy's answers, (grid points, r), not normalised, if each prompt
        occurred as often as `counts`, (r, N), says."""
        return self._smoothed(self._mass[policy] @ counts.T.astype(np.float32))

    def surface(self, policy: int, counts: np.ndarray) -> np.ndarray:
        """The same with each answer's reward as its weight."""
        return self._smoothed(self._reward[policy] @ counts.T.astype(np.float32))

    def all_coverage(self, counts: np.ndarray, quantile: float) -> np.ndarray:
        """What each policy covers of the others' high-reward region, (P, r)."""
        policies = range(len(self.answers.policies))
        densities = [self.density(policy, counts) for policy in policies]
        surfaces = [self.surface(policy, counts) for policy in policies]
        every, rewards = np.sum(densities, axis=0), np.sum(surfaces, axis=0)
        return np.stack(
            [
                self.covered(densities[policy], region(every - densities[policy], rewards - surfaces[policy], quantile))
                for policy in policies
            ]
        )

    def covered(self, density: np.ndarray, where: Region) -> np.ndarray:
        """The share of the region's mass where a policy's density is as high as at the border of
        where the others write, (r,)."""
        mass = where.mass * where.high
        return (mass * self._dense(density, where)).sum(axis=0) / mass.sum(axis=0)

    def drawn(self, quantile: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each policy its density, the others' high-reward region, and where it is as dense as
        at the border of where the others write: all (P, grid points)."""
        once = np.ones((1, len(self.answers.prompts)))
        densities = [self.density(policy, once) for policy in range(len(self.answers.policies))]
        rewards = [self.surface(policy, once) for policy in range(len(self.answers.policies))]
        every, surface = np.sum(densities, axis=0), np.sum(rewards, axis=0)
        regions, own = [], []
        for density, reward in zip(densities, rewards, strict=True):
            where = region(every - density, surface - reward, quantile)
            regions.append(where.high)
            own.append(self._dense(density, where))
        return tuple(np.stack(parts)[..., 0] for parts in (densities, regions, own))

    def _dense(self, density: np.ndarray, where: Region) -> np.ndarray:
        # The border is of all others together, which are so many times as many answers.
        return density * (len(self.answers.policies) - 1) >= where.border

    def difference(self, one: int, other: int, coins: np.ndarray, quantile: float) -> np.ndarray:
        """By how much one policy covers more than another, (p,), if they exchanged the labels of
        their answers to the prompts where `coins`, (p, N), are true."""
        once, kept, given = np.ones((1, coins.shape[1])), 1 - coins, coins
        whole = [
            sum(part(policy, once) for policy in range(len(self.answers.policies))) for part in (self.density, self.surface)
        ]
        mine = [part(one, kept) + part(other, given) for part in (self.density, self.surface)]
        both = [part(one, once) + part(other, once) for part in (self.density, self.surface)]
        theirs = [pair - own for pair, own in zip(both, mine, strict=True)]
        first, second = (self.covered(own[0], region(whole[0] - own[0], whole[1] - own[1], quantile)) for own in (mine, theirs))
        return first - second


def region(mass: np.ndarray, rewards: np.ndarray, quantile: float) -> Region:
    """The high-reward region of answers with a density, (grid points, r), and the same weighted by
    reward: `quantile` of the mass where they write is below it, as nearly as equal rewards let
    it."""
    # Rows are sorted faster than columns.
    mass, rewards = np.ascontiguousarray(mass.T), rewards.T
    ranked = np.sort(mass, axis=1)[:, ::-1]
    before = np.cumsum(ranked, axis=1) - ranked
    border = np.where(before < _MASS * ranked.sum(axis=1, keepdims=True), ranked, np.inf).min(axis=1, keepdims=True)
    inside = mass >= border
    mean = np.where(inside, np.round(rewards / np.where(inside, mass, 1.0) / _SAME) * _SAME, -np.inf)
    held = mass * inside
    # Grid points outside are first in the order, and hold nothing.
    order = np.argsort(mean, axis=1)
    below = np.cumsum(np.take_along_axis(held, order, axis=1), axis=1) <= quantile * held.sum(axis=1, keepdims=True)
    place = below.sum(axis=1, keepdims=True).clip(max=mean.shape[1] - 1)
    bar = np.take_along_axis(mean, np.take_along_axis(order, place, axis=1), axis=1)
    # Where many points have the very reward of the bar, all of them are above it or none.
    wide, narrow = inside & (mean >= bar), inside & (mean > bar)
    wanted = (1 - quantile) * held.sum(axis=1)
    off = [np.abs((held * points).sum(axis=1) - wanted) for points in (wide, narrow)]
    closer = (off[1] < off[0]) & narrow.any(axis=1)
    return Region(mass.T, np.where(closer[:, None], narrow, wide).T, border.T)
