"""The page: everything that it shows, and how it is rendered."""

from pathlib import Path
from typing import Any

import jinja2

from drift.config import Config
from drift.labelers.lexical import CHECKED
from drift.metrics import display
from drift.report import charts, header, metric_labels, policy_behaviour, reading
from drift.report.comparison_tables import comparison_tables, primary_table
from drift.report.cost_tables import cost_table, policy_costs, read_timings
from drift.report.curves import curve_charts, legend
from drift.report.data_tables import agreement_table, contamination
from drift.report.excerpts import safe
from drift.report.gains import gains
from drift.report.gate_tables import gate_summary
from drift.report.judge_behaviour import behaviours
from drift.report.judge_tables import judge_table
from drift.report.ledger_tables import ledger_lineages
from drift.report.pair_tables import dropped_table, pair_lengths, sampled_pairs
from drift.report.reading import START, Catalog, configured
from drift.report.score_tables import refusals, score_tables
from drift.report.training_tables import diagnostics_table, pair_quality, quality_table

TEMPLATES = Path(__file__).resolve().parents[2] / "templates/report"
FILTERS = (
    metric_labels.duration,
    reading.iteration_name,
    display.percent,
    metric_labels.size,
    display.whole,
)

# Who answered as a judge, for every policy.
_JUDGE_MODELS = """
    SELECT DISTINCT benchmark, judge, model, method, iteration, seed, policy_hash
    FROM completions
    WHERE judge IS NOT NULL AND method IS NOT NULL AND error IS NULL
    ORDER BY ALL
"""


def contents(config: Config, catalog: Catalog, timings: Path) -> dict[str, Any]:
    """What the templates show of a run, by the names that they use."""
    refused = refusals(catalog.query(_JUDGE_MODELS), config)
    scores, comparisons = (
        [row for row in configured(catalog.query(sql), config) if (row["benchmark"], row["judge"]) not in refused]
        for sql in ("SELECT * FROM scores", "SELECT *, 0 AS seed FROM comparisons")
    )
    gates, costs = gate_summary(catalog, config), policy_costs(catalog, config)
    validation = catalog.query("SELECT * FROM validation")
    judged = behaviours([row for row in scores if row["seed"] == 0], validation, config)
    quality = pair_quality(catalog, config)
    written = policy_behaviour.behaviour_rows(catalog, config)
    return {
        "run": config.run,
        "several_models": len(config.models) > 1,
        "several_seeds": len(config.seeds) > 1,
        "catalog": catalog.path,
        "styles": {method: charts.style(method, config.methods) for method in (*START, *config.methods)},
        "notices": [
            *policy_behaviour.notices(written, config),
            *header.notices(config, gates),
            *header.rounding_notices(costs, config),
            *header.behaviour_notices(judged, config),
            *header.judge_notices(scores, refused),
            *header.quality_notices(quality, config),
            *header.check_notices(scores),
        ],
        "gains": gains(comparisons, judged, config),
        "facts": header.facts(config),
        "versions": header.versions(catalog, config),
        "primary": primary_table(comparisons, config),
        "scores": score_tables(scores, config),
        "judges": judge_table(validation, judged, config),
        "comparisons": comparison_tables(comparisons, config),
        "charts": curve_charts(scores, quality, catalog, config),
        "legend": legend(config),
        "ledger": ledger_lineages(catalog.query("SELECT * FROM ledger ORDER BY lineage, step")),
        "agreement": agreement_table(catalog),
        "heuristics": {name: CHECKED for name, row in config.data.labelers.items() if row.kind == "lexical"},
        "contamination": contamination(catalog, config),
        "gates": gates,
        "behaviour": policy_behaviour.behaviour_table(written, catalog),
        "behaviour_columns": policy_behaviour.COLUMNS,
        "collapsed": policy_behaviour.marked(written),
        "lengths": pair_lengths(catalog, config),
        "quality": quality_table(quality),
        "diagnostics": diagnostics_table(catalog, config),
        "pairs": sampled_pairs(catalog, config),
        "dropped": dropped_table(catalog, config),
        "policy_costs": costs,
        "cost": cost_table(read_timings(timings)),
    }


def render(**context: Any) -> str:
    """The page. Every value is escaped and `safe`; a name that a template misspells is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    return environment.get_template("page.html.j2").render(context)
