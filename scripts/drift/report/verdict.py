"""The first screen: whether the last policy of each method got better than the base model, on what,
by how much, and at what cost."""

from collections.abc import Set
from dataclasses import dataclass

from drift.config import Config
from drift.metrics.display import Metric
from drift.report.comparison_tables import NO_CLAIM, Comparison, comparison, scales
from drift.report.metric_labels import in_order
from drift.report.reading import Policy
from drift.report.score_tables import benchmark_title, scored_benchmarks


@dataclass(frozen=True)
class Finding:
    """The last policy of a method against the base model, on one evaluation set by one metric."""

    benchmark: str
    title: str
    judge: str
    metric: Metric
    comparison: Comparison
    base: str | None  # the two values; None where the score is withheld or not defined
    last: str | None
    declared: bool  # before the run

    @property
    def result(self) -> str:
        """What may be claimed, in a word or two."""
        found = self.comparison
        if not found.claimed:
            return found.claim
        return {"good": "better", "bad": "worse", "": "different"}[found.direction]


@dataclass(frozen=True)
class Verdict:
    """The last policy of a method, and what was found of it."""

    policy: Policy
    sentence: str
    findings: list[Finding]


def verdicts(scores: list[dict], comparisons: list[dict], config: Config, void: Set[tuple[str, str]]) -> list[Verdict]:
    """A verdict a model and method, from rows of Scores and Comparisons (seed 0: means over seeds).
    `void`: benchmarks and judges whose verdicts mean nothing."""
    against_base = [row for row in comparisons if row["against"] == "base" and row["method"] in config.methods]
    last: dict[tuple[str, str], int] = {}
    for row in against_base:
        key = row["model"], row["method"]
        last[key] = max(last.get(key, row["iteration"]), row["iteration"])
    shown = [row for row in against_base if row["iteration"] == last[row["model"], row["method"]]]
    values = {
        (Policy.of(row), row["benchmark"], row["judge"], row["metric"]): row["value"] for row in scores if row["seed"] == 0
    }
    marks = scales(shown)
    found: dict[Policy, list[Finding]] = {}
    for benchmark, judge in scored_benchmarks(shown, config):
        rows = [row for row in shown if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        for metric in in_order({row["metric"] for row in rows}):
            for row in (row for row in rows if row["metric"] == metric.name):
                one = comparison(row, marks, void)
                measured = (values.get((policy, benchmark, judge, metric.name)) for policy in (one.other, one.policy))
                base, own = (None if value is None else metric.text(value) for value in measured)
                found.setdefault(one.policy, []).append(
                    Finding(
                        benchmark,
                        benchmark_title(benchmark),
                        judge,
                        metric,
                        one,
                        base,
                        own,
                        row["family"] == "primary",
                    )
                )
    ordered = sorted(found, key=lambda policy: policy.position(config))
    return [Verdict(policy, sentence(policy, found[policy], config), found[policy]) for policy in ordered]


def sentence(policy: Policy, findings: list[Finding], config: Config) -> str:
    """What was found of a policy, in a sentence."""
    name = f"The last policy, {policy.named(config)},"
    claimed = [one for one in findings if one.comparison.claimed]
    open_ones = [one for one in findings if one.comparison.claim == NO_CLAIM]
    if not claimed and not open_ones:
        return f"{name} cannot be judged: the verdicts of its judges mean nothing here."
    if not claimed:
        where = f"on {findings[0].title}" if len(findings) == 1 else f"on any of {len(findings)} measures"
        return f"No difference can be claimed between the base model and {policy.named(config)} {where}."
    groups: dict[str, dict[str, list[str]]] = {}
    for one in claimed:
        titles = groups.setdefault(one.result, {})
        titles.setdefault(one.title, []).append(f"{one.metric.label.lower()} {one.comparison.difference}")
    words = {"better": "better than", "worse": "worse than", "different": "different from"}
    text = f"{name} is " + " and ".join(
        f"{words[result]} the base model on " + ", ".join(f"{title} ({'; '.join(which)})" for title, which in titles.items())
        for result, titles in groups.items()
    )
    rest = len(findings) - len(claimed)
    others = "" if not rest else f"; on {rest} other {'measure' if rest == 1 else 'measures'} no difference can be claimed"
    return f"{text}{others}."
