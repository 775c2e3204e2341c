"""WildBench v2: WB-Score from a judge's scores of single answers, WB-Reward from its comparisons
with a reference model's.

Source of the idea: Lin et al. 2024, "WildBench" (arXiv:2406.04770). Where the paper leaves a choice
open, this is what the published leaderboard does; tools/check_golden.py recomputes that leaderboard
with the functions here.

A task counts in every group that one of its tags belongs to. Judge scores are 1 to 10. Statistics
are on the scales of the leaderboard; NaN stands for one that is not defined, and for a group in
which a subset of the benchmark has no task.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.metrics import judge_metrics, resampling

INFORMATION, CODING, PLANNING = "Information/Advice seeking", "Coding & Debugging", "Planning & Reasoning"
MATH, CREATIVE = "Math & Data Analysis", "Creative Tasks"

GROUP_OF_TAG = {
    "Information seeking": INFORMATION,
    "Advice seeking": INFORMATION,
    "Coding & Debugging": CODING,
    "Reasoning": PLANNING,
    "Planning": PLANNING,
    "Math": MATH,
    "Data Analysis": MATH,
    "Creative Writing": CREATIVE,
    "Editing": CREATIVE,
    "Brainstorming": CREATIVE,
    "Role playing": CREATIVE,
    "Others": CREATIVE,
}
# What a group weighs in a task-weighted mean, as of version v2.0625 of the leaderboard.
GROUP_WEIGHTS = {CREATIVE: 0.5, PLANNING: 1.25, MATH: 1.0, INFORMATION: 0.75, CODING: 1.25}
# The order of groups in every array.
GROUPS = tuple(GROUP_WEIGHTS)
# Characters: the length penalty of the published board.
PENALTY = 500


def statistics(judgments: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """What WildBench reports of one judge's `judgments` (a Judgments table) of one policy: WB-Score
    from scores, WB-Reward from comparisons. `tasks` (a Tasks table) has the groups as `categories`.

    NAME:X is NAME over the group X, or against the reference X.
    """
    measured: dict[str, resampling.Statistic] = {}
    scored, compared = (judgments.filter(kind=kind) for kind in ("score", "pairwise"))
    if len(scored):
        answers = judge_metrics.mean_scores(scored)
        scores, lengths = (answers[name].to_numpy() for name in ("score", "policy_chars"))
        measured |= score_statistics(answers["prompt_id"], scores, lengths, member_of(answers, tasks))
    # Only a judge whose verdicts have five levels (outcomes) gives a reward.
    compared = compared.filter(pl.col("preference").is_null())
    if compared["outcome"].count():
        for suffix, k in (("", None), (f"_k{PENALTY}", PENALTY)):
            measured |= rewards_against_references(compared, tasks, suffix, k)
    return measured


# ------------------------------------------------------------------------------------------- groups


def groups_of(tags: Iterable[str]) -> frozenset[str]:
    """The groups of a task, from its primary and secondary tags together."""
    try:
        return frozenset(GROUP_OF_TAG[tag] for tag in tags)
    except KeyError as error:
        raise StageError(f"WildBench has no tag {error}: correct it to one of {', '.join(GROUP_OF_TAG)}.") from error


def membership(groups: Sequence[Collection[str]]) -> np.ndarray:
    """Which task, (n,), is in which of GROUPS: (n, 5) of 0 and 1."""
    rows = [[group in groups_of_task for group in GROUPS] for groups_of_task in groups]
    return np.array(rows, dtype=np.float64).reshape(-1, len(GROUPS))


def member_of(rows: pl.DataFrame, tasks: pl.DataFrame) -> np.ndarray:
    """Which row, by its prompt_id, is in which of GROUPS: (n, 5) of 0 and 1."""
    categories = rows.select("prompt_id").join(
        tasks.select("prompt_id", "categories"), on="prompt_id", how="left", maintain_order="left"
    )
    return membership(categories["categories"].fill_null([]).to_list())


def macro(values: np.ndarray, weights: Mapping[str, float] = GROUP_WEIGHTS) -> np.ndarray:
    """The weighted mean, (...), of values by group, (..., 5) in the order of GROUPS.

    A group that is NaN is not there: the others are divided by their weights alone. NaN where none
    is there.
    """
    present = np.where(np.isnan(values), 0.0, [weights[group] for group in GROUPS])
    total = present.sum(axis=-1)
    summed = (present * np.nan_to_num(values)).sum(axis=-1)
    return np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)


def group_means(sums: np.ndarray) -> np.ndarray:
    """Means by group, (..., 5), of the sums of values by group followed by counts by group, (...,
    10); NaN where nothing counts."""
    values, counts = sums[..., : len(GROUPS)], sums[..., len(GROUPS) :]
    return np.divide(values, counts, out=np.full(values.shape, np.nan), where=counts > 0)


# ----------------------------------------------------------------------------------------- WB-Score


def adjusted(score: float | np.ndarray) -> float | np.ndarray:
    """A mean judge score, 1 to 10, on the scale where 5 is 0: -8 to 10."""
    return (score - 5) * 2


def score_statistics(
    keys: Sequence[str], scores: np.ndarray, lengths: np.ndarray, member: np.ndarray
) -> dict[str, resampling.Statistic]:
    """A policy's statistics from its judge scores, (n,), NaN without one; `lengths`, (n,)
    characters; `member` as `membership`.

    wb_score_raw is on 1 to 10, wb_score_adjusted on -8 to 10; the others are ten times the latter,
    as the leaderboard shows them. An empty answer counts in the overall means and not in its
    groups.
    """
    scores = np.asarray(scores, dtype=np.float64)
    counted = (np.asarray(lengths) > 0)[:, None] * member
    # (n, 2): what a task adds to the sum of scores and to their number.
    overall = np.column_stack([scores, np.ones(len(scores))])
    # (n, 10): the same in each group, as `group_means` reads it.
    grouped = np.hstack([scores[:, None] * counted, counted])

    def score_of_group(column: int) -> Callable[[np.ndarray], np.ndarray]:
        # A function of its own: a lambda in the loop below would see the last column in all groups.
        return lambda sums: 10 * adjusted(group_means(sums)[..., column])

    return {
        "wb_score_task_macro": resampling.by_item(keys, grouped, lambda sums: 10 * macro(adjusted(group_means(sums)))),
        "wb_score": resampling.by_item(keys, overall, lambda sums: 10 * adjusted(resampling.ratio(sums))),
        "wb_score_raw": resampling.by_item(keys, overall, resampling.ratio),
        "wb_score_adjusted": resampling.by_item(keys, overall, lambda sums: adjusted(resampling.ratio(sums))),
        **{
            f"wb_score:{group}": resampling.by_item(keys, grouped, score_of_group(column))
            for column, group in enumerate(GROUPS)
        },
    }


# ---------------------------------------------------------------------------------------- WB-Reward


def penalised(outcomes: np.ndarray, lengths: np.ndarray, reference_lengths: np.ndarray, k: int | None) -> np.ndarray:
    """Outcomes, (n,) of -2 to 2, under length penalty `k`: a slight win by more than k characters
    more is a tie. None: no penalty.

    Lengths, (n,), in characters. It holds for either side; what was much better or much worse stays
    so.
    """
    if k is None:
        return outcomes
    # By how much the winner's answer is the longer one.
    longer = np.sign(outcomes) * (np.asarray(lengths) - np.asarray(reference_lengths))
    return np.where((np.abs(outcomes) == 1) & (longer > k), 0, outcomes)


def rewards_against_references(
    compared: pl.DataFrame, tasks: pl.DataFrame, suffix: str, k: int | None
) -> dict[str, resampling.Statistic]:
    """WB-Reward under length penalty `k` as the mean over all references, wb_reward`suffix` and
    wb_reward_task_macro`suffix`, and, where there are several, against each."""
    answer = ("prompt_id", "sample")
    lengths = (compared[name].to_numpy() for name in ("policy_chars", "opponent_chars"))
    outcomes = penalised(compared["outcome"].cast(pl.Float64).fill_null(np.nan).to_numpy(), *lengths, k)
    by_reference = (
        # An outcome of 2 is a reward of 1. Answers that are empty on either side earn nothing.
        compared.with_columns(
            reward=pl.Series(outcomes / 2, dtype=pl.Float64).fill_nan(None),
            usable=pl.min_horizontal("policy_chars", "opponent_chars") > 0,
        )
        # The mean over votes; then over orders, which a missing verdict of either order takes away.
        .group_by(*answer, "opponent", "order")
        .agg(pl.col("reward").mean(), pl.col("usable").first())
        .group_by(*answer, "opponent")
        .agg(
            pl.when(pl.col("reward").is_not_null().all()).then(pl.col("reward").mean()),
            pl.col("usable").first().cast(pl.Float64),
        )
    )
    # One row per answer, one column per reference: (n, references) of rewards, and of whether they
    # count.
    references = compared["opponent"].unique().sort().to_list()
    rewards, usable = (
        by_reference.pivot("opponent", index=answer, values=name, sort_columns=True).sort(*answer)
        for name in ("reward", "usable")
    )
    keys, member = rewards["prompt_id"], member_of(rewards, tasks)
    earned = rewards.select(pl.col(references).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    counts = usable.select(pl.col(references).fill_null(0.0)).to_numpy() > 0
    columns = {"": slice(None)}
    if len(references) > 1:
        columns |= {f":{reference}": slice(number, number + 1) for number, reference in enumerate(references)}
    measured: dict[str, resampling.Statistic] = {}
    for part, chosen in columns.items():
        names = (f"wb_reward{suffix}{part}", f"wb_reward_task_macro{suffix}{part}")
        measured |= zip(names, reward_statistics(keys, earned[:, chosen], counts[:, chosen], member), strict=True)
    return measured


def reward_statistics(
    keys: Sequence[str], rewards: np.ndarray, counts: np.ndarray, member: np.ndarray
) -> tuple[resampling.Statistic, resampling.Statistic]:
    """Reward, overall and task-weighted, times 100: the plain mean of those against each reference.

    `rewards`, (n, references): -1 to 1, NaN without a verdict. `counts`, (n, references): both
    answers are usable. `member` as `membership`. An item that does not count earns nothing and
    stays in the overall denominator, and is left out of its groups, as published.
    """
    judged = ~np.isnan(rewards)
    earned, counted = np.nan_to_num(rewards) * counts, (judged & counts).astype(np.float64)
    references = rewards.shape[1]
    # (n, 2 * references): what a task adds to each reference's sum of rewards, then to each's
    # number.
    overall = np.hstack([earned, judged])
    # (n, 10 * references): for each reference the two halves that `group_means` reads.
    grouped = np.hstack(
        [np.hstack([earned[:, [column]] * member, counted[:, [column]] * member]) for column in range(references)]
    )

    def mixed(sums: np.ndarray) -> np.ndarray:
        by_reference = [resampling.ratio(sums[..., [column, references + column]]) for column in range(references)]
        return 100 * sum(by_reference) / references

    def mixed_macro(sums: np.ndarray) -> np.ndarray:
        by_reference = [macro(group_means(part)) for part in np.split(sums, references, axis=-1)]
        return 100 * sum(by_reference) / references

    return resampling.by_item(keys, overall, mixed), resampling.by_item(keys, grouped, mixed_macro)
