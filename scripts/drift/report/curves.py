"""The report's curves: which statistics are drawn, in which order, on which scale."""

from collections.abc import Iterable
from dataclasses import dataclass

import markupsafe
import polars as pl

from drift.config import Config
from drift.metrics.display import Metric
from drift.names import HELDOUT_PAIRS, UNJUDGED
from drift.report import charts
from drift.report.metric_labels import LENGTH, ON_PROMPT, PAIR_QUALITY, TRAINING_CURVES, VARIETY, in_order, metric_named
from drift.report.policy_behaviour import length_points, on_prompt_points, variety_points
from drift.report.reading import START, Catalog, Policy, configured
from drift.report.score_tables import scored_benchmarks

# What an axis spans, by Metric.scale.
Domains = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A chart with the sentence below it, which says how to read it, and its values in words."""

    title: str
    svg: markupsafe.Markup
    sentence: str
    values: str
    benchmark: str = ""  # that it is about; empty: about training


@dataclass(frozen=True)
class ModelCharts:
    """The charts of one model."""

    model: str
    charts: list[Chart]


def curve_charts(scores: list[dict], quality: list[dict], catalog: Catalog, config: Config) -> list[ModelCharts]:
    """The curves of every model: of its scores, of how it writes, of its pairs' quality, of its
    training."""
    behaviour = [
        (LENGTH, length_points(catalog, config)),
        (ON_PROMPT, on_prompt_points(catalog, config)),
        (VARIETY, variety_points(catalog, config)),
    ]
    margins = {metric.name: configured(margin_points(catalog, metric.name, config), config) for metric in TRAINING_CURVES}
    losses = loss_points(catalog, config)
    measured = [(metric_named(row["metric"]), row) for row in scores]
    measured += [(metric, row) for metric, points in behaviour for row in points] + [(PAIR_QUALITY, row) for row in quality]
    measured += [(metric, row) for metric in TRAINING_CURVES for row in margins[metric.name]]
    domains = common_domains(measured)
    return [
        ModelCharts(
            model,
            [
                *score_charts([row for row in scores if row["model"] == model], config, domains),
                *length_charts([row for row in scores if row["model"] == model], config),
                *behaviour_charts(model, behaviour, config, domains),
                *quality_charts([row for row in quality if row["model"] == model], config, domains),
                *training_charts(model, margins, config, domains),
                *loss_charts([row for row in losses if row["model"] == model], config),
            ],
        )
        for model in config.models
    ]


def common_domains(measured: Iterable[tuple[Metric, dict]]) -> Domains:
    """What the axes span: from the least to the greatest value, whiskers and reference line
    included, of all charts of a scale."""
    values: dict[str, list[float]] = {}
    for metric, row in measured:
        if metric.curve:
            found = [row[name] for name in ("value", "low", "high") if row[name] is not None]
            values.setdefault(scale_of(metric), []).extend(found + ([] if metric.rule is None else [metric.rule]))
    return {scale: (min(found), max(found)) for scale, found in values.items() if found and min(found) < max(found)}


def scale_of(metric: Metric) -> str:
    """Which charts share their axis with this metric's."""
    return metric.scale or metric.name


def score_charts(scores: list[dict], config: Config, domains: Domains) -> list[Chart]:
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
                title = " · ".join([metric.label, *names])
                shown.append(chart(points, metric, title, config, domains, joined=True, benchmark=benchmark))
    return [one for one in shown if one is not None]


def length_charts(scores: list[dict], config: Config) -> list[Chart]:
    """Each benchmark's first headline against the mean length of the answers: whether a gain is
    more than a change of length."""
    shown = []
    for benchmark, judge in scored_benchmarks(scores, config):
        rows = [row for row in scores if (row["benchmark"], row["judge"], row["seed"]) == (benchmark, judge, 0)]
        headline = next((metric for metric in in_order({row["metric"] for row in rows}) if metric.headline), None)
        lengths = {
            Policy.of(row): row["value"]
            for row in scores
            if (row["benchmark"], row["judge"], row["metric"]) == (benchmark, UNJUDGED, "response_tokens")
        }
        points = [
            {name: row[name] for name in ("method", "iteration", "value", "low", "high")}
            | {"length": lengths.get(Policy.of(row))}
            for row in rows
            if headline and row["metric"] == headline.name and row["value"] is not None
        ]
        points = [point for point in points if point["length"] is not None]
        if len(points) > 1:
            title = f"{headline.label} against length · {benchmark}" + (f" · {judge}" if judge else "")
            svg = charts.scatter(pl.DataFrame(points), config.methods, charts.Axis(headline.axis, headline.unit))
            sentence = (
                "A point a policy, its iteration beside it; grey: base and warm-up. Points on one rising line: the score may be "
                "bought with length. Higher at the same length: the answers are better by it."
            )
            words = [f"{_who(point)} {headline.text(point['value'])} at {point['length']:,.0f} tokens" for point in points]
            shown.append(Chart(title, markupsafe.Markup(svg), sentence, ", ".join(words), benchmark))
    return shown


