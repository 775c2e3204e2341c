"""AlpacaEval's metrics: hand-made cases, and published figures where they are on this machine."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift import cli, seeds
from drift.metrics import alpacaeval, judge_metrics, length_control, resampling
from drift.metrics.logistic_regression import Rows
from golden import alpacaeval as golden
from tests.builders.judgments import frame, judgment, tasks, values

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
GOLDEN = SHARED / "golden/alpacaeval"
INSTRUCTIONS = SHARED / "prompts/alpacaeval_805.jsonl"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published AlpacaEval figures are not on this machine")


# ------------------------------------------------------------------------------------------- orders


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


# ---------------------------------------------------------------------------------------- win rates


def test_win_rates_of_a_few_items():
    rows = [judgment(str(number), preference=share) for number, share in enumerate((1.0, 0.5, 0.25, 0.25))]
    rows.append(judgment("unjudged", error="neither letter"))
    found = values(alpacaeval.statistics(frame(rows), tasks(*"0123", "unjudged"), None))
    error = math.sqrt((0.25 + 0 + 2 * 0.0625) / 3) / 2
    assert found == pytest.approx({"win_rate": 0.5, "discrete_win_rate": 0.375, "standard_error": error})


def test_samples_of_an_instruction_count_as_their_mean():
    shares = {"a": (1.0, 0.0), "b": (0.5, 0.5), "c": (0.0, 0.0), "d": (1.0, 0.5)}
    rows = [
        judgment(name, sample=sample, preference=share) for name, both in shares.items() for sample, share in enumerate(both)
    ]
    found = values(alpacaeval.statistics(frame(rows), tasks(*shares), None))
    assert found["win_rate"] == pytest.approx(np.mean([0.5, 0.5, 0.0, 0.75]))
    assert found["standard_error"] == pytest.approx(np.std([0.5, 0.5, 0.0, 0.75], ddof=1) / 2)


def test_one_item_has_no_standard_error():
    found = values(alpacaeval.statistics(frame([judgment("a", preference=1.0)]), tasks("a"), None))
    assert (found["win_rate"], found["discrete_win_rate"]) == (1.0, 1.0)
    assert math.isnan(found["standard_error"])


def test_every_reference_has_win_rates_of_its_own():
    rows = [judgment("a", preference=1.0), judgment("a", opponent="gpt", preference=0.25)]
    found = values(alpacaeval.statistics(frame(rows), tasks("a"), None))
    assert (found["discrete_win_rate"], found["discrete_win_rate:gpt"]) == (1.0, 0.0)


def test_length_control_takes_the_tasks_that_have_all_samples():
    random = np.random.default_rng(0)
    rows = [
        judgment(
            f"{item:02}", sample=sample, preference=float(random.uniform(0.5, 1)), policy_chars=int(random.integers(1, 99))
        )
        for item in range(20)
        for sample in range(2 if item < 15 else 1)
    ]
    found = alpacaeval.statistics(frame(rows), tasks(*(f"{item:02}" for item in range(20))), None)
    controlled = found["length_controlled_win_rate"]
    assert (len(controlled.keys), [len(items.won) for items in controlled.samples]) == (15, [15, 15])


# ---------------------------------------------------------------------------------- published items


def published(*rows: tuple[float | None, int]) -> pl.DataFrame:
    """Rows of a file of items: preference and whether the answers were switched."""
    return pl.DataFrame(
        [
            {"row": number, "preference": preference, "switched": switched}
            | {"len_output_1_baseline": 10, "len_output_2_model": 20}
            for number, (preference, switched) in enumerate(rows)
        ],
        schema_overrides={"preference": pl.Float64},
    )


def test_published_preferences_are_shares_from_1_and_an_old_draw_is_half_a_win():
    made = golden.judgments_of(published((1.0, 0), (1.25, 1), (2.0, 0), (0.0, 0), (None, 0)))
    assert made["preference"].to_list() == [0.0, 0.25, 1.0, 0.5, None]
    assert made["order"].to_list() == ["BA", "AB", "BA", "BA", "BA"]
    assert made["error"].to_list() == [None] * 4 + ["no preference is published"]


@pytest.mark.parametrize("wrong", [0.5, 2.5, -1.0, 75.0])
def test_preference_on_another_scale_is_refused(wrong):
    with pytest.raises(cli.StageError, match="outside 1 to 2"):
        golden.judgments_of(published((1.5, 0), (wrong, 0)))


def test_more_items_than_difficulties_are_refused():
    with pytest.raises(cli.StageError, match="2 items of a model, but 1 difficulties"):
        golden.tasks_of(published((1.0, 0), (1.0, 0)), np.zeros(1))


def golden_items() -> pl.DataFrame:
    return pl.read_csv(GOLDEN / "items.csv.gz", schema_overrides={"logprob_m": pl.Float64, "logprob_M": pl.Float64})


def golden_model(model: str, positional: bool = True) -> length_control.Items:
    rows = golden_items().filter(model=model).sort("row")
    difficulty = length_control.read_difficulty(GOLDEN / "instruction_difficulty_recovered.csv")
    looked_up = difficulty[: len(rows)] if positional else difficulty[rows["instruction_index"].to_numpy()]
    ((_, answers),) = judge_metrics.by_opponent(golden.judgments_of(rows))
    ((_, items),) = judge_metrics.items_by_sample(answers, golden.tasks_of(rows, looked_up))
    return items


def golden_beta(model: str) -> np.ndarray:
    (row,) = (row for row in pl.read_csv(GOLDEN / "lc_weights.csv").rows() if row[0] == model)
    return np.array(row[1:])


def published_win_rate(model: str) -> float:
    (row,) = (row for row in pl.read_csv(GOLDEN / "leaderboard.csv").to_dicts() if row[""] == model)
    return row["length_controlled_winrate"] / 100


def golden_gamed() -> Rows:
    return length_control.read_gamed(GOLDEN / "df_gamed_surrogate.csv")


@needs_golden
@pytest.mark.parametrize("model", ["text_davinci_001", "minotaur-13b"])
def test_published_length_control_is_by_position_and_ours_by_instruction(model):
    beta, published = golden_beta(model), published_win_rate(model)
    assert length_control.with_weights(beta, golden_model(model)).win_rate == pytest.approx(published, abs=1e-8)
    aligned = length_control.with_weights(beta, golden_model(model, positional=False)).win_rate
    assert 1e-6 < abs(aligned - published) < 0.002


@needs_golden
@pytest.mark.parametrize(
    ("model", "c"), [("claude-2.1", 2.7826), ("FuseChat-Gemma-2-9B-Instruct", 2.7826), ("vicuna-7b-v1.5", 21.5443)]
)
def test_own_fit_chooses_the_published_c_and_meets_the_published_win_rate(model, c):
    found = length_control.length_controlled(golden_model(model), golden_gamed())
    assert found.c == pytest.approx(c, rel=1e-4)
    assert found.beta == pytest.approx(golden_beta(model), abs=2e-3)
    assert found.win_rate == pytest.approx(published_win_rate(model), abs=0.0002)


@needs_golden
def test_interval_of_a_published_model_is_no_narrower_than_its_win_rate_s():
    model = golden_model("claude-2.1")
    statistic = length_control.LengthControl.fitted(np.arange(len(model.won)), (model,), golden_gamed())
    low, high = resampling.interval(resampling.bootstrap(statistic, 200, 0))
    assert low < published_win_rate("claude-2.1") < high
    assert 0.04 < high - low < 0.09, "the plain win rate's is 0.044 wide"
