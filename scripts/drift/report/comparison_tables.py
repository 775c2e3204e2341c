"""The report's comparisons: by how much policies differ on a metric, and how surely.

The primary family, declared before the run, decides; all other comparisons are exploratory.
"""

from collections.abc import Set
from dataclasses import dataclass

from drift.benchmarks import primary
from drift.config import Config
from drift.metrics.display import Metric, percent
from drift.metrics.significance import SEEDS
from drift.report.forest import Mark, Scale
from drift.report.metric_labels import in_order, interval, metric_named, probability
from drift.report.reading import Policy
from drift.report.score_tables import Colours, Direction, benchmark_title, scored_benchmarks

SIGNIFICANT = 0.05
# What a policy is compared with, by the value of comparisons.against.
AGAINST = {"base": "base model", "previous": "where it started", "method": "other method"}
NO_CLAIM = "no difference can be claimed"
# Where the judge's verdicts mean nothing (drift.report.judge_behaviour) there is no difference to
# claim, whatever its p is.
VOID = "nothing: its judge's verdicts mean nothing here"


@dataclass(frozen=True)
class Comparison:
    """Two policies on one metric; the difference is None where it is not defined."""

    policy: Policy
    other: Policy
    against: str
    measure: str
    n: int
    claim: str = NO_CLAIM
    difference: str | None = None
    interval: str | None = None
    p: str | None = None
    p_corrected: str | None = None
    p_seeds: str | None = None
    claimed: bool = False
    direction: Direction = ""  # of a difference that can be claimed, by the metric's polarity
    mark: Mark | None = None


@dataclass(frozen=True)
class PrimaryTable:
    """The comparisons of the primary family."""

    rows: list[Comparison]
    # Declared, but measured by nobody: BENCHMARK: METRIC.
    missing: list[str]
    seeds: int  # trained policies behind the smallest mean
    enough_seeds: int  # from which there is a test over seeds

    @property
    def all_against_base(self) -> bool:
        """Whether the verdict at the top of the page has all of them."""
        return all(row.other.iteration == -1 for row in self.rows)

    @property
    def claimed(self) -> int:
        """In how many a difference can be claimed."""
        return sum(row.claimed for row in self.rows)


@dataclass(frozen=True)
class ComparisonTable:
    """The exploratory comparisons on one benchmark, judge and metric."""

    benchmark: str
    title: str
    rows: list[Comparison]

    @property
    def significant(self) -> int:
        """How many comparisons remain significant after the correction."""
        return sum(row.claimed for row in self.rows)


def primary_table(comparisons: list[dict], config: Config, void: Set[tuple[str, str]] = frozenset()) -> PrimaryTable:
    """The declared comparisons, a row each. `void`: benchmarks and judges whose verdicts mean
    nothing."""
    declared = primary.family(config.model_dump(mode="json")).metrics
    family = [row for row in comparisons if row["family"] == "primary"]
    marks = scales(family)
    rows = [
        comparison(row, marks, void)
        for benchmark, judge in scored_benchmarks(family, config)
        for row in family
        if (row["benchmark"], row["judge"]) == (benchmark, judge)
    ]
    there = {row["benchmark"] for row in family}
    missing = [f"{benchmark_title(name)}: {' or '.join(metrics)}" for name, metrics in declared.items() if name not in there]
    return PrimaryTable(rows, missing, min((row["seeds"] for row in family), default=1), SEEDS)


def comparison_tables(
    comparisons: list[dict], config: Config, void: Set[tuple[str, str]] = frozenset()
) -> list[ComparisonTable]:
    """A table a benchmark, judge and metric, of what was not declared. `void`: as of
    primary_table."""
    tables, exploratory = [], [row for row in comparisons if row["family"] == "exploratory"]
    for benchmark, judge in scored_benchmarks(exploratory, config):
        rows = [row for row in exploratory if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        for metric in in_order({row["metric"] for row in rows}):
            its_rows = [row for row in rows if row["metric"] == metric.name]
            marks = scales(its_rows)
            shown = [comparison(row, marks, void) for row in its_rows]
            tables.append(ComparisonTable(benchmark, measure_title(benchmark, judge, metric), shown))
    return tables


def measure_title(benchmark: str, judge: str, metric: Metric) -> str:
    """What is compared, in words."""
    return f"{benchmark_title(benchmark)}: {metric.label}" + (f", judged by {judge}" if judge else "")


def scales(rows: list[dict]) -> dict[str, Scale]:
    """The scale of every metric's differences; shares have one in common."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(_kind(metric_named(row["metric"])), []).append(row)
    found = {kind: Scale.of(members) for kind, members in groups.items()}
    return {row["metric"]: found[_kind(metric_named(row["metric"]))] for row in rows}


def _kind(metric: Metric) -> str:
    return "share" if metric.text is percent else metric.name


def claimed_sign(row: dict) -> int:
    """The sign of a difference that can be claimed; 0: none can. It can where p remains below 0.05
    after the correction and the interval does not hold 0."""
    corrected = row["p_holm"] if row["family"] == "primary" else row["p_fdr"]
    if row["difference"] is None or row["low"] is None or corrected is None or corrected >= SIGNIFICANT:
        return 0
    return 1 if row["low"] > 0 else -1 if row["high"] < 0 else 0


def coloured(metric: Metric, sign: int) -> Direction:
    """The colour of a difference that can be claimed: by what is better."""
    if not sign or metric.better == "neither":
        return ""
    return "good" if (sign > 0) == (metric.better == "higher") else "bad"


def claimed_colours(comparisons: list[dict], void: Set[tuple[str, str]]) -> Colours:
    """The colour of every score whose difference from the base model's can be claimed."""
    return {
        (Policy.of(row), row["benchmark"], row["judge"], row["metric"]): coloured(
            metric_named(row["metric"]), claimed_sign(row)
        )
        for row in comparisons
        if row["against"] == "base" and (row["benchmark"], row["judge"]) not in void
    }


def comparison(row: dict, marks: dict[str, Scale], void: Set[tuple[str, str]]) -> Comparison:
    """A comparison as it is shown; `marks`: the scale of every metric."""
    metric = metric_named(row["metric"])
    other = Policy(row["model"], row["other_method"], row["other_iteration"], 0)
    measure = measure_title(row["benchmark"], row["judge"], metric)
    policies = Policy.of(row), other, AGAINST[row["against"]], measure, row["n"]
    nothing = (row["benchmark"], row["judge"]) in void
    if row["difference"] is None:
        return Comparison(*policies, claim=VOID if nothing else NO_CLAIM)
    sign = 0 if nothing else claimed_sign(row)
    colour = coloured(metric, sign)
    words = {"good": "better", "bad": "worse", "": "higher" if sign > 0 else "lower"}
    return Comparison(
        *policies,
        claim=f"{row['method']} is {words[colour]}" if sign else VOID if nothing else NO_CLAIM,
        difference=metric.difference(row["difference"]),
        interval=interval(row, metric.difference),
        p=probability(row["p"]),
        p_corrected=probability(row["p_holm"] if row["family"] == "primary" else row["p_fdr"]),
        p_seeds=None if row["p_seeds"] is None else probability(row["p_seeds"]),
        claimed=bool(sign),
        direction=colour,
        mark=marks[row["metric"]].mark(row),
    )
