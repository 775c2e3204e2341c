"""The report's comparisons: by how much policies differ on a metric, and how surely."""

from dataclasses import dataclass

from drift.config import Config
from drift.metrics.display import Metric
from drift.report.metric_labels import in_order, interval, probability
from drift.report.reading import Policy
from drift.report.score_tables import Direction, benchmark_title, scored_benchmarks

SIGNIFICANT = 0.05
# What a policy is compared with, by the value of comparisons.against.
AGAINST = {"base": "base model", "previous": "iteration before", "method": "other method"}


@dataclass(frozen=True)
class Comparison:
    """Two policies on one metric; the difference is None where it is not defined."""

    policy: Policy
    other: Policy
    against: str
    n: int
    difference: str | None = None
    interval: str | None = None
    p: str | None = None
    p_holm: str | None = None
    direction: Direction = ""  # of a difference that remains significant after the correction


@dataclass(frozen=True)
class ComparisonTable:
    """The comparisons on one benchmark, judge and metric."""

    title: str
    rows: list[Comparison]

    @property
    def significant(self) -> int:
        """How many comparisons remain significant after the correction."""
        return sum(bool(row.direction) for row in self.rows)


def comparison_tables(comparisons: list[dict], config: Config) -> list[ComparisonTable]:
    """A table a benchmark, judge and metric."""
    tables = []
    for benchmark, judge in scored_benchmarks(comparisons, config):
        rows = [row for row in comparisons if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        for metric in in_order({row["metric"] for row in rows}):
            title = f"{benchmark_title(benchmark)}: {metric.label}" + (f", judged by {judge}" if judge else "")
            tables.append(ComparisonTable(title, [comparison(row, metric) for row in rows if row["metric"] == metric.name]))
    return tables


def comparison(row: dict, metric: Metric) -> Comparison:
    """A comparison as it is shown."""
    other = Policy(row["model"], row["other_method"], row["other_iteration"], row["seed"] if row["other_iteration"] > 0 else 0)
    policies = Policy.of(row), other, AGAINST[row["against"]], row["n"]
    if row["difference"] is None:
        return Comparison(*policies)
    significant = row["p_holm"] < SIGNIFICANT
    return Comparison(
        *policies,
        difference=metric.difference(row["difference"]),
        interval=interval(row, metric.difference),
        p=probability(row["p"]),
        p_holm=probability(row["p_holm"]),
        direction=("up" if row["difference"] > 0 else "down") if significant else "",
    )
