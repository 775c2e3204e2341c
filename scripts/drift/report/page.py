"""The page: everything that it shows, and how it is rendered."""

from pathlib import Path
from typing import Any

import jinja2

from drift.config import Config
from drift.labelers.lexical import CHECKED
from drift.metrics import display
from drift.report import charts, header, metric_labels, notices, policy_behaviour, reading, trust
from drift.report.answers import side_by_side
from drift.report.comparison_tables import claimed_colours, comparison_tables, primary_table
from drift.report.cost_tables import cost_table, policy_costs
from drift.report.curves import curve_charts, legend
from drift.report.data_tables import agreement_table, contamination
from drift.report.excerpts import safe
from drift.report.exploration_tables import COLUMNS, VARIANTS, explored
from drift.report.filters import filters
from drift.report.gate_tables import gate_summary
from drift.report.judge_behaviour import behaviours
from drift.report.judge_tables import judge_table
from drift.report.ledger_tables import ledger_lineages
from drift.report.pair_tables import dropped_table, pair_lengths, sampled_pairs
from drift.report.provenance import provenance
from drift.report.reading import START, Catalog, configured
from drift.report.score_tables import refusals, score_tables
from drift.report.timings import read_timings
from drift.report.training_tables import diagnostics_table, pair_quality, quality_table
from drift.report.verdict import verdicts

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
    validation = catalog.query("SELECT * FROM validation")
    judged = behaviours([row for row in scores if row["seed"] == 0], validation, config)
    void = {(one.benchmark, one.judge) for one in judged if one.nothing}
    found = {"refused": refused, "scores": scores, "judged": judged, "quality": pair_quality(catalog, config)}
    return {
        "run": config.run,
        "several_models": len(config.models) > 1,
        "several_seeds": len(config.seeds) > 1,
        "texts": config.report.texts == "all",
        "catalog": catalog.path,
        "filters": filters(config),
        "styles": {method: charts.style(method, config.methods) for method in (*START, *config.methods)},
        "facts": header.facts(config),
        "provenance": provenance(catalog, config),
        "versions": header.versions(catalog, config),
        "verdicts": verdicts(scores, comparisons, config, void),
        "primary": primary_table(comparisons, config, void),
        "scores": score_tables(scores, config, claimed_colours(comparisons, void)),
        "judges": judge_table(validation, judged, config),
        "comparisons": comparison_tables(comparisons, config, void),
        "charts": curve_charts(scores, found["quality"], catalog, config),
        "legend": legend(config),
        **_of_texts(catalog, config),
        **_of_data(catalog, config),
        **_of_training(found, catalog, config),
        "explored": explored(catalog, config),
        "exploration_columns": COLUMNS,
        "exploration_variants": VARIANTS,
        "cost": cost_table(read_timings(timings)),
    }


def _of_texts(catalog: Catalog, config: Config) -> dict[str, Any]:
    """What shows words of conversations and answers: nothing where the page is to have none."""
    if config.report.texts == "none":
        return {"answers": [], "pairs": []}
    return {"answers": side_by_side(catalog, config), "pairs": sampled_pairs(catalog, config)}


def _of_data(catalog: Catalog, config: Config) -> dict[str, Any]:
    """What became of the data, before any training."""
    return {
        "ledger": ledger_lineages(catalog.query("SELECT * FROM ledger ORDER BY lineage, step")),
        "agreement": agreement_table(catalog),
        "heuristics": {name: CHECKED for name, row in config.data.labelers.items() if row.kind == "lexical"},
        "contamination": contamination(catalog, config),
    }


def _of_training(found: dict[str, Any], catalog: Catalog, config: Config) -> dict[str, Any]:
    """What each training did, and the lines on whether any of it can be believed. `found`: scores,
    how judges behaved, pair quality, and the judges that are refused."""
    gates, costs = gate_summary(catalog, config), policy_costs(catalog, config)
    written = policy_behaviour.behaviour_rows(catalog, config)
    scores, quality = found["scores"], found["quality"]
    return {
        "trust": trust.in_order(
            [
                *notices.judge_notices(scores, found["refused"]),
                *notices.notices(config, gates),
                *notices.behaviour_notices(found["judged"], config),
                *policy_behaviour.notices(written, config),
                *notices.quality_notices(quality, config),
                *trust.quality_notices(quality),
                *trust.data_notices(scores, catalog, config),
                *notices.rounding_notices(costs, config),
                *notices.check_notices(scores),
            ]
        ),
        "gates": gates,
        "behaviour": policy_behaviour.behaviour_table(written, catalog),
        "behaviour_columns": policy_behaviour.COLUMNS,
        "collapsed": policy_behaviour.marked(written),
        "lengths": pair_lengths(catalog, config),
        "quality": quality_table(quality),
        "diagnostics": diagnostics_table(catalog, config),
        "dropped": dropped_table(catalog, config),
        "policy_costs": costs,
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
