"""Signal and noise of gradients, on gradients whose expectation is known."""

import numpy as np
import pytest

from drift.metrics import gradient_signal


def statistics(gradients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """||g_i||^2 and the mean of g_i . g_j over the others, for each row of `gradients`."""
    products = gradients @ gradients.T
    squares = np.diag(products).copy()
    return squares, (products.sum(axis=1) - squares) / (len(gradients) - 1)


def drawn(n: int, signal: float, random: np.random.Generator, size: int = 60) -> np.ndarray:
    """n gradients of covariance 1 in each of `size` directions, of an expectation whose square is
    `signal`."""
    expectation = np.zeros(size)
    expectation[0] = signal**0.5
    return expectation + random.normal(size=(n, size))


def test_the_estimate_is_that_of_the_formula_and_may_be_below_zero():
    gradients = np.array([[1.0, 0.0], [-1.0, 0.5], [0.5, -2.0]])
    n, mean = 3, gradients.mean(axis=0)
    squares, products = statistics(gradients)
    estimate = gradient_signal.norm_squared(products)
    assert estimate.value == pytest.approx((n * mean @ mean - squares.mean()) / (n - 1))
    assert estimate.value < 0
    trace = np.cov(gradients.T, ddof=1).trace()
    assert gradient_signal.signal_to_noise(squares, products).value == pytest.approx(estimate.value / trace)


def test_the_interval_is_the_jackknifes():
    """Against the estimate made anew without each gradient."""
    gradients = drawn(9, 4.0, np.random.default_rng(1))
    squares, products = statistics(gradients)
    for estimate, again in (
        (gradient_signal.norm_squared(products), lambda s, p: gradient_signal.norm_squared(p)),
        (gradient_signal.signal_to_noise(squares, products), gradient_signal.signal_to_noise),
    ):
        without = np.array([again(*statistics(np.delete(gradients, i, axis=0))).value for i in range(9)])
        error = np.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum())
        assert (estimate.high - estimate.low) / 2 == pytest.approx(error * 2.306, rel=1e-3)
        assert (estimate.high + estimate.low) / 2 == pytest.approx(estimate.value)


@pytest.mark.parametrize("signal", [0.0, 8.0], ids=["no signal", "planted"])
def test_it_is_right_on_average_and_its_interval_holds_the_truth(signal):
    random, n = np.random.default_rng(3), 32
    runs = [statistics(drawn(n, signal, random)) for _ in range(600)]
    estimates = [gradient_signal.norm_squared(products) for _, products in runs]
    values = np.array([estimate.value for estimate in estimates])
    assert values.mean() == pytest.approx(signal, abs=3 * values.std() / 600**0.5)
    held = np.mean([estimate.low <= signal <= estimate.high for estimate in estimates])
    assert held > 0.92
    ratios = [gradient_signal.signal_to_noise(*run).value for run in runs]
    assert np.mean(ratios) == pytest.approx(signal / 60, abs=0.01)


def test_few_gradients_have_no_interval_and_equal_ones_no_noise():
    assert gradient_signal.norm_squared(np.array([0.5, 0.5])).low is None
    assert np.isnan(gradient_signal.signal_to_noise(np.ones(3), np.ones(3)).value)
