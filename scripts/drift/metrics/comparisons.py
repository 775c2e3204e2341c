"""Which policies are compared with which, and what a comparison says: paired by item, tested, and corrected for their number."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drift.metrics import resampling

# What is compared: one headline or two of each benchmark. Every further row makes all others harder to believe.
COMPARED = (
    "win_rate",
    "written_win_rate",
    "length_controlled_win_rate",
    "judge_score",
    "wb_score_task_macro",
    "wb_reward_task_macro_k500",
    "margin",
)


@dataclass(frozen=True)
class Policy:
    """A policy by its name in the results: iteration -1 is the base model, 0 the warm-up."""

    model: str
    method: str
    iteration: int
    folder: Path


@dataclass(frozen=True)
class Scored:
    """A figure of a policy, with its bootstrap replicates."""

    figure: resampling.Figure
    replicates: np.ndarray


def pairs(policies: list[Policy]) -> Iterator[tuple[str, Policy, Policy]]:
    """Every comparison within a model: of each policy with the base model, of an iteration with the one before (the warm-up for
    the first), of an iteration with the same one of the methods listed later."""
    at = {(policy.model, policy.method, policy.iteration): policy for policy in policies}
    for policy in policies:
        if policy.iteration >= 0:
            yield "base", policy, at[policy.model, "base", -1]
        before = (policy.model, policy.method if policy.iteration > 1 else "warmup", policy.iteration - 1)
        if policy.iteration >= 1 and before in at:
            yield "previous", policy, at[before]
        for other in policies[policies.index(policy) + 1 :]:
            if policy.iteration >= 1 and (other.model, other.iteration) == (policy.model, policy.iteration):
                yield "method", policy, other


def contrast(a: Scored, b: Scored, resamples: int, seed: int) -> dict:
    """The difference of two policies' figures over the items that both have: its interval and its p-value."""
    mine, other = resampling.shared(a.figure, b.figure)
    n = len(mine.keys)
    if not n:
        return {"n": 0, **dict.fromkeys(("difference", "low", "high", "p"))}
    # Replicates of the same items are of the same resamples; on other items they have to be made anew.
    replicates = [
        one.replicates if figure is one.figure else resampling.bootstrap(figure, resamples, seed)
        for figure, one in ((mine, a), (other, b))
    ]
    difference = mine.value() - other.value()
    if np.isnan(difference):
        return {"n": n, **dict.fromkeys(("difference", "low", "high", "p"))}
    low, high = resampling.interval(replicates[0] - replicates[1]) or (None, None)
    return {"n": n, "difference": difference, "low": low, "high": high, "p": resampling.permutation_p(mine, other, seed=seed)}


def contrasts(
    policies: list[Policy], scored: dict[tuple[Policy, str, str, str], Scored], resamples: int, seed: int
) -> list[dict]:
    """All comparisons that `scored`, by policy, benchmark, judge and metric, allows; p_holm is over all of them together.

    Never of verdicts of two judges: the judge is part of what is compared.
    """
    rows, compared = [], list(pairs(policies))
    # Metric by metric: what is drawn at random for one number of items is then made once.
    for what in sorted({tuple(what) for _, *what in scored if what[-1] in COMPARED}):
        for against, policy, other in compared:
            if (policy, *what) in scored and (other, *what) in scored:
                rows.append(
                    {"model": policy.model, "method": policy.method, "iteration": policy.iteration}
                    | {"other_method": other.method, "other_iteration": other.iteration, "against": against}
                    | dict(zip(("benchmark", "judge", "metric"), what, strict=True))
                    | contrast(scored[policy, *what], scored[other, *what], resamples, seed)
                )
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, resampling.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    return rows
