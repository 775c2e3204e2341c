"""WildBench v2: WB-Score from a judge's scores of single answers, WB-Reward from its comparisons with a reference model's.

Source of the idea: Lin et al. 2024, "WildBench" (arXiv:2406.04770). Where the paper leaves a choice open, this is what the
published leaderboard does; tools/check_golden.py recomputes that leaderboard with the functions here.

A task counts in every group that one of its tags belongs to. Judge scores are 1 to 10; a group that is not there (no task of a
subset is in it) is absent from the mappings, and None stands for a figure that is not defined.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from drift.cli import StageError
from drift.metrics import resampling

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

# What a group weighs in a task-weighted mean, by version of the leaderboard. The published means of 2.0522 fit coding at 1.
GROUP_WEIGHTS = {
    "v2.0625": {CREATIVE: 0.5, PLANNING: 1.25, MATH: 1.0, INFORMATION: 0.75, CODING: 1.25},
    "v2.0522": {CREATIVE: 0.5, PLANNING: 1.25, MATH: 1.0, INFORMATION: 0.75, CODING: 1.0},
}
LATEST = "v2.0625"

GROUPS = tuple(GROUP_WEIGHTS[LATEST])

REWARD_OF_OUTCOME = {"win_much": 1.0, "win": 0.5, "tie": 0.0, "lose": -0.5, "lose_much": -1.0}
PENALTY = 500  # characters: the length penalty of the published board


def groups_of(tags: Iterable[str]) -> frozenset[str]:
    """The groups of a task, from its primary and secondary tags together."""
    try:
        return frozenset(GROUP_OF_TAG[tag] for tag in tags)
    except KeyError as error:
        raise StageError(f"WildBench has no tag {error}: correct it to one of {', '.join(GROUP_OF_TAG)}.") from error


def macro(figures: np.ndarray, version: str = LATEST) -> np.ndarray:
    """The weighted mean, (...), of figures by group, (..., 5) in the order of GROUPS.

    A group that is NaN is not there: the others are divided by their weights alone. NaN where none is there.
    """
    weights = np.where(np.isnan(figures), 0.0, [GROUP_WEIGHTS[version][group] for group in GROUPS])
    total = weights.sum(axis=-1)
    summed = (weights * np.nan_to_num(figures)).sum(axis=-1)
    return np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)


def task_macro(by_group: Mapping[str, float], version: str = LATEST) -> float | None:
    """`macro` of figures by group's name; None where there is no group."""
    return float(macro(np.array([by_group.get(group, np.nan) for group in GROUPS]), version)) if by_group else None


def membership(groups: Sequence[Collection[str]]) -> np.ndarray:
    """Which task, (n,), is in which of GROUPS: (n, 5) of 0 and 1."""
    return np.array([[group in of_task for group in GROUPS] for of_task in groups], dtype=np.float64).reshape(-1, len(GROUPS))


def group_means(sums: np.ndarray) -> np.ndarray:
    """Means by group, (..., 5), of the sums of values and then of counts by group, (..., 10); NaN where nothing counts."""
    values, counts = sums[..., : len(GROUPS)], sums[..., len(GROUPS) :]
    return np.divide(values, counts, out=np.full(values.shape, np.nan), where=counts > 0)


# ------------------------------------------------------------------------------------------------------------- WB-Score


def adjusted(score: float | np.ndarray) -> float | np.ndarray:
    """A mean judge score, 1 to 10, on the scale where 5 is 0: -8 to 10."""
    return (score - 5) * 2


def usable(lengths: np.ndarray, truncated: np.ndarray) -> np.ndarray:
    """Which answers, (n,), count in groups, lengths and rewards: those neither empty nor cut for the judge."""
    return (np.asarray(lengths) > 0) & ~np.asarray(truncated, dtype=bool)


def wb_score(scores: np.ndarray, lengths: np.ndarray, truncated: np.ndarray) -> dict[str, float | int | None]:
    """A model's figures over all tasks, under the leaderboard's names.

    `scores`, (n,): 1 to 10, of the tasks whose verdict could be read, empty answers with them. `lengths`, (n,): characters.
    score is their mean, adjusted_score the same on -8 to 10, WB_score ten times that; avg_len is over usable answers.
    """
    lengths = np.asarray(lengths)[usable(lengths, truncated)]
    mean = float(np.mean(scores)) if len(scores) else None
    return {
        "score": mean,
        "adjusted_score": None if mean is None else adjusted(mean),
        "WB_score": None if mean is None else 10 * adjusted(mean),
        "total": len(scores),
        "avg_len": float(np.mean(lengths)) if len(lengths) else None,
    }


