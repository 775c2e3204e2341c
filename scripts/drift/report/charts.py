"""The report's charts: small static SVG curves over iterations, in the page's colours.

Colours are CSS variables (--ink, --muted, --grid, --start, --series-1 ...), so that one picture
serves light and dark pages. Every method has a colour and a shape of its own, the same in every
chart.
"""

import io
import re
from dataclasses import dataclass

import altair as alt
import polars as pl

from drift.report.reading import START

SHAPES = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "triangle-down": "▼", "cross": "✚"}
SERIES = len(SHAPES)  # series colours in the style sheet
SIZE = (300, 170)  # of the plot, pixels; narrow enough for a phone without shrinking the text
_ROLES = re.compile(r' (?:role|aria-\w+)="[^"]*"')
DODGE = 0.05  # iterations between two methods' points, so that their intervals do not cover each other

# Columns of the points of a chart.
POINTS = {
    "method": pl.String,
    "iteration": pl.Int32,
    "seed": pl.Int32,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


@dataclass(frozen=True)
class Style:
    """How a method is drawn: its colour, its shape, and the sign of that shape in texts."""

    colour: str
    shape: str

    @property
    def sign(self) -> str:
        """The shape as a character."""
        return SHAPES[self.shape]


def style(method: str, methods: list[str]) -> Style:
    """The style of a method; policies before the first iteration are grey circles.

    Every method has its own pair of a colour and a shape, as long as there are pairs: each round
    through the colours begins with the next shape.
    """
    if method in START:
        return Style("var(--start)", "circle")
    rounds, colour = divmod(methods.index(method), SERIES)
    return Style(f"var(--series-{colour + 1})", list(SHAPES)[(colour + rounds) % SERIES])


def with_repeats(points: pl.DataFrame) -> pl.DataFrame:
    """`points` with the column `repeat`: whether a point is of one seed, where that over all seeds
    (seed 0) is there as well."""
    means = points.filter(seed=0).select("method", "iteration", mean=True)
    marked = points.join(means, on=["method", "iteration"], how="left", maintain_order="left")
    return marked.with_columns(repeat=(pl.col("seed") > 0) & pl.col("mean").fill_null(False)).drop("mean")


def joined_to_start(points: pl.DataFrame, starts: dict[str, int]) -> pl.DataFrame:
    """`points` and, as the first point of each method and seed, that of the policy that it started
    from.

    `starts`: the iteration of that policy by method, -1 base, 0 warm-up.
    """
    lines = points.select("method", "seed", "repeat").unique(maintain_order=True)
    begins = pl.DataFrame(list(starts.items()), schema={name: POINTS[name] for name in ("method", "iteration")}, orient="row")
    first = points.filter(pl.col("method").is_in(START)).select("iteration", "value")
    joined = lines.join(begins, on="method", maintain_order="left").join(first, on="iteration", maintain_order="left")
    joined = joined.with_columns(low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64))
    return pl.concat([points, joined.select(points.columns)])


def placed(points: pl.DataFrame, methods: list[str]) -> pl.DataFrame:
    """`points` with the x at which they are drawn: a method's own iterations a little off the whole
    number, so that the methods' points do not cover each other."""
    shift = {method: (position - (len(methods) - 1) / 2) * DODGE for position, method in enumerate(methods)}
    own = pl.col("iteration") > 0
    moved = pl.col("method").replace_strict(shift, default=0.0, return_dtype=pl.Float64)
    return points.with_columns(series=_series(), x=pl.col("iteration") + pl.when(own).then(moved).otherwise(0.0))


@dataclass(frozen=True)
class Axis:
    """The y axis of a chart: the d3 format of its numbers, their unit where the format does not say
    it, and the ends that charts of one scale share; None: those of the chart's own points. A format
    without a number of digits gets as many as tell the marks apart."""

    number: str
    unit: str = ""
    domain: tuple[float, float] | None = None

    def encoded(self, field: str) -> alt.Y:
        """The encoding of a column."""
        scale = alt.Scale(zero=False, nice=True) if self.domain is None else alt.Scale(domain=list(self.domain), nice=True)
        # Axis labels take room from the plot: a fixed width keeps all plots of a row the same size.
        # The unit stands above the axis, where it can be read without turning the head.
        title = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": -34, "titleY": -12}
        axis = alt.Axis(format=self.number, tickCount=5, minExtent=36, maxExtent=36, **title)
        return alt.Y(f"{field}:Q", title=self.unit or None, scale=scale, axis=axis)


