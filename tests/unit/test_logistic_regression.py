"""The fit is the optimum, and C is what predicts best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift import cli
from drift.metrics import length_control, logistic_regression
from drift.metrics.logistic_regression import Rows
from tests.builders.length_control import drawn, gamed_rows


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([*logistic_regression.C_GRID.tolist(), 0.3, 21.5]), st.booleans())
def test_fit_is_the_optimum(seed, c, with_gamed):
    """The objective is convex, so its optimality conditions prove the solution, whatever found
    it."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(5, 60))
    rows = length_control.training_rows(drawn(n, seed, won=lambda g, k: g.random(k)), gamed_rows() if with_gamed else None)
    beta = logistic_regression.fit(rows, c)
    slope = c * rows.features.T @ (rows.weights * (1 / (1 + np.exp(-rows.features @ beta)) - rows.won))
    slack = 1e-5 * max(1, c)
    assert np.all(np.abs(slope[beta != 0] + np.sign(beta[beta != 0])) < slack)
    assert np.all(np.abs(slope[beta == 0]) <= 1 + slack)


def test_fit_does_not_depend_on_where_it_starts():
    rows = length_control.training_rows(drawn(80, 3), gamed_rows())
    starts = (None, np.array([50.0, -50.0, 50.0]), np.array([0.0, 0.0, -3.0]))
    from_zero, *others = [logistic_regression.fit(rows, 21.5, start) for start in starts]
    assert all(beta == pytest.approx(from_zero, abs=1e-7) for beta in others)


def test_weak_data_give_zero():
    rows = length_control.training_rows(drawn(40, 1), None)
    assert logistic_regression.fit(rows, 1e-4).tolist() == [0, 0, 0]


def test_separable_data_stay_finite():
    rows = Rows(np.array([[-1.0, 0, 1], [1.0, 0, 1]]), np.array([0.0, 1.0]), np.ones(2))
    beta = logistic_regression.fit(rows, 1e4)
    assert np.isfinite(beta).all()
    assert (beta[0] > 5, beta[1]) == (True, 0)


def test_share_of_a_win_is_a_won_and_a_lost_row():
    rows = length_control.training_rows(drawn(30, 2, won=lambda g, n: g.random(n)), None)
    hard = Rows(
        np.vstack([rows.features, rows.features]),
        np.repeat([1.0, 0.0], len(rows.won)),
        np.concatenate([rows.won, 1 - rows.won]),
    )
    assert logistic_regression.fit(hard, 5.0) == pytest.approx(logistic_regression.fit(rows, 5.0), abs=1e-8)


def test_weight_counts_rows():
    rows = length_control.training_rows(drawn(20, 5), None)
    twice = Rows(np.vstack([rows.features] * 2), np.tile(rows.won, 2), np.ones(40))
    heavy = Rows(rows.features, rows.won, np.full(20, 2.0))
    assert logistic_regression.fit(heavy, 3.0) == pytest.approx(logistic_regression.fit(twice, 3.0), abs=1e-8)


def test_true_coefficients_are_found():
    rows = length_control.training_rows(drawn(200_000, 4, beta=(-1.0, 0.8, -0.5)), None)
    assert logistic_regression.fit(rows, 1e4) == pytest.approx([-1.0, 0.8, -0.5], abs=0.03)


def test_c_is_what_predicts_the_rows_left_out_best():
    """Of noise nothing can be learnt, so the smallest C is chosen; of plenty of clear data
    everything, so a large one is."""
    noise = length_control.training_rows(drawn(100, 8, won=lambda g, n: np.tile([0.0, 1.0], n // 2)), None)
    clear = length_control.training_rows(drawn(3000, 8, beta=(-3.0, 2.0, 1.0)), None)
    assert logistic_regression.choose_c(noise) < 0.01
    assert logistic_regression.choose_c(clear) > 0.3


def test_c_weighs_the_rows_left_out():
    """Rows of no weight neither teach nor test."""
    rows = length_control.training_rows(drawn(200, 12), None)
    odd = Rows(
        np.vstack([rows.features, rows.features]),
        np.concatenate([rows.won, 1 - rows.won]),
        np.concatenate([rows.weights, np.full(200, 1e-12)]),
    )
    assert logistic_regression.choose_c(odd) == logistic_regression.choose_c(rows)


def test_too_few_items_to_choose_c():
    with pytest.raises(cli.StageError, match="4 judged items: choosing C takes at least 5"):
        logistic_regression.choose_c(length_control.training_rows(drawn(4, 1), None))