def score_figures(
    keys: Sequence[str], scores: np.ndarray, lengths: np.ndarray, member: np.ndarray
) -> dict[str, resampling.Figure]:
    """A policy's figures from its judge scores, (n,), NaN without one; `lengths`, (n,) characters; `member` as `membership`.

    wb_score_raw is on 1 to 10, wb_score_adjusted on -8 to 10; the others are ten times the latter, as the leaderboard shows them.
    """
    scores, counted = np.asarray(scores, dtype=np.float64), usable(lengths, np.zeros(len(lengths)))[:, None] * member
    each = np.column_stack([scores, np.ones(len(scores))])
    grouped = np.hstack([scores[:, None] * counted, counted])

    def figure(parts: np.ndarray, follows: Callable) -> resampling.Figure:
        return resampling.by_item(keys, parts, follows)

    found = {
        "wb_score_task_macro": figure(grouped, lambda sums: 10 * macro(adjusted(group_means(sums)))),
        "wb_score": figure(each, lambda sums: 10 * adjusted(resampling.ratio(sums))),
        "wb_score_raw": figure(each, resampling.ratio),
        "wb_score_adjusted": figure(each, lambda sums: adjusted(resampling.ratio(sums))),
    }
    # A lambda of a loop would see the last group in all of them.
    of = {f"wb_score:{group}": lambda sums, at=at: 10 * adjusted(group_means(sums)[..., at]) for at, group in enumerate(GROUPS)}
    return found | {name: figure(grouped, follows) for name, follows in of.items()}


# ------------------------------------------------------------------------------------------------------------ WB-Reward


def penalised(outcomes: np.ndarray, lengths: np.ndarray, reference_lengths: np.ndarray, k: int) -> np.ndarray:
    """Outcomes, (n,) of -2 to 2, under length penalty `k`: a slight win by more than k characters more is a tie.

    Lengths, (n,), in characters. It holds for either side; what was much better or much worse stays so. Below 0: no penalty.
    """
    longer = np.sign(outcomes) * (np.asarray(lengths) - np.asarray(reference_lengths))
    return np.where((k >= 0) & (np.abs(outcomes) == 1) & (longer > k), 0, outcomes)


def reward(counts: Mapping[str, int], total: int) -> float | None:
    """Mean reward, -1 to 1, of `counts` by outcome over `total` tasks."""
    return sum(value * counts.get(name, 0) for name, value in REWARD_OF_OUTCOME.items()) / total if total else None


def group_rewards(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Mean reward by group, from counts by group and outcome; a group's total is what was counted in it."""
    totals = {group: sum(of_group.get(name, 0) for name in REWARD_OF_OUTCOME) for group, of_group in counts.items()}
    return {group: reward(counts[group], total) for group, total in totals.items() if total}


def reward_figures(
    keys: Sequence[str], rewards: np.ndarray, counts: np.ndarray, member: np.ndarray
) -> tuple[resampling.Figure, resampling.Figure]:
    """Reward, overall and task-weighted, times 100: the plain mean of those against each reference.

    `rewards`, (n, references): -1 to 1, NaN without a verdict. `counts`, (n, references): both answers are usable. An item that
    does not count earns nothing and stays in the overall denominator, and is left out of its groups, as published.
    """
    judged = ~np.isnan(rewards)
    earned, counted = np.nan_to_num(rewards) * counts, (judged & counts).astype(np.float64)
    references = rewards.shape[1]
    overall = np.hstack([earned, judged])
    grouped = [np.hstack([earned[:, [at]] * member, counted[:, [at]] * member]) for at in range(references)]

    def mixed(sums: np.ndarray) -> np.ndarray:
        of_each = [resampling.ratio(sums[..., [at, references + at]]) for at in range(references)]
        return 100 * sum(of_each) / references

    def mixed_macro(sums: np.ndarray) -> np.ndarray:
        return 100 * sum(macro(group_means(part)) for part in np.split(sums, references, axis=-1)) / references

    return resampling.by_item(keys, overall, mixed), resampling.by_item(keys, np.hstack(grouped), mixed_macro)


def mix(rewards: Sequence[float | None]) -> float | None:
    """The plain mean of the rewards against several references; not defined where one of them is missing."""
    return None if None in rewards or not rewards else sum(rewards) / len(rewards)
