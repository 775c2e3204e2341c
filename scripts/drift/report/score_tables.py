"""The report's scores: a table a benchmark, and the scores that are withheld."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from drift.config import Config
from drift.metrics.display import Metric
from drift.names import HELDOUT_PAIRS, UNJUDGED
from drift.report.judge_tables import judged_by
from drift.report.metric_labels import in_order, interval
from drift.report.reading import Policy

Direction = Literal["", "good", "bad"]


def benchmark_title(benchmark: str) -> str:
    """What the page calls a benchmark."""
    return f"held-out corrections ({HELDOUT_PAIRS})" if benchmark == HELDOUT_PAIRS else benchmark


def refusals(completions: Iterable[dict], config: Config) -> dict[tuple[str, str], str]:
    """Why scores are withheld, by benchmark and judge: one judge's name stood for several models.

    An endpoint may serve another model under a name, or the configuration may have changed between
    two policies. `completions`: benchmark, judge, policy (model, method, iteration, seed) and the
    model that answered as the judge (policy_hash).
    """
    models: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in completions:
        policy = Policy.of(row).named(config)
        models.setdefault((row["benchmark"], row["judge"]), {}).setdefault(row["policy_hash"], []).append(policy)
    reasons = {}
    for (benchmark, judge), by_model in models.items():
        if len(by_model) > 1:
            named = "; ".join(f"{model[:40]} for {', '.join(policies)}" for model, policies in sorted(by_model.items()))
            reasons[benchmark, judge] = (
                f"{judge} was {len(by_model)} models when it judged {benchmark}: {named}. Scores of different judges are not "
                "on one scale, so they are not shown in one column. Delete the judge "
                f"folders under */eval/{benchmark}/judge/{judge} and run again, so that one model judges all policies."
            )
    return reasons


def scored_benchmarks(rows: list[dict], config: Config) -> list[tuple[str, str]]:
    """Every benchmark and judge of the rows, in the order of the configuration.

    What no judge measured (UNJUDGED) comes last in each benchmark.
    """
    benchmarks = [*config.evaluation.benchmarks, HELDOUT_PAIRS]
    order = [*judged_by(config), *((name, UNJUDGED) for name in benchmarks)]
    scored = {(row["benchmark"], row["judge"]) for row in rows}
    return sorted(scored & set(order), key=lambda pair: (benchmarks.index(pair[0]), order.index(pair)))


@dataclass(frozen=True)
class Cell:
    """A score as it is shown; one without a value is not a statistic but a count."""

    text: str
    value: float | None = None
    n: int | None = None
    total: int | None = None
    interval: str | None = None
    spread: str | None = None  # over several samples of every answer
    seeds: str | None = None  # the values of several seeds
    direction: Direction = ""


@dataclass(frozen=True)
class Group:
    """Columns of one judge, or of what was measured without one."""

    judge: str
    title: str
    metrics: list[Metric]
    counted: bool  # whether a last column counts the items that were judged


@dataclass(frozen=True)
class ScoreRow:
    """The scores of a policy, a cell a column; None where a score is not defined."""

    policy: Policy
    cells: list[Cell | None]


@dataclass(frozen=True)
class ScoreTable:
    """The scores of a benchmark; `details` are shown on demand."""

    benchmark: str
    title: str
    groups: list[Group]
    rows: list[ScoreRow]
    details: "ScoreTable | None" = None


# The colour of a score by policy, benchmark, judge and metric: of those that differ from the base
# model's.
Colours = dict[tuple[Policy, str, str, str], Direction]


def score_tables(scores: list[dict], config: Config, colours: Colours) -> list[ScoreTable]:
    """A table a benchmark, a row a policy, a column a judge and metric."""
    judges: dict[str, list[str]] = {}
    for benchmark, judge in scored_benchmarks(scores, config):
        judges.setdefault(benchmark, []).append(judge)
    return [
        score_table(benchmark, names, [score for score in scores if score["benchmark"] == benchmark], colours)
        for benchmark, names in judges.items()
    ]


def score_table(benchmark: str, judges: list[str], scores: list[dict], colours: Colours) -> ScoreTable:
    """The table of one benchmark's `scores`."""
    title = benchmark_title(benchmark)
    groups, details = [], []
    for judge in judges:
        metrics = in_order({score["metric"] for score in scores if score["judge"] == judge})
        group_title = f"judged by {judge}" if judge else "answers" if benchmark != HELDOUT_PAIRS else ""
        main, more = [m for m in metrics if not m.detail], [m for m in metrics if m.detail]
        if main:
            groups.append(Group(judge, group_title, main, counted=bool(judge)))
        if more:
            details.append(Group(judge, group_title, more, counted=False))
    more_of_it = ScoreTable(benchmark, title, details, score_rows(scores, details, colours)) if details else None
    return ScoreTable(benchmark, title, groups, score_rows(scores, groups, colours), more_of_it)


def score_rows(scores: list[dict], groups: list[Group], colours: Colours) -> list[ScoreRow]:
    """A row a policy, with the columns of `groups`: of the means over seeds."""
    by_policy: dict[Policy, dict[tuple[str, str], dict]] = {}
    by_seed: dict[tuple[Policy, str, str], list[dict]] = {}
    for score in scores:
        measure = score["judge"], score["metric"]
        if score["seed"] == 0:
            by_policy.setdefault(Policy.of(score), {})[measure] = score
        else:
            by_seed.setdefault((replace(Policy.of(score), seed=0), *measure), []).append(score)
    benchmark = scores[0]["benchmark"]
    rows = []
    for policy, its_scores in by_policy.items():
        cells = []
        for group in groups:
            in_group = [its_scores.get((group.judge, metric.name)) for metric in group.metrics]
            cells += [
                score_cell(
                    score,
                    metric,
                    by_seed.get((policy, group.judge, metric.name), []),
                    colours.get((policy, benchmark, group.judge, metric.name), ""),
                )
                for score, metric in zip(in_group, group.metrics, strict=True)
            ]
            if group.counted:
                cells.append(judged_cell(in_group))
        rows.append(ScoreRow(policy, cells))
    return rows


def score_cell(score: dict | None, metric: Metric, by_seed: list[dict], direction: Direction = "") -> Cell | None:
    """A score as it is shown, with those of its seeds where there are several; None where it is not
    defined. `direction`: whether its difference from the base model can be claimed."""
    if score is None or score["value"] is None:
        return None
    spread = score["spread"]
    return Cell(
        text=metric.text(score["value"]),
        value=score["value"],
        n=score["n"],
        total=score["total"],
        interval=interval(score, metric.text),
        spread=None if spread is None else f"± {metric.text(spread).removeprefix('+')} in {score['samples']} samples",
        seeds=f"seeds: {', '.join(metric.text(one['value']) for one in by_seed)}" if len(by_seed) > 1 else None,
        direction=direction,
    )


def judged_cell(scores: list[dict | None]) -> Cell | None:
    """How many items the first score of a judge is over."""
    first = next((score for score in scores if score is not None), None)
    return None if first is None else Cell(f"{first['n']:,} of {first['total']:,}")
