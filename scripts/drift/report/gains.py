"""What a method's last policy gained and lost against the base model, by benchmark: judged answers
next to what code decides, so that a win rate cannot hide what the training costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from drift.benchmarks import primary
from drift.config import Config
from drift.names import HELDOUT_PAIRS
from drift.report.comparison_tables import Comparison, comparison
from drift.report.judge_behaviour import Behaviour
from drift.report.metric_labels import metric_named
from drift.report.reading import START, Policy


@dataclass(frozen=True)
class Gains:
    """A policy by the differences from the base model that can be claimed, and by the others."""

    policy: Policy
    gained: list[Comparison]
    lost: list[Comparison]
    neither: list[Comparison]
    # Benchmarks whose judge means nothing there: BENCHMARK by JUDGE.
    left_out: list[str]

    @property
    def parts(self) -> list[tuple[str, list[Comparison]]]:
        """What there is to say, each under its heading."""
        named = {"gained": self.gained, "lost": self.lost, "no difference can be claimed": self.neither}
        return [(heading, rows) for heading, rows in named.items() if rows]


def gains(comparisons: list[dict], judged: Iterable[Behaviour], config: Config) -> list[Gains]:
    """A line for the last policy of each method; `comparisons`: rows of Comparisons.

    Of a benchmark's metrics the first headline counts that was measured, as in the primary family.
    """
    metrics = primary.family(config.model_dump(mode="json")).metrics
    nothing = {(one.benchmark, one.judge) for one in judged if one.nothing}
    of_policy: dict[Policy, list[dict]] = {}
    for row in comparisons:
        if row["against"] == "base" and row["method"] not in START and row["benchmark"] != HELDOUT_PAIRS:
            of_policy.setdefault(Policy.of(row), []).append(row)
    last: dict[tuple[str, str], Policy] = {}
    for policy in sorted(of_policy, key=lambda policy: policy.iteration):
        last[policy.model, policy.method] = policy
    lines = []
    for policy in sorted(last.values(), key=lambda policy: policy.position(config)):
        rows = _one_a_benchmark(of_policy[policy], metrics)
        read = [row for row in rows if (row["benchmark"], row["judge"]) not in nothing]
        shown = [comparison(row, metric_named(row["metric"])) for row in read if row["difference"] is not None]
        by_side = {side: [one for one in shown if one.direction == side] for side in ("up", "down", "")}
        left_out = [f"{row['benchmark']} by {row['judge']}" for row in rows if row not in read]
        lines.append(Gains(policy, by_side["up"], by_side["down"], by_side[""], left_out))
    return lines


def _one_a_benchmark(rows: list[dict], metrics: dict[str, list[str]]) -> list[dict]:
    """Of each benchmark and judge the row of its first headline, in the order of `metrics`."""
    found: dict[tuple[str, str], dict] = {}
    for benchmark, names in metrics.items():
        for name in names:
            for row in rows:
                if (row["benchmark"], row["metric"]) == (benchmark, name):
                    found.setdefault((benchmark, row["judge"]), row)
    return list(found.values())
