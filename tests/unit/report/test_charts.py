"""Curves over the iterations."""

import polars as pl

from drift.report import charts
from drift.report.curves import curve_charts, legend
from tests.builders.run import CONFIG, METHODS
from tests.unit.report.rows import score


def test_line_begins_at_the_policy_that_a_method_started_from():
    row = {"low": None, "high": None}
    points = pl.DataFrame(
        [
            {"method": "base", "iteration": -1, "value": 0.1} | row,
            {"method": "warmup", "iteration": 0, "value": 0.2} | row,
            {"method": "drift", "iteration": 1, "value": 0.3} | row,
            {"method": "spin", "iteration": 1, "value": 0.4} | row,
        ],
        schema=charts.POINTS,
    )
    joined = charts.joined_to_start(points, {"drift": 0, "spin": -1}).sort("method", "iteration")
    lines = {method: joined.filter(pl.col("method") == method)["value"].to_list() for method in METHODS}
    assert lines == {"drift": [0.2, 0.3], "spin": [0.1, 0.4]}


def test_chart_is_drawn_in_the_page_s_colours():
    points = pl.DataFrame(
        [{"method": "drift", "iteration": k, "value": k / 10, "low": 0.0, "high": 0.5} for k in (1, 2)], schema=charts.POINTS
    )
    drawn = charts.curve(points, ["drift"], "%", rule=0.5)
    assert drawn.startswith("<svg")
    assert "var(--series-1)" in drawn
    assert 'fill="white"' not in drawn, "a background would blind a dark page"


def test_charts_of_all_numbers_have_one_size():
    sizes = set()
    for scale in (0.001, 0.5, 40_000):
        points = [{"method": "drift", "iteration": k, "value": k * scale, "low": 0.0, "high": scale} for k in (1, 2)]
        drawn = charts.curve(pl.DataFrame(points, schema=charts.POINTS), ["drift"], ",~r")
        sizes.add(drawn[drawn.index("viewBox") : drawn.index("><g")])
    assert len(sizes) == 1, "charts in a row would not align"


def test_title_names_the_benchmark_only_where_there_are_several(catalog):
    def titles(*benchmarks: str) -> list[str]:
        scores = [score("tiny", benchmark=benchmark) for benchmark in benchmarks]
        (group,) = curve_charts(scores, catalog, CONFIG)
        return [chart.title for chart in group.charts]

    assert titles("heldout") == ["Win rate", "Training margin s", "Weight left: sigma(-s)"]
    margin = score("", "margin", benchmark="heldout-pairs")
    (group,) = curve_charts([score("tiny"), score("tiny", benchmark="late"), margin], catalog, CONFIG)
    assert [chart.title for chart in group.charts][:3] == ["Win rate · heldout", "Win rate · late", "Held-out margin s"]


def test_legend_has_every_method():
    assert [(name, style.sign) for name, style in legend(CONFIG)] == [("base, warm-up", "●"), ("drift", "●"), ("spin", "■")]
