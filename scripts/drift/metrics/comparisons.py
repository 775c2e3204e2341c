"""Which policies are compared with which, and what a comparison says: paired by item and by seed,
tested, and corrected for their number.

A few comparisons are declared before the run, the primary family: Holm's correction keeps the
chance of any false finding among them. All others are exploratory: the share of false ones among
what is found is controlled (Benjamini and Hochberg).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from drift.cli import StageError
from drift.layout import BASE, WARMUP
from drift.metrics import resampling, significance

# Exchanges for each comparison of a family, so that a single one of it can be significant.
_PER_PRIMARY, _PER_EXPLORATORY = 200, 40

# What is compared: a benchmark, a judge and a metric.
Measure = tuple[str, str, str]


@dataclass(frozen=True)
class Policy:
    """A policy by its name in the results: iteration -1 is the base model, 0 the warm-up.

    These two have seed 0, as all seeds share them; so has the mean over the seeds of a method.
    """

    model: str
    method: str
    iteration: int
    seed: int = 0

    @property
    def over_seeds(self) -> "Policy":
        """The mean over all seeds of its method and iteration."""
        return replace(self, seed=0)


@dataclass(frozen=True)
class Replicated:
    """A statistic with its bootstrap replicates."""

    statistic: resampling.Statistic
    replicates: np.ndarray


# A metric of a policy: that of each of its seeds.
Scored = Mapping[int, Replicated]


@dataclass(frozen=True)
class Resampling:
    """How comparisons are resampled: of every benchmark the clusters of its items."""

    clusters: Mapping[str, resampling.Clusters]
    resamples: int
    seed: int


@dataclass(frozen=True)
class Family:
    """What is declared before the run to be compared, in the last iteration."""

    # By benchmark its metrics, the most wanted first: the first that the judge's verdicts give
    # counts.
    metrics: Mapping[str, Sequence[str]]
    against: str  # what each method is compared with: a method, or base


def pairs(policies: Collection[Policy], starts: Mapping[str, str]) -> Iterator[tuple[str, Policy, Policy]]:
    """Every comparison within a model: of each policy with the base model, of an iteration with the
    policy that it started from, of an iteration with the same one of the methods listed later.

    `starts`: what the first iteration of each method started from, base or warmup.
    """
    policies = list(dict.fromkeys(policy.over_seeds for policy in policies))
    named = {(policy.model, policy.method, policy.iteration): policy for policy in policies}
    for number, policy in enumerate(policies):
        if policy.iteration >= 0:
            yield "base", policy, named[policy.model, BASE, -1]
        start = starts.get(policy.method, WARMUP)
        before = (policy.method, policy.iteration - 1) if policy.iteration > 1 else (start, {BASE: -1, WARMUP: 0}[start])
        # The base model has been compared already.
        if policy.iteration >= 1 and before[0] != BASE and (policy.model, *before) in named:
            yield "previous", policy, named[policy.model, *before]
        for other in policies[number + 1 :]:
            if policy.iteration >= 1 and (other.model, other.iteration) == (policy.model, policy.iteration):
                yield "method", policy, other


def paired(a: Scored, b: Scored, how: Resampling, benchmark: str) -> list[tuple[Replicated, Replicated]]:
    """Both policies seed by seed, on the items that both have; one that all seeds share meets each
    seed of the other. StageError where they have no seed in common."""
    seeds = b.keys() if a.keys() == {0} else a.keys() if b.keys() == {0} else a.keys() & b.keys()
    found = []
    for seed in sorted(seeds):
        one, other = (policy.get(seed) or policy[0] for policy in (a, b))
        statistics = resampling.shared(one.statistic, other.statistic)
        # Replicates of fewer items are made again, on the same resamples of the clusters.
        found.append(
            tuple(
                known
                if statistic is known.statistic
                else Replicated(statistic, resampling.bootstrap(statistic, how.resamples, how.seed, how.clusters[benchmark]))
                for statistic, known in zip(statistics, (one, other), strict=True)
            )
        )
    if not found:
        raise StageError(f"seeds {sorted(a)} and {sorted(b)} are compared: give both methods policies of the same seeds.")
    return found


def contrast(compared: list[tuple[Replicated, Replicated]], clusters: resampling.Clusters, seed: int) -> dict:
    """The difference of two policies' means over seeds over the items that both have, with its
    interval and the p-value over seeds."""
    n = min(len(one.statistic.keys) for one, _ in compared)
    known = {"n": n, "seeds": len(compared)}
    nothing = known | dict.fromkeys(("difference", "low", "high", "p_seeds"))
    if not n:
        return nothing
    differences = [one.statistic.value() - other.statistic.value() for one, other in compared]
    if np.isnan(differences).any():
        return nothing
    replicates = [one.replicates - other.replicates for one, other in compared]
    effective = min(clusters.effective(one.statistic.keys) for one, _ in compared)
    low, high = resampling.interval_over_seeds(differences, replicates, effective) or (None, None)
    p_seeds = significance.sign_flip_p(differences, seed)
    return known | {"difference": float(np.mean(differences)), "low": low, "high": high, "p_seeds": p_seeds}


def contrasts(
    policies: Collection[Policy],
    scored: Mapping[tuple[Policy, *Measure], Scored],
    headlines: Collection[str],
    family: Family,
    starts: Mapping[str, str],
    how: Resampling,
) -> list[dict]:
    """All comparisons that `scored`, by mean over seeds, benchmark, judge and metric, allows: by
    the metrics `headlines`, and of the `family` by its own.

    Never of verdicts of two judges: the judge is part of what is compared.
    """
    compared = list(pairs(policies, starts))
    primary = primary_comparisons(compared, scored, family)
    measures = {(benchmark, judge, metric) for _, benchmark, judge, metric in scored}
    rows, tested = [], {}
    for measure in sorted(measures):
        for number, (against, policy, other) in enumerate(compared):
            declared = (number, measure) in primary
            there = (policy, *measure) in scored and (other, *measure) in scored
            if not there or not (declared or measure[-1] in headlines):
                continue
            both = paired(scored[policy, *measure], scored[other, *measure], how, measure[0])
            row = (
                {"model": policy.model, "method": policy.method, "iteration": policy.iteration}
                | {"other_method": other.method, "other_iteration": other.iteration, "against": against}
                | dict(zip(("benchmark", "judge", "metric"), measure, strict=True))
                | {"family": "primary" if declared else "exploratory"}
                | contrast(both, how.clusters[measure[0]], how.seed)
                | dict.fromkeys(("p", "p_holm", "p_fdr"))
            )
            rows.append(row)
            if row["difference"] is not None:
                tested.setdefault((row["family"], measure[0]), []).append(
                    (row, [(one.statistic, another.statistic) for one, another in both])
                )
    test(tested, how)
    return rows


def primary_comparisons(
    compared: Sequence[tuple[str, Policy, Policy]], scored: Collection[tuple[Policy, *Measure]], family: Family
) -> set[tuple[int, Measure]]:
    """The comparisons of the primary family, each with its place in `compared`."""
    last = {}
    for _, policy, _ in compared:
        last[policy.model] = max(policy.iteration, last.get(policy.model, 1))
    chosen = []
    for number, (against, policy, other) in enumerate(compared):
        with_it = (
            against == "base" if family.against == BASE else against == "method" and family.against in _methods(policy, other)
        )
        if with_it and policy.iteration == last[policy.model]:
            chosen.append((number, policy, other))
    both = [policy for _, *them in chosen for policy in them]
    judged = sorted({(benchmark, judge) for _, benchmark, judge, _ in scored})
    metrics = {
        (benchmark, judge): next(
            (
                name
                for name in family.metrics.get(benchmark, ())
                if all((one, benchmark, judge, name) in scored for one in both)
            ),
            None,
        )
        for benchmark, judge in judged
    }
    return {(number, (*where, metric)) for number, *_ in chosen for where, metric in metrics.items() if metric is not None}


def _methods(*policies: Policy) -> set[str]:
    return {policy.method for policy in policies}


def test(tested: Mapping[tuple[str, str], list[tuple[dict, significance.Compared]]], how: Resampling) -> None:
    """Put the p-values into the rows: `tested` has those of each family and benchmark, with their
    statistics."""
    for family, each, correction, column in (
        ("primary", _PER_PRIMARY, significance.holm, "p_holm"),
        ("exploratory", _PER_EXPLORATORY, significance.benjamini_hochberg, "p_fdr"),
    ):
        of_family = {benchmark: them for (name, benchmark), them in tested.items() if name == family}
        rows = [row for them in of_family.values() for row, _ in them]
        permutations = max(significance.PERMUTATIONS, each * len(rows))
        for benchmark, them in of_family.items():
            found = significance.permutation_p([both for _, both in them], how.clusters[benchmark], permutations, how.seed)
            for (row, _), p in zip(them, found, strict=True):
                row["p"] = p
        for row, adjusted in zip(rows, correction([row["p"] for row in rows]), strict=True):
            row[column] = adjusted
