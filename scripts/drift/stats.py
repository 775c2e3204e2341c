"""Bootstrap intervals over items, so that a score never stands without its uncertainty."""

from collections.abc import Callable

import numpy as np

LEVEL = (2.5, 97.5)  # percentiles: a 95% interval
_CELLS = 4_000_000  # numbers resampled at once: 32 MB


def bootstrap_interval(
    values: np.ndarray, statistic: Callable = np.mean, resamples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95% percentile bootstrap interval of `statistic` over items (Efron and Tibshirani 1993, chapter 13).

    `statistic` takes a matrix and `axis=1`, as numpy's do. The interval is in the unit of `values`; None where there are none.
    The same values in the same order with the same seed always give the same interval.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return None
    if not np.isfinite(values).all():
        raise ValueError("a bootstrap needs finite values: leave out the items without one, and count them")
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // values.size)
    estimates = [
        statistic(values[generator.integers(values.size, size=(min(rows, resamples - start), values.size))], axis=1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.percentile(np.concatenate(estimates), LEVEL)
    return float(low), float(high)


def paired_differences(keys_a: np.ndarray, values_a: np.ndarray, keys_b: np.ndarray, values_b: np.ndarray) -> np.ndarray:
    """a - b for every item that both have, in the order of the keys; keys must be unique on each side."""
    for keys in (keys_a, keys_b):
        if len(np.unique(keys)) != len(keys):
            raise ValueError("paired values need one value per item: aggregate the repeated items first")
    _, at_a, at_b = np.intersect1d(keys_a, keys_b, return_indices=True)
    return np.asarray(values_a, dtype=np.float64)[at_a] - np.asarray(values_b, dtype=np.float64)[at_b]


def paired_interval(
    keys_a: np.ndarray, values_a: np.ndarray, keys_b: np.ndarray, values_b: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of mean(a - b) over shared items: tighter than two separate ones, as an item's difficulty cancels."""
    return bootstrap_interval(paired_differences(keys_a, values_a, keys_b, values_b), np.mean, resamples, seed)
