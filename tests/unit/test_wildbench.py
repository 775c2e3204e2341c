"""WildBench metrics: hand-made cases and subsets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift import cli
from drift.metrics import wildbench
from drift.metrics.wildbench import CODING, CREATIVE, INFORMATION, MATH, PLANNING
from golden import wildbench as golden

# ------------------------------------------------------------------------------------------- groups


def test_task_is_in_the_groups_of_all_its_tags_once():
    assert wildbench.groups_of(["Planning", "Reasoning", "Editing"]) == {PLANNING, CREATIVE}
    assert wildbench.groups_of(["Math", "Data Analysis"]) == {MATH}
    assert wildbench.groups_of(["Information seeking", "Coding & Debugging"]) == {INFORMATION, CODING}


def test_twelve_tags_make_five_groups():
    assert len(wildbench.GROUP_OF_TAG) == 12
    assert set(wildbench.GROUP_OF_TAG.values()) == set(wildbench.GROUPS)


def test_unknown_tag_is_refused():
    with pytest.raises(cli.StageError, match=r"no tag 'Maths': correct it to one of .*Math,"):
        wildbench.groups_of(["Math", "Maths"])


def macro(by_group: dict[str, float]) -> float:
    return float(wildbench.macro(np.array([by_group.get(group, np.nan) for group in wildbench.GROUPS])))


def test_macro_weighs_groups():
    by_group = {CREATIVE: 1.0, PLANNING: 2.0, MATH: 3.0, INFORMATION: 4.0, CODING: 5.0}
    assert macro(by_group) == pytest.approx((0.5 + 2.5 + 3 + 3 + 6.25) / 4.75)
    values = np.array([by_group[group] for group in wildbench.GROUPS])
    assert wildbench.macro(values, golden.WEIGHTS["v2.0522"]) == pytest.approx((0.5 + 2.5 + 3 + 3 + 5) / 4.5)


def test_macro_of_a_subset_divides_by_the_weights_that_are_there():
    assert macro({CREATIVE: 1.0, MATH: 4.0}) == pytest.approx(3.0)
    assert macro({CODING: -2.0}) == -2.0
    assert np.isnan(macro({}))


@given(st.floats(-8, 10), st.sets(st.sampled_from(sorted(wildbench.GROUPS)), min_size=1))
def test_macro_of_equal_groups_is_their_value(value, groups):
    assert macro(dict.fromkeys(groups, value)) == pytest.approx(value)


# ----------------------------------------------------------------------------------------- WB-Score


def test_ends_of_the_scale():
    assert (wildbench.adjusted(1), wildbench.adjusted(5), wildbench.adjusted(10)) == (-8, 0, 10)


def test_groups_leave_empty_answers_out_and_the_overall_score_keeps_them():
    member = wildbench.membership([{MATH}, {MATH, CODING}, {MATH, CREATIVE}, {CODING}])
    found = wildbench.score_statistics(list("abcd"), np.array([5, 8, 1, 2]), np.array([10, 10, 0, 10]), member)
    values = {name: statistic.value() for name, statistic in found.items()}
    assert values["wb_score_raw"] == 4.0
    assert (values["wb_score_adjusted"], values["wb_score"]) == (-2.0, -20.0)
    assert (values[f"wb_score:{MATH}"], values[f"wb_score:{CODING}"]) == (30.0, 0.0)
    assert np.isnan(values[f"wb_score:{CREATIVE}"]), "its one answer is empty"
    assert values["wb_score_task_macro"] == pytest.approx(30 * 1 / (1 + 1.25))


def test_resampling_takes_tasks_so_that_one_stays_in_all_its_groups():
    member = wildbench.membership([{MATH, CODING}, {MATH}])
    found = wildbench.score_statistics(list("ab"), np.array([9, 5]), np.array([10, 10]), member)
    replicates = found["wb_score_task_macro"].replicates(np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    assert replicates == pytest.approx([80.0, 0.0, (1 * 40 + 1.25 * 80) / 2.25])


# ---------------------------------------------------------------------------------------- WB-Reward


@pytest.mark.parametrize(
    ("outcome", "model", "reference", "k", "expected"),
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
        (1, 9000, 1000, None, 1),
        (1, 1001, 1000, 0, 0),
    ],
)
def test_length_penalty_makes_a_slight_win_of_a_longer_answer_a_tie(outcome, model, reference, k, expected):
    found = wildbench.penalised(np.array([outcome]), np.array([model]), np.array([reference]), k)
    assert found.tolist() == [expected]


def test_rewards_from_outcomes():
    """Five tasks, of which one has an answer that does not count: it stays in the overall total,
    and in no group."""
    rewards = np.array([[1.0], [0.5], [-0.5], [0.0], [1.0]])
    counts = np.array([[True], [True], [True], [True], [False]])
    member = wildbench.membership([{MATH}, {MATH, CODING}, {CODING}, {CREATIVE}, {PLANNING}])
    overall, macro = wildbench.reward_statistics(list("abcde"), rewards, counts, member)
    assert overall.value() == pytest.approx(100 * (1 + 0.5 - 0.5) / 5)
    assert macro.value() == pytest.approx(100 * 0.75 / (1 + 1.25 + 0.5))


def test_reward_against_several_references_is_the_mean_of_each_over_its_own_verdicts():
    rewards = np.array([[1.0, np.nan], [0.0, -1.0]])
    member = wildbench.membership([{MATH}, {MATH}])
    overall, macro = wildbench.reward_statistics(list("ab"), rewards, np.ones((2, 2), dtype=bool), member)
    assert overall.value() == macro.value() == pytest.approx(100 * (0.5 - 1) / 2)


@given(st.lists(st.sampled_from([-1, -0.5, 0, 0.5, 1]), min_size=1))
def test_reward_is_a_zero_sum_game(rewards):
    keys, member = [str(number) for number in range(len(rewards))], wildbench.membership([{MATH}] * len(rewards))
    column = np.array(rewards, dtype=float)[:, None]
    mine, theirs = (wildbench.reward_statistics(keys, side, column == column, member)[0].value() for side in (column, -column))
    assert mine == pytest.approx(-theirs)
