"""The report's curves over the iterations: which statistics are drawn, in which order."""

from dataclasses import dataclass

import markupsafe
import polars as pl

from drift.config import Config
from drift.metrics.display import Metric
from drift.names import HELDOUT_PAIRS
from drift.report import charts
from drift.report.metric_labels import LENGTH, PAIR_QUALITY, TRAINING_CURVES, VARIETY, in_order
from drift.report.policy_behaviour import length_points, variety_points
from drift.report.reading import START, Catalog, configured
from drift.report.score_tables import scored_benchmarks


@dataclass(frozen=True)
class Chart:
    """A chart with the sentence below it, which says how to read it."""

    title: str
    svg: markupsafe.Markup
    sentence: str


@dataclass(frozen=True)
class ModelCharts:
    """The charts of one model."""

    model: str
    charts: list[Chart]


def curve_charts(scores: list[dict], quality: list[dict], catalog: Catalog, config: Config) -> list[ModelCharts]:
    """The curves of every model: of its scores, of how it writes, of its pairs' quality, of its
    training."""
    lengths, varieties = length_points(catalog, config), variety_points(catalog, config)
    margins = {metric.name: configured(margin_points(catalog, metric.name, config), config) for metric in TRAINING_CURVES}
    return [
        ModelCharts(
            model,
            [
                *score_charts([row for row in scores if row["model"] == model], config),
                *behaviour_charts(model, lengths, varieties, config),
                *quality_charts([row for row in quality if row["model"] == model], config),
                *training_charts(model, margins, config),
            ],
        )
        for model in config.models
    ]


def score_charts(scores: list[dict], config: Config) -> list[Chart]:
    """The curves of one model's scores, the most telling metrics of each benchmark first."""
    shown = []
    scored = scored_benchmarks(scores, config)
    several = len({benchmark for benchmark, _ in scored}) > 2
    for benchmark, judge in scored:
        rows = [row for row in scores if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        # With several benchmarks or judges a title must name those that the curve is about.
        judges = [name for other, name in scored if other == benchmark and name]
        names = [benchmark] * (several and benchmark != HELDOUT_PAIRS) + [judge] * (bool(judge) and len(judges) > 1)
        for metric in in_order({row["metric"] for row in rows}):
            if metric.curve:
                points = [row for row in rows if row["metric"] == metric.name]
                shown.append(chart(points, metric, " · ".join([metric.label, *names]), config, joined=True))
    return [one for one in shown if one is not None]


def behaviour_charts(model: str, lengths: list[dict], varieties: list[dict], config: Config) -> list[Chart]:
    """The curves of how one model's policies write; points of all models."""
    shown = [
        chart([row for row in points if row["model"] == model], metric, metric.label, config, joined=joined)
        for points, metric, joined in ((lengths, LENGTH, True), (varieties, VARIETY, False))
    ]
    return [one for one in shown if one is not None]


def quality_charts(quality: list[dict], config: Config) -> list[Chart]:
    """The curve of how good one model's pairs were, one a rater; `quality`: rows of PairQuality."""
    shown = [
        chart(
            [row for row in quality if row["rater"] == rater],
            PAIR_QUALITY,
            f"{PAIR_QUALITY.label} · {rater}",
            config,
            joined=False,
        )
        for rater in dict.fromkeys(row["rater"] for row in quality)
    ]
    return [one for one in shown if one is not None]


def training_charts(model: str, margins: dict[str, list[dict]], config: Config) -> list[Chart]:
    """The curves of one model's training margins; `margins`: points by metric."""
    shown = [
        chart([row for row in margins[metric.name] if row["model"] == model], metric, metric.label, config, joined=False)
        for metric in TRAINING_CURVES
    ]
    return [one for one in shown if one is not None]


def margin_points(catalog: Catalog, column: str, config: Config) -> list[dict]:
    """Mean and middle half of a column of the margins, for every policy, and with seed 0 over the
    pairs of all seeds together."""
    return catalog.query(
        f"SELECT DISTINCT model, method, iteration, coalesce(seed, 0) AS seed, avg({column}) AS value, "
        f"quantile_cont({column}, 0.25) AS low, quantile_cont({column}, 0.75) AS high "
        "FROM margins WHERE seed = 0 OR list_contains(?, seed) "
        "GROUP BY GROUPING SETS ((model, method, iteration, seed), (model, method, iteration)) ORDER BY ALL",
        config.seeds,
    )


def chart(rows: list[dict], metric: Metric, title: str, config: Config, *, joined: bool) -> Chart | None:
    """A chart of one model's `rows`; None where no row has a value.

    `joined`: the line of each method begins at the policy that it started from.
    """
    points = pl.DataFrame([{name: row[name] for name in charts.POINTS} for row in rows], schema=charts.POINTS)
    if points["value"].drop_nulls().is_empty():
        return None
    points = charts.with_repeats(points)
    if len(config.seeds) == 1:
        points = points.remove("repeat")
    if joined:
        drawn = set(points["method"])
        starts = {name: config.recipes[name].start for name in config.methods if name in drawn}
        iterations = {name: -1 if start == "base" else 0 for name, start in starts.items()}
        points = charts.joined_to_start(points, iterations)
    svg = charts.curve(points, config.methods, metric.axis, metric.rule)
    # The one text that is not escaped: its only words are axis labels, which Vega escapes itself.
    return Chart(title, markupsafe.Markup(svg), metric.curve)


def legend(config: Config) -> list[tuple[str, charts.Style]]:
    """What the colours and shapes stand for."""
    methods = [(method, charts.style(method, config.methods)) for method in config.methods]
    return [("base, warm-up", charts.style(START[0], config.methods)), *methods]
