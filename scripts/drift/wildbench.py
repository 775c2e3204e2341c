"""WildBench v2: WB-Score from a judge's scores of single answers, WB-Reward from its comparisons with a reference model's.

Source of the idea: Lin et al. 2024, "WildBench" (arXiv:2406.04770). Where the paper leaves a choice open, this is what the
published leaderboard does; scripts/check_golden.py recomputes that leaderboard with the functions here.

A task counts in every group that one of its tags belongs to. Judge scores are 1 to 10; a group that is not there (no task of a
subset is in it) is absent from the mappings, and None stands for a figure that is not defined.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from drift.cli import StageError

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

REWARD_OF_OUTCOME = {"win_much": 1.0, "win": 0.5, "tie": 0.0, "lose": -0.5, "lose_much": -1.0}
_OUTCOME_OF_CHOICE = {"A++": "win_much", "A+": "win", "A=B": "tie", "B+": "lose", "B++": "lose_much"}
_MIRRORED = dict(zip(REWARD_OF_OUTCOME, reversed(REWARD_OF_OUTCOME), strict=True))


def groups_of(tags: Iterable[str]) -> frozenset[str]:
    """The groups of a task, from its primary and secondary tags together."""
    try:
        return frozenset(GROUP_OF_TAG[tag] for tag in tags)
    except KeyError as error:
        raise StageError(f"WildBench has no tag {error}: correct it to one of {', '.join(GROUP_OF_TAG)}.") from error


def task_macro(by_group: Mapping[str, float], version: str = LATEST) -> float | None:
    """The weighted mean of figures by group, over the groups that are there and divided by their weights alone."""
    weights = {group: GROUP_WEIGHTS[version][group] for group in by_group}
    return sum(weights[group] * by_group[group] for group in by_group) / sum(weights.values()) if weights else None


# ------------------------------------------------------------------------------------------------------------- WB-Score


def adjusted(score: float) -> float:
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


def group_scores(scores: np.ndarray, counts: np.ndarray, groups: Sequence[Collection[str]]) -> dict[str, float]:
    """Adjusted mean score by group, -8 to 10. `counts`, (n,), is `usable`; `groups`, n sets, holds each task's groups."""
    members = {
        group: [score for score, counted, of_task in zip(scores, counts, groups, strict=True) if counted and group in of_task]
        for group in GROUP_WEIGHTS[LATEST]
    }
    return {group: adjusted(float(np.mean(values))) for group, values in members.items() if values}


# ------------------------------------------------------------------------------------------------------------ WB-Reward


def outcome(choice: str, model_is_a: bool) -> str:
    """What a judge's choice (A++, A+, A=B, B+, B++) is for the model: win_much, win, tie, lose or lose_much."""
    if choice not in _OUTCOME_OF_CHOICE:
        raise StageError(f"a WildBench judge chose {choice!r}: ask again for one of {', '.join(_OUTCOME_OF_CHOICE)}.")
    of_a = _OUTCOME_OF_CHOICE[choice]
    return of_a if model_is_a else _MIRRORED[of_a]


def penalised(of_model: str, model_length: int, reference_length: int, k: int) -> str:
    """The outcome under length penalty `k`: a slight win by more than k characters more is a tie. Below 0 there is none.

    Lengths in characters. It holds for either side; what was much better or much worse stays so.
    """
    longer = {"win": model_length - reference_length, "lose": reference_length - model_length}
    return "tie" if k >= 0 and of_model in longer and longer[of_model] > k else of_model


def reward(counts: Mapping[str, int], total: int) -> float | None:
    """Mean reward, -1 to 1, of `counts` by outcome over `total` tasks."""
    return sum(value * counts.get(name, 0) for name, value in REWARD_OF_OUTCOME.items()) / total if total else None


def group_rewards(counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Mean reward by group, from counts by group and outcome; a group's total is what was counted in it."""
    totals = {group: sum(of_group.get(name, 0) for name in REWARD_OF_OUTCOME) for group, of_group in counts.items()}
    return {group: reward(counts[group], total) for group, total in totals.items() if total}


def count_outcomes(
    outcomes: Sequence[str], counts: Sequence[bool], groups: Sequence[Collection[str]]
) -> tuple[Counter, dict[str, Counter]]:
    """Tasks by outcome, overall and by group, where `counts`: both answers, the model's and the reference's, are usable.

    For the overall reward divide by all tasks: one that does not count here earns nothing there, as published.
    """
    kept = [(of_task, name) for name, counted, of_task in zip(outcomes, counts, groups, strict=True) if counted]
    return Counter(name for _, name in kept), {
        group: Counter(name for of_task, name in kept if group in of_task) for group in GROUP_WEIGHTS[LATEST]
    }


def mix(rewards: Sequence[float | None]) -> float | None:
    """The plain mean of the rewards against several references; not defined where one of them is missing."""
    return None if None in rewards or not rewards else sum(rewards) / len(rewards)
