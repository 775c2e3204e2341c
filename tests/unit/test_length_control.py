"""Length control takes the gain from length away, and its intervals cover the truth."""

import math

import numpy as np
import pytest

from drift import cli
from drift.metrics import length_control, logistic_regression, resampling, significance
from drift.metrics.logistic_regression import Rows
from tests.builders.length_control import drawn, gamed_rows, items

NAN = math.nan


# ---------------------------------------------------------------------------------- features, files


def test_length_feature_is_standardised_but_not_centred():
    rows = length_control.training_rows(items([0.0, 1.0, 0.5], [10.0, 20.0, 30.0], [0.1, 0.2, 0.3]), None)
    assert rows.features == pytest.approx(np.column_stack([np.tanh([1, 2, 3]), [0.1, 0.2, 0.3], [1, 1, 1]]))
    assert rows.weights.tolist() == [1, 1, 1]


def test_item_without_a_verdict_is_in_the_spread_and_the_prediction_but_not_in_the_fit():
    with_hole = items([0.0, NAN, 1.0], [10.0, 20.0, 30.0], [0.0, 5.0, 0.0])
    rows = length_control.training_rows(with_hole, None)
    assert rows.features[:, 0] == pytest.approx(np.tanh([1, 3]))
    assert rows.won.tolist() == [0.0, 1.0]
    assert length_control.with_weights(np.array([9.0, 100.0, 0.0]), with_hole).win_rate == pytest.approx((0.5 + 1 + 0.5) / 3)


def test_answers_that_differ_alike_in_length_say_nothing_of_it():
    assert length_control.training_rows(items([0.0, 1.0], [7.0, 7.0], [0, 0]), None).features[:, 0].tolist() == [0, 0]


def test_unknown_length_is_refused():
    with pytest.raises(cli.StageError, match="length of an answer"):
        length_control.training_rows(items([0.0, 1.0], [NAN, 7.0]), None)


def test_gamed_rows_come_first_and_weigh_a_tenth():
    rows = length_control.training_rows(items([0.0, 1.0], [1.0, 2.0], [0.5, 0.5]), gamed_rows(3))
    assert rows.weights.tolist() == [0.1, 0.1, 0.1, 1, 1]
    assert rows.features[:, 2].tolist() == [0, 0, 0, 1, 1]


