"""The report's maps of answers: one picture a policy, on a map that all of them share."""

import json
from dataclasses import dataclass

import markupsafe
import numpy as np
import vl_convert

from drift.config import Config
from drift.report import charts
from drift.report.reading import Catalog, Policy, configured

# Pixels of a side of a picture.
_SIDE = 300
# Shades, from the border of where a policy writes up to its highest density.
_SHADES = 4

_GRIDS = """
    SELECT model, explored, method, iteration, seed, list(density ORDER BY "row", "column") AS density,
        list(region ORDER BY "row", "column") AS region, min(density) FILTER (covered) AS border
    FROM landscapes GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Picture:
    """Where a policy writes, with the others' high-reward region outlined."""

    policy: Policy
    explored: int
    svg: markupsafe.Markup


def pictures(catalog: Catalog, config: Config) -> list[Picture]:
    """Those of all explored iterations, in the order of the configuration."""
    return [
        Picture(Policy.of(row), row["explored"], _drawn(row, charts.style(row["method"], config.methods).colour))
        for row in configured(catalog.query(_GRIDS), config)
    ]


def _drawn(row: dict, colour: str) -> markupsafe.Markup:
    """The SVG of a row of _GRIDS."""
    density, region = np.asarray(row["density"]), np.asarray(row["region"], dtype=float)
    border = density.max() if row["border"] is None else row["border"]
    levels = np.linspace(border, density.max(), _SHADES + 1)[:-1].tolist()
    side = round(len(density) ** 0.5)
    data = [
        _contours("density", density.tolist(), side, levels),
        _contours("region", region.tolist(), side, [0.5]),
    ]
    path = {"type": "geopath", "projection": "map", "field": "datum.contour"}
    spec = {
        "$schema": "https://vega.github.io/schema/vega/v6.json",
        "width": _SIDE,
        "height": _SIDE,
        "padding": 0,
        "background": "transparent",
        "projections": [{"name": "map", "type": "identity", "scale": _SIDE / side}],
        "data": data,
        "marks": [
            {
                "type": "path",
                "from": {"data": "density"},
                "encode": {"enter": {"fill": {"value": colour}, "fillOpacity": {"value": 0.22}}},
                "transform": [path],
            },
            {
                "type": "path",
                "from": {"data": "region"},
                "encode": {"enter": {"stroke": {"value": "var(--ink)"}, "strokeWidth": {"value": 1.5}}},
                "transform": [path],
            },
        ],
    }
    # The one text that is not escaped: it has no words.
    return markupsafe.Markup(charts.unmarked(vl_convert.vega_to_svg(json.dumps(spec))))


def _contours(name: str, values: list[float], side: int, levels: list[float]) -> dict:
    grid = {"name": name, "values": [{"grid": {"width": side, "height": side, "values": values}}]}
    return grid | {"transform": [{"type": "isocontour", "field": "grid", "thresholds": levels, "as": "contour"}]}