def curve(points: pl.DataFrame, methods: list[str], y_axis: Axis, rule: float | None = None) -> str:
    """An SVG curve of `points` (columns as POINTS, and `repeat`) over iterations: a line a method,
    whiskers from low to high, and a thin line without whiskers for each repeat.

    `rule` is a value to compare with, drawn as a dashed line.
    """
    shown = placed(points.drop_nulls("value"), methods).sort("series", "method", "iteration")
    x = alt.X("x:Q", title="iteration", axis=_iteration_axis(points), scale=alt.Scale(domain=_ends(points), nice=False))
    y = y_axis.encoded("value")
    colour, shape = _encodings(methods)
    main, repeats = shown.remove("repeat"), shown.filter("repeat")
    base = alt.Chart(main).encode(x=x, color=colour, detail="seed:N")
    own = (pl.col("series") == "start") | (pl.col("iteration") > 0)
    layers = [
        base.mark_line(strokeWidth=1.75).encode(y=y),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=y_axis.encoded("low"), y2="high:Q"),
        alt.Chart(main.filter(own)).mark_point(filled=True, size=46, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ]
    if len(repeats):
        thin = alt.Chart(repeats).encode(x=x, y=y, color=colour, detail="seed:N")
        dots = alt.Chart(repeats.filter(own)).mark_point(filled=True, size=10, opacity=0.6).encode(x=x, y=y, color=colour)
        layers = [thin.mark_line(strokeWidth=0.75, opacity=0.5), dots, *layers]
    if rule is not None:
        dashed = alt.Chart(pl.DataFrame({"value": [rule]})).mark_rule(strokeDash=[4, 4], color="var(--muted)")
        layers.insert(0, dashed.encode(y=y))
    return svg(alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1]))


def steps(points: pl.DataFrame, methods: list[str], y_axis: Axis) -> str:
    """An SVG curve of a statistic over the steps of a training: `points` (method, iteration, seed,
    step, value), a line a policy; the steps of iterations follow on each other."""
    shown = points.with_columns(series=_series(), line=pl.format("{}/{}", "iteration", "seed"))
    colour, _ = _encodings(methods)
    x = alt.X(
        "step:Q", title="optimizer step, all iterations", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=6, format="d")
    )
    lines = alt.Chart(shown).mark_line(strokeWidth=1.5).encode(x=x, y=y_axis.encoded("value"), color=colour, detail="line:N")
    return svg(alt.layer(lines).properties(width=SIZE[0], height=SIZE[1]))


def scatter(points: pl.DataFrame, methods: list[str], y_axis: Axis) -> str:
    """An SVG of a score against the mean length of answers: `points` (method, iteration, value,
    low, high, length), a point a policy with its iteration's number beside it."""
    label = pl.when(pl.col("iteration") > 0).then(pl.col("iteration").cast(pl.String)).otherwise(pl.lit(""))
    shown = points.with_columns(series=_series(), label=label)
    colour, shape = _encodings(methods)
    x = alt.X("length:Q", title="mean tokens of an answer", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    base = alt.Chart(shown).encode(x=x, color=colour)
    layers = [
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=y_axis.encoded("low"), y2="high:Q"),
        base.mark_point(filled=True, size=46, opacity=1).encode(y=y_axis.encoded("value"), shape=shape),
        base.mark_text(dx=9, dy=-7, fontSize=11).encode(y=y_axis.encoded("value"), text="label:N"),
    ]
    return svg(alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1]))


def _series() -> pl.Expr:
    return pl.when(pl.col("method").is_in(START)).then(pl.lit("start")).otherwise("method")


def _encodings(methods: list[str]) -> tuple[alt.Color, alt.Shape]:
    """The colour and the shape of a series."""
    styles = {"start": style(START[0], methods)} | {method: style(method, methods) for method in methods}
    names = list(styles)
    colours = alt.Scale(domain=names, range=[styles[name].colour for name in names])
    shapes = alt.Scale(domain=names, range=[styles[name].shape for name in names])
    return alt.Color("series:N", scale=colours, legend=None), alt.Shape("series:N", scale=shapes, legend=None)


def svg(chart: alt.LayerChart) -> str:
    """The chart as an SVG element without a background, its text and grid in the page's colours."""
    themed = (
        chart.configure(
            background="transparent",
            # Fixed room for the labels: charts next to each other have their axes at one height.
            autosize=alt.AutoSizeParams(type="none"),
            padding={"left": 42, "right": 12, "top": 22, "bottom": 40},
            aria=False,
            font="system-ui, sans-serif",
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="var(--muted)",
            labelFontSize=11,
            gridColor="var(--grid)",
            domainColor="var(--grid)",
            tickColor="var(--grid)",
            titleColor="var(--muted)",
            titleFontSize=11,
            titleFontWeight="normal",
        )
        .configure_axisX(grid=False)
    )
    text = io.StringIO()
    themed.save(text, format="svg")
    return unmarked(text.getvalue())


def unmarked(svg: str) -> str:
    """An SVG element as one picture, which the page describes: its marks are no elements of their
    own."""
    return _ROLES.sub("", svg)


def _ends(points: pl.DataFrame) -> list[float]:
    first, last = points["iteration"].min() or 0, points["iteration"].max() or 0
    return [first - 0.3, last + 0.3]


def _iteration_axis(points: pl.DataFrame) -> alt.Axis:
    names = "datum.value == -1 ? 'base' : datum.value == 0 ? 'warm-up' : format(datum.value, 'd')"
    return alt.Axis(values=sorted(points["iteration"].unique().to_list()), labelExpr=names, ticks=False, labelPadding=6)
