"""AlpacaEval metrics: hand-made cases, the optimum of the fit, intervals that cover, and published figures where they are."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift import cli, seeds
from drift.metrics import length_control, resampling

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOLDEN = SHARED / "golden/alpacaeval"
INSTRUCTIONS = SHARED / "prompts/alpacaeval_805.jsonl"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published AlpacaEval figures are not on this machine")
NAN = math.nan


def items(won, shorter_by, difficulty=None) -> length_control.Items:
    columns = (None if column is None else np.asarray(column, dtype=np.float64) for column in (won, shorter_by, difficulty))
    return length_control.Items(*columns)


def drawn(n: int, seed: int, beta=(-1.0, 0.8, -0.5), won=None) -> length_control.Items:
    """Items whose winner is drawn from the model that is fitted."""
    generator = np.random.default_rng(seed)
    shorter_by, difficulty = generator.normal(100, 400, n), generator.normal(0, 1, n)
    features = np.column_stack([np.tanh(shorter_by / np.std(shorter_by, ddof=1)), difficulty, np.ones(n)])
    chance = 1 / (1 + np.exp(-features @ np.array(beta)))
    return items(generator.random(n) < chance if won is None else won(generator, n), shorter_by, difficulty)


def gamed_rows(n: int = 60, seed: int = 9) -> length_control.Rows:
    generator = np.random.default_rng(seed)
    length, difficulty = generator.normal(0, 1, n), generator.normal(0, 1, n)
    won = 1 / (1 + np.exp(1.5 * length - 0.3 * difficulty))
    features = np.column_stack([np.tanh(length), difficulty, np.zeros(n)])
    return length_control.Rows(features, won, np.full(n, length_control.GAMED_WEIGHT))


# ------------------------------------------------------------------------------------------------ preferences, win rate


def test_preference_is_the_share_of_the_model_s_token():
    first, second = np.log([0.2, 0.2, 0.01]), np.log([0.6, 0.6, 0.01])
    assert length_control.preferences(first, second, [0, 1, 0]) == pytest.approx([1.75, 1.25, 1.5])


def test_token_that_was_not_reported_counts_nothing():
    found = length_control.preferences(
        np.array([-0.1, NAN, -0.1, NAN]), np.array([NAN, -0.1, NAN, -0.1]), [False, False, True, True]
    )
    assert found.tolist() == [1.0, 2.0, 2.0, 1.0]


def test_no_verdict_among_the_tokens_is_no_preference():
    assert np.isnan(length_control.preferences(np.array([NAN]), np.array([NAN]), [True])).all()


@given(st.text(), st.integers(0, 1000))
def test_order_depends_on_instruction_and_seed_alone(instruction, seed):
    assert seeds.is_switched(instruction, seed) is seeds.is_switched(instruction, seed)


def test_orders_are_a_fair_coin_that_the_seed_turns():
    orders = np.array([[seeds.is_switched(f"Question {n}", seed) for n in range(2000)] for seed in (0, 1)])
    assert abs(orders.mean(axis=1) - 0.5).max() < 0.04
    assert 0.45 < (orders[0] == orders[1]).mean() < 0.55


@needs_golden
@pytest.mark.skipif(not INSTRUCTIONS.is_file(), reason="the AlpacaEval instructions are not on this machine")
def test_orders_are_the_published_ones():
    instructions = [json.loads(line)["instruction"] for line in INSTRUCTIONS.read_text(encoding="utf-8").splitlines()]
    orders = np.array([seeds.is_switched(instruction) for instruction in instructions])
    judged = golden_items()
    assert len(judged) > 20_000
    assert (orders[judged["instruction_index"].to_numpy()] == judged["switched"].cast(pl.Boolean).to_numpy()).all()


def test_wins_are_preferences_from_0_and_an_old_draw_is_half_a_win():
    assert length_control.wins(np.array([1.0, 1.25, 2.0, 0.0])).tolist() == [0.0, 0.25, 1.0, 0.5]
    assert np.isnan(length_control.wins(np.array([NAN]))).all()


@pytest.mark.parametrize("wrong", [0.5, 2.5, -1.0, 75.0])
def test_preference_on_another_scale_is_refused(wrong):
    with pytest.raises(cli.StageError, match="outside 1 to 2"):
        length_control.wins(np.array([1.5, wrong]))


def test_win_rate_of_a_few_items():
    found = length_control.win_rate(np.array([1.0, 0.5, 0.25, NAN, 0.25]))
    assert found == {
        "win_rate": 50.0,
        "standard_error": pytest.approx(100 * math.sqrt((0.25 + 0 + 2 * 0.0625) / 3) / 2),
        "n_wins": 1,
        "n_wins_base": 2,
        "n_draws": 1,
        "n_total": 4,
        "discrete_win_rate": 37.5,
    }


def test_figures_that_are_not_defined_are_none():
    none, one = (length_control.win_rate(np.array(won)) for won in ([NAN, NAN], [1.0]))
    assert (none["n_total"], none["win_rate"], none["standard_error"], none["discrete_win_rate"]) == (0, None, None, None)
    assert (one["n_total"], one["win_rate"], one["standard_error"], one["discrete_win_rate"]) == (1, 100.0, None, 100.0)


def test_average_length_is_cut_to_a_whole_number():
    assert length_control.average_length(np.array([1, 2, 2])) == 1
    assert length_control.average_length(np.array([])) is None


# ------------------------------------------------------------------------------------------------------ features, files


def test_length_feature_is_standardised_but_not_centred():
    rows = length_control.training_rows(items([0.0, 1.0, 0.5], [10.0, 20.0, 30.0], [0.1, 0.2, 0.3]), None)
    assert rows.features == pytest.approx(np.column_stack([np.tanh([1, 2, 3]), [0.1, 0.2, 0.3], [1, 1, 1]]))
    assert rows.weights.tolist() == [1, 1, 1]


def test_item_without_a_verdict_is_in_the_spread_and_the_prediction_but_not_in_the_fit():
    with_hole = items([0.0, NAN, 1.0], [10.0, 20.0, 30.0], [0.0, 5.0, 0.0])
    rows = length_control.training_rows(with_hole, None)
    assert rows.features[:, 0] == pytest.approx(np.tanh([1, 3]))
    assert rows.won.tolist() == [0.0, 1.0]
    assert length_control.from_weights(np.array([9.0, 100.0, 0.0]), with_hole).win_rate == pytest.approx(
        100 * (0.5 + 1 + 0.5) / 3
    )


def test_answers_that_differ_alike_in_length_say_nothing_of_it():
    assert length_control.training_rows(items([0.0, 1.0], [7.0, 7.0], [0, 0]), None).features[:, 0].tolist() == [0, 0]


def test_unknown_length_is_refused():
    with pytest.raises(cli.StageError, match="length of an answer"):
        length_control.training_rows(items([0.0, 1.0], [NAN, 7.0]), None)


def test_gamed_rows_come_first_and_weigh_a_tenth():
    rows = length_control.training_rows(items([0.0, 1.0], [1.0, 2.0], [0.5, 0.5]), gamed_rows(3))
    assert rows.weights.tolist() == [0.1, 0.1, 0.1, 1, 1]
    assert rows.features[:, 2].tolist() == [0, 0, 0, 1, 1]


def test_difficulty_is_looked_up_by_instruction_or_by_position():
    difficulty = np.array([0.0, 10.0, 20.0, 30.0])
    without_second = np.array([0, 2, 3])
    assert length_control.look_up(difficulty, without_second).tolist() == [0, 20, 30]
    assert length_control.look_up(difficulty, without_second, positional=True).tolist() == [0, 10, 20]


@pytest.mark.parametrize("instruction", [-1, 4])
def test_instruction_without_a_difficulty_is_refused(instruction):
    with pytest.raises(cli.StageError, match=f"instruction {instruction} has no difficulty: there are 4"):
        length_control.look_up(np.zeros(4), np.array([0, instruction]))


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
def test_difficulty_file_that_is_none_is_refused(tmp_path, text, message):
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


# --------------------------------------------------------------------------------------------------------- fit, predict


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([*length_control.C_GRID.tolist(), 0.3, 21.5]), st.booleans())
def test_fit_is_the_optimum(seed, c, with_gamed):
    """The objective is convex, so its optimality conditions prove the solution, whatever found it."""
    generator = np.random.default_rng(seed)
    n = int(generator.integers(5, 60))
    rows = length_control.training_rows(drawn(n, seed, won=lambda g, k: g.random(k)), gamed_rows() if with_gamed else None)
    beta = length_control.fit(rows, c)
    slope = c * rows.features.T @ (rows.weights * (1 / (1 + np.exp(-rows.features @ beta)) - rows.won))
    slack = 1e-5 * max(1, c)
    assert np.all(np.abs(slope[beta != 0] + np.sign(beta[beta != 0])) < slack)
    assert np.all(np.abs(slope[beta == 0]) <= 1 + slack)


def test_fit_does_not_depend_on_where_it_starts():
    rows = length_control.training_rows(drawn(80, 3), gamed_rows())
    starts = (None, np.array([50.0, -50.0, 50.0]), np.array([0.0, 0.0, -3.0]))
    found = [length_control.fit(rows, 21.5, start) for start in starts]
    assert found[1] == pytest.approx(found[0], abs=1e-7)
    assert found[2] == pytest.approx(found[0], abs=1e-7)


def test_weak_data_give_zero():
    rows = length_control.training_rows(drawn(40, 1), None)
    assert length_control.fit(rows, 1e-4).tolist() == [0, 0, 0]


def test_separable_data_stay_finite():
    rows = length_control.Rows(np.array([[-1.0, 0, 1], [1.0, 0, 1]]), np.array([0.0, 1.0]), np.ones(2))
    beta = length_control.fit(rows, 1e4)
    assert np.isfinite(beta).all()
    assert (beta[0] > 5, beta[1]) == (True, 0)


def test_share_of_a_win_is_a_won_and_a_lost_row():
    rows = length_control.training_rows(drawn(30, 2, won=lambda g, n: g.random(n)), None)
    hard = length_control.Rows(
        np.vstack([rows.features, rows.features]),
        np.repeat([1.0, 0.0], len(rows.won)),
        np.concatenate([rows.won, 1 - rows.won]),
    )
    assert length_control.fit(hard, 5.0) == pytest.approx(length_control.fit(rows, 5.0), abs=1e-8)


def test_weight_counts_rows():
    rows = length_control.training_rows(drawn(20, 5), None)
    twice = length_control.Rows(np.vstack([rows.features] * 2), np.tile(rows.won, 2), np.ones(40))
    heavy = length_control.Rows(rows.features, rows.won, np.full(20, 2.0))
    assert length_control.fit(heavy, 3.0) == pytest.approx(length_control.fit(twice, 3.0), abs=1e-8)


def test_true_coefficients_are_found():
    rows = length_control.training_rows(drawn(200_000, 4, beta=(-1.0, 0.8, -0.5)), None)
    assert length_control.fit(rows, 1e4) == pytest.approx([-1.0, 0.8, -0.5], abs=0.03)


def test_c_is_what_predicts_the_rows_left_out_best():
    """Of noise nothing can be learnt, so the smallest C is chosen; of plenty of clear data everything, so a large one is."""
    noise = length_control.training_rows(drawn(100, 8, won=lambda g, n: np.tile([0.0, 1.0], n // 2)), None)
    clear = length_control.training_rows(drawn(3000, 8, beta=(-3.0, 2.0, 1.0)), None)
    assert length_control.choose_c(noise) < 0.01
    assert length_control.choose_c(clear) > 0.3


def test_c_weighs_the_rows_left_out():
    """Rows of no weight neither teach nor test."""
    rows = length_control.training_rows(drawn(200, 12), None)
    odd = length_control.Rows(
        np.vstack([rows.features, rows.features]),
        np.concatenate([rows.won, 1 - rows.won]),
        np.concatenate([rows.weights, np.full(200, 1e-12)]),
    )
    assert length_control.choose_c(odd) == length_control.choose_c(rows)


def test_too_few_items_to_choose_c():
    with pytest.raises(cli.StageError, match="4 judged items: choosing C takes at least 5"):
        length_control.length_controlled(drawn(4, 1), None)


def test_win_rate_at_equal_length_from_given_weights():
    found = length_control.from_weights(
        np.array([123.0, 2.0, 0.5]), items([NAN] * 2, [5.0, 900.0], [-0.25, math.log(3) / 2 - 0.25])
    )
    assert found.win_rate == pytest.approx(100 * (0.5 + 0.75) / 2)
    assert found.standard_error == pytest.approx(12.5)
    assert found.c is None


def test_length_control_takes_the_gain_from_length_away():
    """A model as good as the baseline whose longer answers win and whose shorter ones lose."""
    wordy = drawn(4000, 6, beta=(-2.0, 0.0, 0.0))
    wordy = wordy.take(np.flatnonzero((wordy.shorter_by < 0) | (np.arange(4000) % 8 == 0)))
    assert np.mean(wordy.won) > 0.6
    assert length_control.length_controlled(wordy, None, 100.0).win_rate == pytest.approx(50, abs=3)


def test_baseline_itself_is_worth_50():
    itself = items([0.5] * 6, [0.0] * 6, np.linspace(-1, 1, 6))
    found = length_control.length_controlled(itself, gamed_rows())
    assert (found.win_rate, found.beta.tolist()) == (50.0, [0, 0, 0])
    figure = length_control.LengthControl.fitted(np.arange(6), [itself], gamed_rows())
    assert interval(figure, 10) == (0.5, 0.5)
    assert figure.permuted(figure, np.eye(6)) == pytest.approx(np.zeros(6))


def test_nothing_judged_is_refused():
    with pytest.raises(cli.StageError, match="no item has a preference"):
        length_control.length_controlled(items([NAN, NAN], [1, 2]), gamed_rows())


def test_without_difficulty_nobody_s_difficulty_counts():
    known = drawn(300, 7)
    unknown = length_control.Items(known.won, known.shorter_by, None)
    level = length_control.Items(known.won, known.shorter_by, np.zeros(300))
    flat = length_control.Rows(gamed_rows().features * [1, 0, 1], gamed_rows().won, gamed_rows().weights)
    found = length_control.length_controlled(unknown, gamed_rows(), 20.0)
    assert found.beta == pytest.approx(length_control.length_controlled(level, flat, 20.0).beta)
    assert found.beta[1] == 0
    assert found.win_rate != pytest.approx(length_control.length_controlled(known, gamed_rows(), 20.0).win_rate, abs=1e-3)


def test_without_gamed_rows_only_the_items_teach():
    won = drawn(300, 7)
    found = length_control.length_controlled(won, None, 20.0)
    assert found.beta == pytest.approx(length_control.fit(length_control.training_rows(won, None), 20.0))
    assert found.beta[0] != pytest.approx(length_control.length_controlled(won, gamed_rows(), 20.0).beta[0], abs=1e-3)


def test_subset_is_fitted_on_its_own():
    every = drawn(400, 3)
    subset = every.take(np.arange(0, 400, 4))
    assert len(subset.won) == 100
    found = length_control.length_controlled(subset, gamed_rows())
    assert 0 < found.win_rate < 100
    assert found.c in length_control.C_GRID


# ------------------------------------------------------------------------------------------------------------- interval


def controlled(
    won: length_control.Items, gamed: length_control.Rows | None = None, c: float = 20.0
) -> length_control.LengthControl:
    return length_control.LengthControl(
        np.arange(len(won.won)), (won,), gamed, (length_control.length_controlled(won, gamed, c),)
    )


def interval(figure: length_control.LengthControl, resamples: int, seed: int = 0) -> tuple[float, float]:
    return resampling.interval(resampling.bootstrap(figure, resamples, seed))


def test_interval_is_repeatable_and_about_the_estimate():
    figure = controlled(drawn(150, 1), gamed_rows())
    low, high = interval(figure, 200, 3)
    assert low < figure.value() < high
    error = figure.fits[0].standard_error / 100
    assert high - low > 2 * 1.96 * error, "the standard error over items leaves out the fit's uncertainty"
    assert interval(figure, 200, 3) == (low, high)
    assert interval(figure, 200, 4) != (low, high)


def test_interval_covers_the_truth():
    """95% intervals of 40 samples: fewer than 34 that cover would have a probability of 0.002 were they right."""
    beta = np.array([-1.0, 0.8, -0.5])
    many = length_control.from_weights(beta, drawn(100_000, 99)).win_rate / 100
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
    figure = controlled(won)
    low, high = interval(figure, 50)
    assert low < figure.value() < high


def test_refit_of_a_resample_is_the_fit_of_its_items():
    won = drawn(100, 5)
    figure, counts = controlled(won, gamed_rows()), resampling.resampled(100, 5, 1)
    for value, of in zip(figure.replicates(counts), counts, strict=True):
        again = length_control.length_controlled(won.take(np.repeat(np.arange(100), of.astype(int))), gamed_rows(), 20.0)
        assert value == pytest.approx(again.win_rate / 100, abs=1e-6)


def test_samples_are_averaged():
    one, other = drawn(100, 5), drawn(100, 6)
    figure = length_control.LengthControl.fitted(np.arange(100), (one, other), gamed_rows())
    alone = [length_control.length_controlled(items, gamed_rows()).win_rate / 100 for items in (one, other)]
    assert figure.value() == pytest.approx(np.mean(alone))


def test_exchanges_move_length_control_as_a_refit_would():
    """The linearised difference that is tested against the one of two fits, for exchanges from none to all."""
    a, b = drawn(400, 1), drawn(400, 2, beta=(-1.0, 0.8, -0.1))
    b = length_control.Items(b.won, b.shorter_by, a.difficulty)
    swapped = np.vstack([np.zeros(400), np.ones(400), resampling.exchanges(400, 6, 3)])
    found = controlled(a, gamed_rows()).permuted(controlled(b, gamed_rows()), swapped)

    def refitted(swap: np.ndarray) -> float:
        sides = [
            length_control.Items(np.where(at, y.won, x.won), np.where(at, y.shorter_by, x.shorter_by), a.difficulty)
            for x, y, at in ((a, b, swap > 0), (b, a, swap > 0))
        ]
        rates = [length_control.length_controlled(side, gamed_rows(), 20.0).win_rate / 100 for side in sides]
        return rates[0] - rates[1]

    expected = np.array([refitted(swap) for swap in swapped])
    assert found[0] == pytest.approx(-found[1])
    assert found == pytest.approx(expected, abs=0.1 * np.abs(expected).max())


# --------------------------------------------------------------------------------------------------- published figures


def golden_items() -> pl.DataFrame:
    return pl.read_csv(GOLDEN / "items.csv.gz", schema_overrides={"logprob_m": pl.Float64, "logprob_M": pl.Float64})


def golden_model(model: str, positional: bool = True) -> length_control.Items:
    rows = golden_items().filter(pl.col("model") == model).sort("row")
    difficulty = length_control.read_difficulty(GOLDEN / "instruction_difficulty_recovered.csv")
    shorter_by = (rows["len_output_1_baseline"] - rows["len_output_2_model"]).to_numpy()
    found = length_control.look_up(difficulty, rows["instruction_index"].to_numpy(), positional)
    return length_control.Items(length_control.wins(rows["preference"].to_numpy()), shorter_by, found)


def golden_beta(model: str) -> np.ndarray:
    (row,) = (row for row in pl.read_csv(GOLDEN / "lc_weights.csv").rows() if row[0] == model)
    return np.array(row[1:])


def golden_figure(model: str) -> float:
    (row,) = (row for row in pl.read_csv(GOLDEN / "leaderboard.csv").to_dicts() if row[""] == model)
    return row["length_controlled_winrate"]


def golden_gamed() -> length_control.Rows:
    return length_control.read_gamed(GOLDEN / "df_gamed_surrogate.csv")


@needs_golden
@pytest.mark.parametrize("model", ["text_davinci_001", "minotaur-13b"])
def test_published_length_control_is_by_position_and_ours_by_instruction(model):
    beta, published = golden_beta(model), golden_figure(model)
    assert length_control.from_weights(beta, golden_model(model)).win_rate == pytest.approx(published, abs=1e-6)
    aligned = length_control.from_weights(beta, golden_model(model, positional=False)).win_rate
    assert 1e-4 < abs(aligned - published) < 0.2


@needs_golden
@pytest.mark.parametrize(
    ("model", "c"), [("claude-2.1", 2.7826), ("FuseChat-Gemma-2-9B-Instruct", 2.7826), ("vicuna-7b-v1.5", 21.5443)]
)
def test_own_fit_chooses_the_published_c_and_meets_the_published_figure(model, c):
    found = length_control.length_controlled(golden_model(model), golden_gamed())
    assert found.c == pytest.approx(c, rel=1e-4)
    assert found.beta == pytest.approx(golden_beta(model), abs=2e-3)
    assert found.win_rate == pytest.approx(golden_figure(model), abs=0.02)


@needs_golden
def test_interval_of_a_published_model_is_no_narrower_than_its_win_rate_s():
    model = golden_model("claude-2.1")
    figure = length_control.LengthControl.fitted(np.arange(len(model.won)), (model,), golden_gamed())
    low, high = interval(figure, 200)
    assert low < golden_figure("claude-2.1") / 100 < high
    assert 0.04 < high - low < 0.09, "the plain win rate's is 0.044 wide"
