"""WildBench metrics: hand-made cases, subsets, and published figures where they are."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift import cli
from drift.metrics import wildbench
from drift.metrics.wildbench import CODING, CREATIVE, INFORMATION, MATH, PLANNING

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared/golden/wildbench"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published WildBench figures are not on this machine")


# --------------------------------------------------------------------------------------------------------------- groups


def test_task_is_in_the_groups_of_all_its_tags_once():
    assert wildbench.groups_of(["Planning", "Reasoning", "Editing"]) == {PLANNING, CREATIVE}
    assert wildbench.groups_of(["Math", "Data Analysis"]) == {MATH}
    assert wildbench.groups_of(["Information seeking", "Coding & Debugging"]) == {INFORMATION, CODING}


def test_twelve_tags_make_five_groups():
    assert len(wildbench.GROUP_OF_TAG) == 12
    assert set(wildbench.GROUP_OF_TAG.values()) == set(wildbench.GROUP_WEIGHTS[wildbench.LATEST])


def test_unknown_tag_is_refused():
    with pytest.raises(cli.StageError, match=r"no tag 'Maths': correct it to one of .*Math,"):
        wildbench.groups_of(["Math", "Maths"])


def test_macro_weighs_groups():
    by_group = {CREATIVE: 1.0, PLANNING: 2.0, MATH: 3.0, INFORMATION: 4.0, CODING: 5.0}
    assert wildbench.task_macro(by_group) == pytest.approx((0.5 + 2.5 + 3 + 3 + 6.25) / 4.75)
    assert wildbench.task_macro(by_group, "v2.0522") == pytest.approx((0.5 + 2.5 + 3 + 3 + 5) / 4.5)


def test_macro_of_a_subset_divides_by_the_weights_that_are_there():
    assert wildbench.task_macro({CREATIVE: 1.0, MATH: 4.0}) == pytest.approx(3.0)
    assert wildbench.task_macro({CODING: -2.0}) == -2.0
    assert wildbench.task_macro({}) is None


@given(st.floats(-8, 10), st.sets(st.sampled_from(sorted(wildbench.GROUP_WEIGHTS["v2.0625"])), min_size=1))
def test_macro_of_equal_groups_is_their_value(value, groups):
    assert wildbench.task_macro(dict.fromkeys(groups, value)) == pytest.approx(value)


# ------------------------------------------------------------------------------------------------------------- WB-Score


def test_score_counts_every_verdict_and_length_only_usable_answers():
    found = wildbench.wb_score(np.array([9, 7, 1, 5]), np.array([100, 300, 0, 9000]), np.array([0, 0, 0, 1]))
    expected = {"score": 5.5, "adjusted_score": 1.0, "WB_score": 10.0, "total": 4, "avg_len": 200.0}
    assert found == expected


def test_score_of_nothing_is_not_defined():
    empty = np.array([])
    assert set(wildbench.wb_score(empty, empty, empty).values()) == {None, 0}
    assert wildbench.wb_score(np.array([1]), np.array([0]), np.array([0]))["avg_len"] is None


def test_ends_of_the_scale():
    assert (wildbench.adjusted(1), wildbench.adjusted(5), wildbench.adjusted(10)) == (-8, 0, 10)


def test_groups_leave_empty_answers_out_and_the_overall_score_keeps_them():
    member = wildbench.membership([{MATH}, {MATH, CODING}, {MATH, CREATIVE}, {CODING}])
    found = wildbench.score_figures(list("abcd"), np.array([5, 8, 1, 2]), np.array([10, 10, 0, 10]), member)
    values = {name: figure.value() for name, figure in found.items()}
    assert values["wb_score_raw"] == 4.0
    assert (values["wb_score_adjusted"], values["wb_score"]) == (-2.0, -20.0)
    assert (values[f"wb_score:{MATH}"], values[f"wb_score:{CODING}"]) == (30.0, 0.0)
    assert np.isnan(values[f"wb_score:{CREATIVE}"]), "its one answer is empty"
    assert values["wb_score_task_macro"] == pytest.approx(30 * 1 / (1 + 1.25))


def test_resampling_takes_tasks_so_that_one_stays_in_all_its_groups():
    member = wildbench.membership([{MATH, CODING}, {MATH}])
    found = wildbench.score_figures(list("ab"), np.array([9, 5]), np.array([10, 10]), member)
    replicates = found["wb_score_task_macro"].replicates(np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    assert replicates == pytest.approx([80.0, 0.0, (1 * 40 + 1.25 * 80) / 2.25])


# ------------------------------------------------------------------------------------------------------------ WB-Reward


@pytest.mark.parametrize(
    ("of_model", "model", "reference", "k", "expected"),
    [
        (1, 1501, 1000, 500, 0),
        (1, 1500, 1000, 500, 1),
        (1, 1000, 9000, 500, 1),
        (-1, 1000, 1501, 500, 0),
        (-1, 1000, 1500, 500, -1),
        (-1, 9000, 1000, 500, -1),
        (2, 9000, 1000, 500, 2),
        (-2, 1000, 9000, 500, -2),
        (0, 9000, 1000, 500, 0),
        (1, 9000, 1000, -1, 1),
        (1, 1001, 1000, 0, 0),
    ],
)
def test_length_penalty_makes_a_slight_win_of_a_longer_answer_a_tie(of_model, model, reference, k, expected):
    found = wildbench.penalised(np.array([of_model]), np.array([model]), np.array([reference]), k)
    assert found.tolist() == [expected]


def test_rewards_from_counts():
    counts = {"win_much": 3, "win": 2, "tie": 4, "lose": 1, "lose_much": 1}
    assert wildbench.reward(counts, 11) == pytest.approx(2.5 / 11)
    assert wildbench.reward(counts, 20) == pytest.approx(2.5 / 20)
    assert wildbench.reward({}, 0) is None


def test_rewards_from_outcomes():
    """Five tasks, of which one has an answer that does not count: it stays in the overall total, and in no group."""
    rewards = np.array([[1.0], [0.5], [-0.5], [0.0], [1.0]])
    counts = np.array([[True], [True], [True], [True], [False]])
    member = wildbench.membership([{MATH}, {MATH, CODING}, {CODING}, {CREATIVE}, {PLANNING}])
    overall, macro = wildbench.reward_figures(list("abcde"), rewards, counts, member)
    assert overall.value() == pytest.approx(100 * (1 + 0.5 - 0.5) / 5)
    assert macro.value() == pytest.approx(100 * 0.75 / (1 + 1.25 + 0.5))


def test_reward_against_several_references_is_the_mean_of_each_over_its_own_verdicts():
    rewards = np.array([[1.0, np.nan], [0.0, -1.0]])
    member = wildbench.membership([{MATH}, {MATH}])
    overall, macro = wildbench.reward_figures(list("ab"), rewards, np.ones((2, 2), dtype=bool), member)
    assert overall.value() == macro.value() == pytest.approx(100 * (0.5 - 1) / 2)


@given(st.lists(st.sampled_from([-1, -0.5, 0, 0.5, 1]), min_size=1))
def test_reward_is_a_zero_sum_game(rewards):
    keys, member = [str(at) for at in range(len(rewards))], wildbench.membership([{MATH}] * len(rewards))
    column = np.array(rewards, dtype=float)[:, None]
    mine, theirs = (wildbench.reward_figures(keys, side, column == column, member)[0].value() for side in (column, -column))
    assert mine == pytest.approx(-theirs)


def test_mix_is_the_mean_over_references_and_undefined_where_one_is_missing():
    assert wildbench.mix([0.25, 0.5, -0.25]) == pytest.approx(1 / 6)
    assert wildbench.mix([0.25, None, 0.5]) is None
    assert wildbench.mix([]) is None


# --------------------------------------------------------------------------------------------------- published figures


@needs_golden
@pytest.mark.parametrize("model", ["gemma-2b-it", "gpt-3.5-turbo-0125", "reka-edge"])
def test_published_scores_from_items(model):
    items = pl.read_csv(GOLDEN / "scores.csv.gz").filter((pl.col("version") == "v2.0625") & (pl.col("model") == model))
    published = json.loads((GOLDEN / "score.json").read_text())[model]
    columns = [items[name].to_numpy() for name in ("score", "model_output_len", "ends_truncated")]
    found = wildbench.wb_score(*columns)
    assert found["total"] == published["total"] > 1000
    for figure in ("score", "adjusted_score", "avg_len"):
        assert found[figure] == pytest.approx(published[figure], abs=1e-9)


@needs_golden
@pytest.mark.parametrize(("file", "version"), [("score.json", "v2.0625"), ("score_v2.0522.json", "v2.0522")])
def test_published_macros_have_the_weights_of_their_version(file, version):
    board = json.loads((GOLDEN / file).read_text())
    off = {
        name: max(
            abs(wildbench.task_macro(entry["task_categorized_scores"], name) - entry["task_macro_score"])
            for entry in board.values()
        )
        for name in wildbench.GROUP_WEIGHTS
    }
    assert off.pop(version) < 1e-12
    assert min(off.values()) > 0.01


@needs_golden
def test_published_rewards_from_counts():
    board = json.loads((GOLDEN / "pairwise_gpt4t_K500.json").read_text())
    for entry in board.values():
        assert math.isclose(wildbench.reward(entry, entry["total"]), entry["reward"], abs_tol=1e-12)
        rewards = wildbench.group_rewards(entry["task_categorized_results"])
        assert rewards == pytest.approx(entry["task_categorized_rewards"], abs=1e-12)
        assert wildbench.task_macro(rewards) == pytest.approx(entry["task_macro_reward"], abs=1e-12)
