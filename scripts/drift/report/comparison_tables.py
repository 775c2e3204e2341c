"""The report's comparisons: by how much policies differ on a metric, and how surely.

The primary family, declared before the run, decides; all other comparisons are exploratory.
"""

from dataclasses import dataclass

from drift.benchmarks import primary
from drift.config import Config
from drift.metrics.display import Metric
from drift.metrics.significance import SEEDS
from drift.report.metric_labels import in_order, interval, metric_named, probability
from drift.report.reading import Policy
from drift.report.score_tables import Direction, benchmark_title, direction, scored_benchmarks

SIGNIFICANT = 0.05
# What a policy is compared with, by the value of comparisons.against.
AGAINST = {"base": "base model", "previous": "where it started", "method": "other method"}
NO_CLAIM = "no difference can be claimed"


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
    direction: Direction = ""  # of a difference that can be claimed


@dataclass(frozen=True)
class PrimaryTable:
    """The comparisons of the primary family."""

    rows: list[Comparison]
    # Declared, but measured by nobody: BENCHMARK: METRIC.
    missing: list[str]
    seeds: int  # trained policies behind the smallest mean
    enough_seeds: int  # from which there is a test over seeds

    @property
    def claimed(self) -> int:
        """In how many a difference can be claimed."""
        return sum(bool(row.direction) for row in self.rows)


@dataclass(frozen=True)
class ComparisonTable:
    """The exploratory comparisons on one benchmark, judge and metric."""

    title: str
    rows: list[Comparison]

    @property
    def significant(self) -> int:
        """How many comparisons remain significant after the correction."""
        return sum(bool(row.direction) for row in self.rows)


def primary_table(comparisons: list[dict], config: Config) -> PrimaryTable:
    """The declared comparisons, a row each."""
    declared = primary.family(config.model_dump(mode="json")).metrics
    family = [row for row in comparisons if row["family"] == "primary"]
    rows = [
        comparison(row, metric_named(row["metric"]))
        for benchmark, judge in scored_benchmarks(family, config)
        for row in family
        if (row["benchmark"], row["judge"]) == (benchmark, judge)
    ]
    there = {row["benchmark"] for row in family}
    missing = [f"{benchmark_title(name)}: {' or '.join(metrics)}" for name, metrics in declared.items() if name not in there]
    return PrimaryTable(rows, missing, min((row["seeds"] for row in family), default=1), SEEDS)


def comparison_tables(comparisons: list[dict], config: Config) -> list[ComparisonTable]:
    """A table a benchmark, judge and metric, of what was not declared."""
    tables, exploratory = [], [row for row in comparisons if row["family"] == "exploratory"]
    for benchmark, judge in scored_benchmarks(exploratory, config):
        rows = [row for row in exploratory if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        for metric in in_order({row["metric"] for row in rows}):
            shown = [comparison(row, metric) for row in rows if row["metric"] == metric.name]
            tables.append(ComparisonTable(measure_title(benchmark, judge, metric), shown))
    return tables


def measure_title(benchmark: str, judge: str, metric: Metric) -> str:
    """What is compared, in words."""
    return f"{benchmark_title(benchmark)}: {metric.label}" + (f", judged by {judge}" if judge else "")


def comparison(row: dict, metric: Metric) -> Comparison:
    """A comparison as it is shown. A difference is claimed where p remains below 0.05 after the
    correction and the interval does not hold 0."""
    other = Policy(row["model"], row["other_method"], row["other_iteration"], 0)
    measure = measure_title(row["benchmark"], row["judge"], metric)
    policies = Policy.of(row), other, AGAINST[row["against"]], measure, row["n"]
    if row["difference"] is None:
        return Comparison(*policies)
    corrected = row["p_holm"] if row["family"] == "primary" else row["p_fdr"]
    side = direction(row) if corrected < SIGNIFICANT else ""
    return Comparison(
        *policies,
        claim={"up": f"{row['method']} is higher", "down": f"{row['other_method']} is higher"}.get(side, NO_CLAIM),
        difference=metric.difference(row["difference"]),
        interval=interval(row, metric.difference),
        p=probability(row["p"]),
        p_corrected=probability(corrected),
        p_seeds=None if row["p_seeds"] is None else probability(row["p_seeds"]),
        direction=side,
    )