def test_files_are_read_as_published(tmp_path):
    (tmp_path / "difficulty.csv").write_text(",instruction_difficulty\n0,0.5\n1,-1.5\n")
    assert length_control.read_difficulty(tmp_path / "difficulty.csv").tolist() == [0.5, -1.5]
    header = "preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline,model\n"
    (tmp_path / "gamed.csv").write_text(header + "0.25,0,2.0,0.5,False,verbose\n")
    rows = length_control.read_gamed(tmp_path / "gamed.csv")
    assert (rows.won.tolist(), rows.weights.tolist()) == ([0.25], [0.1])
    assert rows.features == pytest.approx(np.array([[math.tanh(2), 0.5, 0]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing: put the file there"),
        ("index\n0\n", "no column 'instruction_difficulty'"),
        ("instruction_difficulty\nhard\n", "cannot be read"),
        ("instruction_difficulty\n1\ninf\n", "not finite"),
        ("index,instruction_difficulty\n0,1\n1,\n", "column 'instruction_difficulty' are empty"),
    ],
)
def test_difficulty_file_that_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "difficulty.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(cli.StageError, match=message) as error:
        length_control.read_difficulty(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("row", "message"), [("1.5,0,0", "preference is outside 0 to 1"), ("0.5,inf,0", "not finite")])
def test_gamed_file_with_wrong_figures_is_refused(tmp_path, row, message):
    path = tmp_path / "gamed.csv"
    path.write_text(f"preference,std_delta_len,instruction_difficulty\n{row}\n")
    with pytest.raises(cli.StageError, match=message):
        length_control.read_gamed(path)


def test_win_rate_at_equal_length_from_given_weights():
    given = items([NAN] * 2, [5.0, 900.0], [-0.25, math.log(3) / 2 - 0.25])
    found = length_control.with_weights(np.array([123.0, 2.0, 0.5]), given)
    assert found.win_rate == pytest.approx((0.5 + 0.75) / 2)
    assert found.c is None


def test_length_control_takes_the_gain_from_length_away():
    """A model as good as the baseline whose longer answers win and whose shorter ones lose."""
    wordy = drawn(4000, 6, beta=(-2.0, 0.0, 0.0))
    wordy = wordy.take(np.flatnonzero((wordy.shorter_by < 0) | (np.arange(4000) % 8 == 0)))
    assert np.mean(wordy.won) > 0.6
    assert length_control.length_controlled(wordy, None, 100.0).win_rate == pytest.approx(0.5, abs=0.03)


def test_baseline_itself_is_worth_half():
    itself = items([0.5] * 6, [0.0] * 6, np.linspace(-1, 1, 6))
    found = length_control.length_controlled(itself, gamed_rows())
    assert (found.win_rate, found.beta.tolist()) == (0.5, [0, 0, 0])
    statistic = length_control.LengthControl.fitted(np.arange(6), [itself], gamed_rows())
    assert interval(statistic, 10) == (0.5, 0.5)
    assert statistic.permuted(statistic, np.eye(6)) == pytest.approx(np.zeros(6))


def test_nothing_judged_is_refused():
    with pytest.raises(cli.StageError, match="no item has a preference"):
        length_control.length_controlled(items([NAN, NAN], [1, 2]), gamed_rows())


def test_without_difficulty_nobody_s_difficulty_counts():
    known = drawn(300, 7)
    unknown = length_control.Items(known.won, known.shorter_by, None)
    level = length_control.Items(known.won, known.shorter_by, np.zeros(300))
    flat = Rows(gamed_rows().features * [1, 0, 1], gamed_rows().won, gamed_rows().weights)
    found = length_control.length_controlled(unknown, gamed_rows(), 20.0)
    assert found.beta == pytest.approx(length_control.length_controlled(level, flat, 20.0).beta)
    assert found.beta[1] == 0
    assert found.win_rate != pytest.approx(length_control.length_controlled(known, gamed_rows(), 20.0).win_rate, abs=1e-5)


def test_without_gamed_rows_only_the_items_teach():
    won = drawn(300, 7)
    found = length_control.length_controlled(won, None, 20.0)
    assert found.beta == pytest.approx(logistic_regression.fit(length_control.training_rows(won, None), 20.0))
    assert found.beta[0] != pytest.approx(length_control.length_controlled(won, gamed_rows(), 20.0).beta[0], abs=1e-3)


def test_subset_is_fitted_on_its_own():
    every = drawn(400, 3)
    subset = every.take(np.arange(0, 400, 4))
    assert len(subset.won) == 100
    found = length_control.length_controlled(subset, gamed_rows())
    assert 0 < found.win_rate < 1
    assert found.c in logistic_regression.C_GRID


# ----------------------------------------------------------------------------------------- interval


def controlled(won: length_control.Items, gamed: Rows | None = None, c: float = 20.0) -> length_control.LengthControl:
    return length_control.LengthControl(
        np.arange(len(won.won)), (won,), gamed, (length_control.length_controlled(won, gamed, c),)
    )


def interval(statistic: length_control.LengthControl, resamples: int, seed: int = 0) -> tuple[float, float]:
    return resampling.interval(resampling.bootstrap(statistic, resamples, seed))


def test_interval_is_repeatable_and_about_the_estimate():
    statistic = controlled(drawn(150, 1), gamed_rows())
    low, high = interval(statistic, 200, 3)
    assert low < statistic.value() < high
    predicted = length_control.predicted(statistic.fits[0].beta, statistic.samples[0])
    error = np.std(predicted, ddof=1) / np.sqrt(len(predicted))
    assert high - low > 2 * 1.96 * error, "the standard error over items leaves out the fit's uncertainty"
    assert interval(statistic, 200, 3) == (low, high)
    assert interval(statistic, 200, 4) != (low, high)


def test_interval_covers_the_truth():
    """95% intervals of 40 samples: fewer than 34 that cover would have a probability of 0.002 were
    they right."""
    beta = np.array([-1.0, 0.8, -0.5])
    many = length_control.with_weights(beta, drawn(100_000, 99)).win_rate
    covered, widths = 0, []
    for seed in range(40):
        low, high = interval(controlled(drawn(150, seed, beta=tuple(beta)), None, 100.0), 100, seed)
        covered += low <= many <= high
        widths.append(high - low)
    assert covered >= 34
    assert 0.10 < np.mean(widths) < 0.20, "a mean of 150 wins has about 0.15"


def test_unjudged_items_do_not_break_the_interval():
    won = drawn(120, 2)
    won.won[::10] = NAN
    statistic = controlled(won)
    low, high = interval(statistic, 50)
    assert low < statistic.value() < high


def test_refit_of_a_resample_is_the_fit_of_its_items():
    won = drawn(100, 5)
    statistic, counts = controlled(won, gamed_rows()), resampling.resampled(100, 5, 1)
    for value, times in zip(statistic.replicates(counts), counts, strict=True):
        again = length_control.length_controlled(won.take(np.repeat(np.arange(100), times.astype(int))), gamed_rows(), 20.0)
        assert value == pytest.approx(again.win_rate, abs=1e-6)


def test_samples_are_averaged():
    one, other = drawn(100, 5), drawn(100, 6)
    statistic = length_control.LengthControl.fitted(np.arange(100), (one, other), gamed_rows())
    alone = [length_control.length_controlled(items, gamed_rows()).win_rate for items in (one, other)]
    assert statistic.value() == pytest.approx(np.mean(alone))


def test_exchanges_move_length_control_as_a_refit_would():
    """The linearised difference that is tested against the one of two fits, for exchanges from none
    to all."""
    a, b = drawn(400, 1), drawn(400, 2, beta=(-1.0, 0.8, -0.1))
    b = length_control.Items(b.won, b.shorter_by, a.difficulty)
    swapped = np.vstack(
        [np.zeros(400), np.ones(400), next(significance.exchanges(resampling.Clusters.alone(np.arange(400)), 6, 3))]
    )
    found = controlled(a, gamed_rows()).permuted(controlled(b, gamed_rows()), swapped)

    def refitted(swap: np.ndarray) -> float:
        sides = [
            length_control.Items(np.where(taken, y.won, x.won), np.where(taken, y.shorter_by, x.shorter_by), a.difficulty)
            for x, y, taken in ((a, b, swap > 0), (b, a, swap > 0))
        ]
        rates = [length_control.length_controlled(side, gamed_rows(), 20.0).win_rate for side in sides]
        return rates[0] - rates[1]

    expected = np.array([refitted(swap) for swap in swapped])
    assert found[0] == pytest.approx(-found[1])
    assert found == pytest.approx(expected, abs=0.1 * np.abs(expected).max())
