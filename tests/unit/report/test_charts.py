"""Curves over the iterations."""

import re

import polars as pl

from drift.report import charts, metric_labels
from drift.report.curves import curve_charts, legend, margin_points
from drift.report.reading import Catalog
from tests.builders.run import CONFIG, build_results, render_page
from tests.unit.report.rows import score


def test_line_begins_at_the_policy_that_a_method_started_from():
    row = {"low": None, "high": None}
    points = pl.DataFrame(
        [
            {"method": "base", "iteration": -1, "seed": 0, "value": 0.1} | row,
            {"method": "warmup", "iteration": 0, "seed": 0, "value": 0.2} | row,
            {"method": "drift", "iteration": 1, "seed": 1, "value": 0.3} | row,
            {"method": "drift", "iteration": 1, "seed": 2, "value": 0.5} | row,
            {"method": "spin", "iteration": 1, "seed": 1, "value": 0.4} | row,
        ],
        schema=charts.POINTS,
    )
    joined = charts.joined_to_start(charts.with_repeats(points), {"drift": 0, "spin": -1}).sort("method", "iteration")
    lines = {key: line["value"].to_list() for key, line in joined.partition_by("method", "seed", as_dict=True).items()}
    assert lines["drift", 1] == [0.2, 0.3]
    assert lines["drift", 2] == [0.2, 0.5]
    assert lines["spin", 1] == [0.1, 0.4]


def test_a_seeds_points_are_repeats_where_the_mean_over_seeds_is_there_as_well():
    rows = [("warmup", 0, 0), ("drift", 1, 0), ("drift", 1, 1), ("drift", 1, 2), ("spin", 1, 1)]
    columns = [dict(zip(("method", "iteration", "seed"), row, strict=True)) for row in rows]
    assert charts.with_repeats(pl.DataFrame(columns, schema=charts.POINTS))["repeat"].to_list() == [0, 0, 1, 1, 0]


def lines_of(drawn: str) -> int:
    """The lines of a chart that are as thin as that of one seed."""
    return drawn.count('stroke-width="0.75"')


def test_every_seed_is_a_thin_line_under_the_one_over_all(tmp_path, monkeypatch):
    build_results(tmp_path, seeds=(1, 2))
    monkeypatch.chdir(tmp_path)
    catalog = Catalog("results/demo/catalog.duckdb")
    several = CONFIG.model_copy(update={"seeds": [1, 2]})
    points = margin_points(catalog, "s", several)
    both = {(row["iteration"], row["seed"]): row["value"] for row in points if row["method"] == "spin"}
    assert both.keys() == {(k, seed) for k in (1, 2) for seed in (0, 1, 2)}
    assert min(both[1, 1], both[1, 2]) <= both[1, 0] <= max(both[1, 1], both[1, 2])
    assert [row["seed"] for row in points if row["method"] == "warmup"] == [0], "once"
    (group,) = curve_charts([], [], catalog, several)
    assert [lines_of(chart.svg) for chart in group.charts] == [4, 4, 4, 4, 4], "two methods of two seeds"
    (alone,) = curve_charts([], [], catalog, CONFIG.model_copy(update={"seeds": [1]}))
    assert [lines_of(chart.svg) for chart in alone.charts] == [0, 0, 0, 0, 0], "one seed is the mean"
    page = render_page(tmp_path)
    assert "drift 2, seed 1" in page
    assert "last iterations, seed 1, picked" in page, "texts are of one seed, which is named"
    assert "Thick lines are over all seeds" in page


def test_chart_is_drawn_in_the_page_s_colours():
    points = pl.DataFrame(
        [{"method": "drift", "iteration": k, "seed": 42, "value": k / 10, "low": 0.0, "high": 0.5} for k in (1, 2)],
        schema=charts.POINTS,
    )
    drawn = charts.curve(charts.with_repeats(points), ["drift"], charts.Axis("%"), rule=0.5)
    assert drawn.startswith("<svg")
    assert "var(--series-1)" in drawn
    assert 'fill="white"' not in drawn, "a background would blind a dark page"


def test_charts_of_all_numbers_have_one_size():
    sizes = set()
    for scale in (0.001, 0.5, 40_000):
        points = [
            {"method": "drift", "iteration": k, "seed": 42, "value": k * scale, "low": 0.0, "high": scale} for k in (1, 2)
        ]
        drawn = charts.curve(charts.with_repeats(pl.DataFrame(points, schema=charts.POINTS)), ["drift"], charts.Axis(",~r"))
        sizes.add(drawn[drawn.index("viewBox") : drawn.index("><g")])
    assert len(sizes) == 1, "charts in a row would not align"


def test_marks_of_a_narrow_axis_have_the_digits_that_tell_them_apart():
    points = [{"method": "drift", "iteration": k, "seed": 42, "value": 1 + k / 99, "low": None, "high": None} for k in (1, 2)]
    drawn = charts.curve(charts.with_repeats(pl.DataFrame(points, schema=charts.POINTS)), ["drift"], charts.Axis("f"))
    marks = re.findall(r">(\d\.\d+)</text>", drawn)
    assert len(marks) == len(set(marks)) > 2
    assert not re.search(r"\.\d+f", "".join(metric.axis for metric in (metric_labels.VARIETY, *metric_labels.TRAINING_CURVES)))


def test_title_names_the_benchmark_only_where_there_are_several(catalog):
    def titles(*benchmarks: str) -> list[str]:
        scores = [score("tiny", benchmark=benchmark) for benchmark in benchmarks]
        (group,) = curve_charts(scores, [], catalog, CONFIG)
        return [chart.title for chart in group.charts]

    assert titles("heldout") == [
        "Win rate",
        "Length of answers",
        "Answers to the prompt",
        "Variety of words",
        "Training margin s",
        "Weight left: sigma(-s)",
    ]
    margin = score("", "margin", benchmark="heldout-pairs")
    (group,) = curve_charts([score("tiny"), score("tiny", benchmark="late"), margin], [], catalog, CONFIG)
    assert [chart.title for chart in group.charts][:3] == ["Win rate · heldout", "Win rate · late", "Held-out margin s"]


def test_legend_has_every_method():
    assert [(name, style.sign) for name, style in legend(CONFIG)] == [("base, warm-up", "●"), ("drift", "●"), ("spin", "■")]


def test_every_method_has_a_style_of_its_own():
    methods = [f"m{number}" for number in range(36)]
    styles = [charts.style(method, methods) for method in methods]
    assert len(set(styles)) == 36
    assert [style.shape for style in styles[:6]] == list(charts.SHAPES), "the first six differ in both"
    assert len({style.colour for style in styles[:6]}) == 6
