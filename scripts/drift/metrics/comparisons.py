"""Which policies are compared with which, and what a comparison says: paired by item, tested, and
corrected for their number."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from drift.metrics import resampling


@dataclass(frozen=True)
class Policy:
    """A policy by its name in the results: iteration -1 is the base model, 0 the warm-up; both have
    seed 0, as all seeds share them."""

    model: str
    method: str
    iteration: int
    seed: int


@dataclass(frozen=True)
class Scored:
    """A statistic of a policy, with its bootstrap replicates."""

    statistic: resampling.Statistic
    replicates: np.ndarray


def pairs(policies: list[Policy]) -> Iterator[tuple[str, Policy, Policy]]:
    """Every comparison within a model: of each policy with the base model, of an iteration with the
    one before (the warm-up for the first), of an iteration with the same one of the methods listed
    later. Iterations are those of one seed."""
    named = {(policy.model, policy.method, policy.iteration, policy.seed): policy for policy in policies}
    for number, policy in enumerate(policies):
        if policy.iteration >= 0:
            yield "base", policy, named[policy.model, "base", -1, 0]
        last = (policy.method, policy.iteration - 1, policy.seed) if policy.iteration > 1 else ("warmup", 0, 0)
        before = (policy.model, *last)
        if policy.iteration >= 1 and before in named:
            yield "previous", policy, named[before]
        for other in policies[number + 1 :]:
            same = (other.model, other.iteration, other.seed) == (policy.model, policy.iteration, policy.seed)
            if policy.iteration >= 1 and same:
                yield "method", policy, other


def contrast(a: Scored, b: Scored, resamples: int, seed: int) -> dict:
    """The difference of two policies' statistics over the items that both have: its interval and
    its p-value."""
    mine, other = resampling.shared(a.statistic, b.statistic)
    n = len(mine.keys)
    if not n:
        return {"n": 0, **dict.fromkeys(("difference", "low", "high", "p"))}
    # Replicates of the same items are of the same resamples; of fewer items they are made again.
    replicates = [
        scored.replicates if statistic is scored.statistic else resampling.bootstrap(statistic, resamples, seed)
        for statistic, scored in ((mine, a), (other, b))
    ]
    difference = mine.value() - other.value()
    if np.isnan(difference):
        return {"n": n, **dict.fromkeys(("difference", "low", "high", "p"))}
    low, high = resampling.interval(replicates[0] - replicates[1]) or (None, None)
    return {"n": n, "difference": difference, "low": low, "high": high, "p": resampling.permutation_p(mine, other, seed=seed)}


def contrasts(
    policies: list[Policy],
    scored: dict[tuple[Policy, str, str, str], Scored],
    headlines: Collection[str],
    resamples: int,
    seed: int,
) -> list[dict]:
    """All comparisons by the metrics `headlines` that `scored`, by policy, benchmark, judge and
    metric, allows; p_holm is over all of them together.

    Never of verdicts of two judges: the judge is part of what is compared.
    """
    rows, compared = [], list(pairs(policies))
    # Metric by metric: what is drawn at random for one number of items is then made once.
    for measure in sorted({tuple(measure) for _, *measure in scored if measure[-1] in headlines}):
        for against, policy, other in compared:
            if (policy, *measure) in scored and (other, *measure) in scored:
                rows.append(
                    {"model": policy.model, "method": policy.method, "iteration": policy.iteration, "seed": policy.seed}
                    | {"other_method": other.method, "other_iteration": other.iteration, "against": against}
                    | dict(zip(("benchmark", "judge", "metric"), measure, strict=True))
                    | contrast(scored[policy, *measure], scored[other, *measure], resamples, seed)
                )
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, resampling.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    return rows
