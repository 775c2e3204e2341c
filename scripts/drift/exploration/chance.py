"""Uncertainty of what is measured of all policies together: prompts are drawn with replacement, and
the labels of two policies exchanged within prompts."""

from collections.abc import Callable

import numpy as np

from drift.metrics.resampling import Clusters, interval, resampled

# Differences this close to the observed one are equal but for rounding.
_SAME = 1e-9


def drawn(clusters: Clusters, resamples: int, seed: int) -> np.ndarray:
    """How often each prompt is in each sample of the clusters: (resamples, prompts)."""
    return clusters.spread(resampled(clusters.count, resamples, seed), clusters.keys)


def exchanged(clusters: Clusters, permutations: int, seed: int) -> np.ndarray:
    """For which prompts the labels are exchanged: booleans, (permutations, prompts)."""
    coins = np.random.default_rng(seed).integers(2, size=(permutations, clusters.count)).astype(bool)
    return clusters.spread(coins, clusters.keys)


def around(value: float, replicates: np.ndarray, clusters: Clusters) -> tuple[float | None, float | None]:
    """The 95% interval of a share: the spread of its replicates, laid around its value.

    A sample that has some prompts twice has fewer different answers, and these cover less. So the
    replicates lie below the value, and only their spread says anything of it.
    """
    if np.isnan(value):
        return None, None
    found = interval(replicates - np.nanmean(replicates) + value, clusters.effective(clusters.keys))
    return tuple(float(np.clip(end, 0, 1)) for end in found) if found else (None, None)


def p_value(statistic: Callable[[np.ndarray], np.ndarray], coins: np.ndarray) -> float:
    """The two-sided p-value of a difference between two policies whose labels are exchanged where
    `coins`, (permutations, prompts), are true. `statistic`: the difference, (p,), after exchanges,
    (p, prompts)."""
    observed = abs(float(statistic(np.zeros((1, coins.shape[1]), dtype=bool))[0]))
    extreme = np.count_nonzero(~(np.abs(statistic(coins)) < observed - _SAME))
    return float((1 + extreme) / (1 + len(coins)))
