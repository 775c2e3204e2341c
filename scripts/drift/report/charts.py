"""The report's charts: small static SVG curves over iterations, in colours that the page's style sheet sets.

Colours are CSS variables (--ink, --muted, --grid, --start, --series-1 ...), so that one picture serves light and dark pages.
Every method has a colour and a shape of its own; the same ones in every chart.
"""

import io

import altair as alt
import polars as pl

SHAPES = {"circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "triangle-down": "▼", "cross": "✚"}
SERIES = len(SHAPES)  # series colours in the style sheet
SIZE = (300, 170)  # of the plot, pixels; narrow enough for a phone without shrinking the text
DODGE = 0.05  # iterations between two methods' points, so that their intervals do not cover each other
START = ("base", "warmup")

POINTS = {
    "method": pl.String,
    "iteration": pl.Int32,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def style(method: str, methods: list[str]) -> dict[str, str]:
    """The colour, the shape and the shape's sign of a method; policies before the first iteration are grey circles."""
    if method in START:
        return {"colour": "var(--start)", "shape": "circle", "sign": "●"}
    position = methods.index(method) % SERIES
    shape = list(SHAPES)[position]
    return {"colour": f"var(--series-{position + 1})", "shape": shape, "sign": SHAPES[shape]}


def joined_to_start(points: pl.DataFrame, starts: dict[str, int]) -> pl.DataFrame:
    """`points` and, for each method, the point of the policy that it started from (-1 base, 0 warm-up) as its first one."""
    extra = [
        points.filter(pl.col("method").is_in(START) & (pl.col("iteration") == iteration)).with_columns(
            method=pl.lit(method), low=pl.lit(None, pl.Float64), high=pl.lit(None, pl.Float64)
        )
        for method, iteration in starts.items()
    ]
    return pl.concat([points, *extra])


def placed(points: pl.DataFrame, methods: list[str]) -> pl.DataFrame:
    """`points` with the x at which they are drawn: a method's own iterations stand a little beside the whole number."""
    shift = {method: (position - (len(methods) - 1) / 2) * DODGE for position, method in enumerate(methods)}
    series = pl.when(pl.col("method").is_in(START)).then(pl.lit("start")).otherwise("method").alias("series")
    own_round = pl.col("iteration") > 0
    moved = pl.col("method").replace_strict(shift, default=0.0, return_dtype=pl.Float64)
    return points.with_columns(series, x=pl.col("iteration") + pl.when(own_round).then(moved).otherwise(0.0))


def curve(points: pl.DataFrame, methods: list[str], number: str, rule: float | None = None) -> str:
    """An SVG curve of `points` (columns as POINTS) over iterations, one line a method, whiskers from low to high.

    `number` is a d3 format of the y axis; `rule` a value to compare with, drawn as a dashed line.
    """
    shown = placed(points.drop_nulls("value"), methods).sort("series", "method", "iteration")
    styles = {"start": style("base", methods)} | {method: style(method, methods) for method in methods}
    names = list(styles)
    x = alt.X("x:Q", title=None, axis=_iteration_axis(points), scale=alt.Scale(domain=_ends(points), nice=False))
    # Axis labels take the room of the plot: a fixed share for them keeps all charts of a row alike.
    axis = alt.Axis(format=number, tickCount=5, minExtent=36, maxExtent=36)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=axis)
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[styles[name]["colour"] for name in names]), legend=None)
    shape = alt.Shape("series:N", scale=alt.Scale(domain=names, range=[styles[name]["shape"] for name in names]), legend=None)
    base = alt.Chart(shown).encode(x=x, color=colour)
    own = (pl.col("series") == "start") | (pl.col("iteration") > 0)
    layers = [
        base.mark_line(strokeWidth=1.75).encode(y=y),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=alt.Y("low:Q", title=None), y2="high:Q"),
        alt.Chart(shown.filter(own)).mark_point(filled=True, size=46, opacity=1).encode(x=x, y=y, color=colour, shape=shape),
    ]
    if rule is not None:
        dashed = alt.Chart(pl.DataFrame({"value": [rule]})).mark_rule(strokeDash=[4, 4], color="var(--muted)")
        layers.insert(0, dashed.encode(y=y))
    return svg(alt.layer(*layers).properties(width=SIZE[0], height=SIZE[1]))


def svg(chart: alt.LayerChart) -> str:
    """The chart as an SVG element without a background, its text and grid in the page's colours."""
    themed = (
        chart.configure(background="transparent", padding=4, aria=False, font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="var(--muted)",
            labelFontSize=11,
            gridColor="var(--grid)",
            domainColor="var(--grid)",
            tickColor="var(--grid)",
        )
        .configure_axisX(grid=False)
    )
    text = io.StringIO()
    themed.save(text, format="svg")
    return text.getvalue()


def _ends(points: pl.DataFrame) -> list[float]:
    first, last = points["iteration"].min() or 0, points["iteration"].max() or 0
    return [first - 0.3, last + 0.3]


def _iteration_axis(points: pl.DataFrame) -> alt.Axis:
    names = "datum.value == -1 ? 'base' : datum.value == 0 ? 'warm-up' : format(datum.value, 'd')"
    return alt.Axis(values=sorted(points["iteration"].unique().to_list()), labelExpr=names, ticks=False, labelPadding=6)
