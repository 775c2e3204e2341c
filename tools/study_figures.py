"""The figures of docs/study.md, from the tables of docs/study/."""

from collections.abc import Mapping
from pathlib import Path

import altair as alt
import polars as pl

from drift.layout import BASE

# By the names of their files, what they show.
FIGURES = {
    "pass-rate": "J over the iterations: the mean over seeds with its 95 % interval, seeds thin, the base model dashed",
    "directions": "Pass rate by direction of length over the iterations, mean over seeds",
    "on-topic": "Share of the answers that name their topic over the iterations, mean over seeds with its interval",
    "tokens": "Tokens an answer over the iterations, mean over seeds with its interval, the base model dashed",
    "pairs": "Share of the pairs whose chosen reply keeps more of the wish, as much, and less than the rejected one",
}
_SIZE = (170, 120)  # of a panel, pixels
_COLUMNS = 4
_INK, _DIRECTIONS = "#2a5d8f", ["#c0504d", "#7f7f7f", "#2a5d8f"]


def write(tables: Mapping[str, pl.DataFrame], folder: Path) -> None:
    """Write every figure to `folder`, as SVG."""
    scores, pairs = tables["scores"], tables["pairs"]
    charts = {
        "pass-rate": _curves(scores, "pass_rate", "%"),
        "directions": _directions(scores),
        "on-topic": _curves(scores, "on_topic", "%"),
        "tokens": _curves(scores, "response_tokens", "d"),
        "pairs": _pairs(pairs),
    }
    for name, chart in charts.items():
        chart.configure(background="white").save(folder / f"{name}.svg")


def _curves(scores: pl.DataFrame, metric: str, number: str) -> alt.FacetChart:
    """A panel a method: the mean over seeds with whiskers, each seed as a thin line."""
    rows = _from_base(scores.filter(metric=metric))
    base = rows.filter(iteration=0)["value"][0]
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format=number, tickCount=4), scale=alt.Scale(zero=False))
    mean, single = alt.datum.seed == 0, alt.datum.seed != 0
    chart = alt.Chart().encode(x=_x(rows))
    layers = [
        alt.Chart().transform_calculate(base=str(base)).mark_rule(strokeDash=[4, 3], color="#999").encode(y="base:Q"),
        chart.transform_filter(single).mark_line(strokeWidth=0.8, opacity=0.45, color=_INK).encode(y=y, detail="seed:N"),
        chart.transform_filter(mean).mark_line(strokeWidth=2, color=_INK).encode(y=y),
        chart.transform_filter(mean).mark_rule(color=_INK, opacity=0.6).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        chart.transform_filter(mean).mark_point(filled=True, size=30, opacity=1, color=_INK).encode(y=y),
    ]
    return _panels(alt.layer(*layers), rows)


def _directions(scores: pl.DataFrame) -> alt.FacetChart:
    """A panel a method: a line a direction of length."""
    named = scores.filter(
        pl.col("seed") == 0, pl.col("metric").is_in([f"pass_rate:{one}" for one in ("shorter", "neutral", "longer")])
    )
    rows = pl.concat([_from_base(part) for part in named.partition_by("metric")])
    rows = rows.filter(seed=0).with_columns(direction=pl.col("metric").str.strip_prefix("pass_rate:"))
    colour = alt.Color(
        "direction:N",
        scale=alt.Scale(domain=["shorter", "neutral", "longer"], range=_DIRECTIONS),
        legend=alt.Legend(title="wishes that make replies", orient="top"),
    )
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format="%", tickCount=4))
    line = alt.Chart().mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=24)).encode(x=_x(rows), y=y, color=colour)
    return _panels(line, rows)


def _pairs(pairs: pl.DataFrame) -> alt.FacetChart:
    """A panel a method: shares of the pairs by which reply keeps more, over its seeds."""
    means = pairs.group_by("method", "iteration", maintain_order=True).agg(pl.col("better", "tie", "worse").mean())
    rows = means.unpivot(["better", "tie", "worse"], index=["method", "iteration"], variable_name="chosen", value_name="share")
    order = {"better": 0, "tie": 1, "worse": 2}
    rows = rows.with_columns(order=pl.col("chosen").replace_strict(order, return_dtype=pl.Int32))
    colour = alt.Color(
        "chosen:N",
        scale=alt.Scale(domain=list(order), range=["#2a5d8f", "#cccccc", "#c0504d"]),
        legend=alt.Legend(title="the chosen reply is", orient="top"),
    )
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domain=[0, 1]))
    x = alt.X("iteration:O", title=None, axis=alt.Axis(labelAngle=0))
    return _panels(alt.Chart().mark_bar(size=18).encode(x=x, y=y, color=colour, order="order:Q"), rows)


def _from_base(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of trained policies, and for each method and seed the base model's as iteration 0."""
    trained = rows.filter(pl.col("iteration") > 0)
    start = rows.filter(method=BASE).drop("method", "seed")
    begins = trained.select("method", "seed").unique(maintain_order=True).join(start, how="cross")
    return pl.concat([begins.select(trained.columns).with_columns(iteration=pl.lit(0, pl.Int64)), trained])


def _x(rows: pl.DataFrame) -> alt.X:
    last = rows["iteration"].max()
    axis = alt.Axis(values=list(range(last + 1)), labelExpr="datum.value == 0 ? 'base' : format(datum.value, 'd')", grid=False)
    return alt.X("iteration:Q", title=None, axis=axis, scale=alt.Scale(domain=[-0.2, last + 0.2], nice=False))


def _panels(chart: alt.Chart | alt.LayerChart, rows: pl.DataFrame) -> alt.FacetChart:
    """The chart for each method. It has no rows of its own: those would be in every panel."""
    methods = rows["method"].unique(maintain_order=True).to_list()
    facet = alt.Facet("method:N", title=None, sort=methods)
    return chart.properties(width=_SIZE[0], height=_SIZE[1]).facet(facet=facet, columns=_COLUMNS, data=rows)
