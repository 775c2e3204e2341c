"""How much the gradients of single pairs have in common: signal against noise.

The norm of a mean of n gradients is no estimate of the norm of their expectation: with nothing in
common it is still about a single gradient's norm over the square root of n. Products of different
pairs' gradients have no such floor. With g_i the gradient of pair i and S the trace of their
covariance, over all ordered pairs i, j of different pairs,

    ||E g||^2 = mean of g_i . g_j = (n ||mean g||^2 - mean ||g_i||^2) / (n - 1)

without bias, so that it may come out below 0; and S = mean ||g_i||^2 - ||E g||^2.
"""

import numpy as np

from drift.metrics.resampling import Bounded, t_quantile

# Fewer pairs than this say little, however the estimate comes out.
ENOUGH = 32


def norm_squared(products: np.ndarray) -> Bounded:
    """||E g||^2 by `products`, (n,): the mean of g_i . g_j over the others, for each pair i.

    The interval is a jackknife's (Efron and Stein 1981: on the wide side where there is no signal);
    none for fewer than three pairs.
    """
    n, value = len(products), float(products.mean())
    # Each left-out pair takes its products with the others away, twice.
    left_out = (n * value - 2 * products) / (n - 2) if n > 2 else None
    return _estimate(value, left_out, n)


def signal_to_noise(squares: np.ndarray, products: np.ndarray) -> Bounded:
    """||E g||^2 / S by `squares`, (n,): ||g_i||^2, and `products` as above.

    Of a single pair: a step that averages B pairs has B times as much. It is the inverse of the
    simple noise scale of McCandlish et al. 2018 (arXiv 1812.06162). NaN where all gradients are the
    same.
    """
    n, mean = len(products), squares.mean()
    value = _ratio(products.mean(), mean)
    left_out = None
    if n > 2:
        left_out = _ratio((products.sum() - 2 * products) / (n - 2), (n * mean - squares) / (n - 1))
    return _estimate(float(value), left_out, n)


def _ratio(signal: np.ndarray, square: np.ndarray) -> np.ndarray:
    noise = np.asarray(square - signal)
    return np.divide(signal, noise, out=np.full(noise.shape, np.nan), where=noise > 0)


def _estimate(value: float, left_out: np.ndarray | None, n: int) -> Bounded:
    """`value` with the jackknife's 95% interval, by the values without each of the n pairs."""
    if left_out is None or not np.isfinite(left_out).all():
        return Bounded(value, None, None, n)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    reach = float(t_quantile(0.975, n - 1) * error)
    return Bounded(value, value - reach, value + reach, n)
