"""How far two raters of the same items agree. All arrays are of shape (n,); NaN where a statistic
is not defined."""

import numpy as np
import polars as pl


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation, -1 to 1."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    return float(np.corrcoef(x, y)[0, 1])


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, -1 to 1; ties share the mean of their ranks."""
    return pearson(*(pl.Series(values).rank("average").to_numpy() for values in (x, y)))


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b, -1 to 1: pairs in the same order less those in the opposite one, of the
    pairs that neither rater ties."""
    # Every pair of items once: the entries above the diagonal of the (n, n) matrix of differences.
    pairs = np.triu_indices(len(x), 1)
    order_x, order_y = (np.sign(np.subtract.outer(values, values)[pairs]) for values in (x, y))
    untied = np.sqrt(float((order_x != 0).sum()) * float((order_y != 0).sum()))
    return float((order_x * order_y).sum() / untied) if untied else np.nan


def kappa(x: np.ndarray, y: np.ndarray, *, quadratic: bool = False) -> float:
    """Cohen's kappa of whole numbers, at most 1: agreement beyond chance; `quadratic`: a miss
    weighs by its square (Cohen 1968)."""
    if not len(x):
        return np.nan
    miss = (lambda a, b: (a - b) ** 2) if quadratic else (lambda a, b: (a != b).astype(np.float64))
    # By chance any rating of one meets any rating of the other: all n * n combinations, of which
    # those of the same two values are alike.
    (values_x, of_x), (values_y, of_y) = (np.unique(values, return_counts=True) for values in (x, y))
    by_chance = (miss(values_x[:, None], values_y[None, :]) * np.outer(of_x, of_y)).sum() / len(x) ** 2
    return float(1 - np.mean(miss(x, y)) / by_chance) if by_chance else np.nan