def behaviour_charts(model: str, behaviour: list[tuple[Metric, list[dict]]], config: Config, domains: Domains) -> list[Chart]:
    """The curves of how one model's policies write: points of all models, by what they measure.
    Where the base model has one too, lines begin at it."""
    shown = [
        chart(
            [row for row in points if row["model"] == model],
            metric,
            metric.label,
            config,
            domains,
            joined=any(row["method"] == "base" for row in points),
        )
        for metric, points in behaviour
    ]
    return [one for one in shown if one is not None]


def quality_charts(quality: list[dict], config: Config, domains: Domains) -> list[Chart]:
    """The curve of how good one model's pairs were, one a rater; `quality`: rows of PairQuality."""
    shown = [
        chart(
            [row for row in quality if row["rater"] == rater],
            PAIR_QUALITY,
            f"{PAIR_QUALITY.label} · {rater}",
            config,
            domains,
            joined=False,
        )
        for rater in dict.fromkeys(row["rater"] for row in quality)
    ]
    return [one for one in shown if one is not None]


def training_charts(model: str, margins: dict[str, list[dict]], config: Config, domains: Domains) -> list[Chart]:
    """The curves of one model's training margins; `margins`: points by metric."""
    shown = [
        chart(
            [row for row in margins[metric.name] if row["model"] == model], metric, metric.label, config, domains, joined=False
        )
        for metric in TRAINING_CURVES
    ]
    return [one for one in shown if one is not None]


def loss_charts(losses: list[dict], config: Config) -> list[Chart]:
    """The curve of one model's training loss by step; `losses`: points of loss_points."""
    columns = {"method": pl.String, "iteration": pl.Int32, "seed": pl.Int32, "step": pl.Int64, "value": pl.Float64}
    points = pl.DataFrame([{name: row[name] for name in columns} for row in losses], schema=columns)
    points = points.filter(pl.len().over("method", "iteration", "seed") > 1)  # a line takes two steps
    if points.is_empty():
        return []
    svg = charts.steps(points, config.methods, charts.Axis("f", "loss"))
    sentence = (
        "A line an iteration, one after the other. Each begins near log 2 = 0.69 where the training starts from its reference; a "
        "line that does not fall learnt nothing, one that jumps up diverged. The fewer pairs a step has, the noisier."
    )
    ends = points.group_by("method", "iteration", "seed", maintain_order=True).agg(
        pl.col("value").first(), last=pl.col("value").last()
    )
    words = [f"{_who(row)} {row['value']:.2f} to {row['last']:.2f}" for row in ends.iter_rows(named=True)]
    return [Chart("Training loss by step", markupsafe.Markup(svg), sentence, ", ".join(words))]


def loss_points(catalog: Catalog, config: Config) -> list[dict]:
    """The logged losses of every policy that was trained; the steps of iterations follow on each
    other."""
    before = (
        "SELECT one.model, one.method, one.iteration, one.seed, coalesce(sum(other.last), 0) AS before FROM ends AS one "
        "LEFT JOIN ends AS other ON (one.model, one.method, one.seed) = (other.model, other.method, other.seed) "
        "AND other.iteration < one.iteration GROUP BY ALL"
    )
    return configured(
        catalog.query(
            "WITH ends AS (SELECT model, method, iteration, seed, max(step) AS last FROM train WHERE metric = 'loss' GROUP BY ALL) "
            f"SELECT model, method, iteration, seed, step + before AS step, value FROM train JOIN ({before}) "
            "USING (model, method, iteration, seed) WHERE metric = 'loss' ORDER BY ALL"
        ),
        config,
    )


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


def chart(
    rows: list[dict], metric: Metric, title: str, config: Config, domains: Domains, *, joined: bool, benchmark: str = ""
) -> Chart | None:
    """A chart of one model's `rows`; None where no row has a value.

    `joined`: the line of each method begins at the policy that it started from.
    """
    points = pl.DataFrame([{name: row[name] for name in charts.POINTS} for row in rows], schema=charts.POINTS)
    if points["value"].drop_nulls().is_empty():
        return None
    points = charts.with_repeats(points)
    if len(config.seeds) == 1:
        points = points.remove("repeat")
    main = points.remove("repeat").drop_nulls("value").iter_rows(named=True)
    words = ", ".join(f"{_who(point)} {metric.text(point['value'])}" for point in main)
    if joined:
        drawn = set(points["method"])
        starts = {name: config.recipes[name].start for name in config.methods if name in drawn}
        iterations = {name: -1 if start == "base" else 0 for name, start in starts.items()}
        points = charts.joined_to_start(points, iterations)
    axis = charts.Axis(metric.axis, metric.unit, domains.get(scale_of(metric)))
    svg = charts.curve(points, config.methods, axis, metric.rule)
    # The one text that is not escaped: its only words are axis labels, which Vega escapes itself.
    return Chart(title, markupsafe.Markup(svg), metric.curve, words, benchmark)


def _who(point: dict) -> str:
    return f"{point['method']} {point['iteration']}" if point["iteration"] > 0 else point["method"]


def legend(config: Config) -> list[tuple[str, charts.Style]]:
    """What the colours and shapes stand for."""
    methods = [(method, charts.style(method, config.methods)) for method in config.methods]
    return [("base, warm-up", charts.style(START[0], config.methods)), *methods]
