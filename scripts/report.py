"""Write the report of a run: one HTML page that needs no network, for light and dark screens, wide and narrow.

Reads:  the catalog of the run (--catalog; its views are relative to the folder they were made from), the resolved
        configuration (--config), and Snakemake's benchmark files (--benchmarks/RULE/NAME.jsonl).
Writes: the page (--report).

Conversations are untrusted: the template escapes every text, the page forbids scripts and outside content, and charts are
labelled from the configuration only.
"""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path

import duckdb
import jinja2
import markupsafe
import polars as pl
import yaml

from drift import cli, files
from drift.labelers.agreement import METRICS
from drift.labelers.lexical import CHECKED
from drift.report import charts
from drift.report.cost_tables import cost_table, ledger_lineages, timing_rows
from drift.report.judge_tables import judge_table, judged_by
from drift.report.metric_labels import (
    TRAINING_CURVES,
    Metric,
    duration,
    in_order,
    iteration_name,
    percent,
    size,
    whole,
)
from drift.report.score_tables import HELDOUT_PAIRS, comparison_tables, judge_notices, places, refusals, score_tables

SAMPLED_PAIRS = 12
EXCERPT, EXCERPT_LINES, LONGEST = 500, 12, 5000  # what of a text is open (characters, lines), and what is in the page at all


# -------------------------------------------------------------------------------------------------------------- catalog


class Catalog:
    """The views of a run. Raises StageError where they cannot be read from here."""

    def __init__(self, path: str):
        self.path = path
        try:
            self.connection = duckdb.connect(path, read_only=True)
        except duckdb.Error as error:
            raise cli.StageError(f"{path}: no readable catalog: {error}. Make it with scripts/catalog.py.") from error

    def query(self, sql: str) -> list[dict]:
        try:
            cursor = self.connection.execute(sql)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except duckdb.IOException as error:
            raise cli.StageError(
                f"{self.path}: a file that the catalog names is not there: {error}. Run from the folder where the catalog was "
                "made, or make it again with scripts/catalog.py."
            ) from error


def policy_order(rows: Iterable[dict], models: list[str], methods: list[str]) -> list[dict]:
    """`rows` in the order of the configuration: by model, base and warm-up first, then by method and iteration."""
    order = [*charts.START, *methods]
    return sorted(rows, key=lambda row: (models.index(row["model"]), order.index(row["method"]), row["iteration"]))


def configured(rows: list[dict], config: dict) -> list[dict]:
    """Those of `rows` whose model and method are in the configuration: a folder may hold methods of earlier runs."""
    methods = [*charts.START, *config["methods"]]
    kept = [row for row in rows if row["model"] in config["models"] and row["method"] in methods]
    return policy_order(kept, list(config["models"]), config["methods"])


# ------------------------------------------------------------------------------------------------------------- sections


def notices(config: dict, gates: dict) -> list[dict]:
    """What a reader must know before any number."""
    found = []
    for judge in sorted({judge for _, judge in judged_by(config)}):
        if not config["evaluation"]["judges"][judge]["trusted"]:
            text = "The verdicts of this judge mean nothing by themselves: they show that the machinery works."
            found.append({"title": f"Judge {judge}", "text": text, "kind": "warning"})
    if config["data"]["labelers"][config["data"]["labeler"]]["kind"] == "lexical":
        text = f"Labels come from a lexical heuristic: fixed rules on the user's next message, not from people or a model. {CHECKED}"
        found.append({"title": "Labels", "text": text, "kind": "note"})
    if noise := config["data"]["label_noise"]:
        text = f"{percent(noise)} of the DSAT and SAT labels were flipped on purpose (data.label_noise)."
        found.append({"title": "Label noise", "text": text, "kind": "warning"})
    if gates["failed"]:
        text = f"{len(gates['failed'])} of {gates['total']} correctness gates failed; the policies below are not to be trusted."
        found.append({"title": "Gates", "text": text, "kind": "failure"})
    return found


def facts(config: dict) -> list[tuple[str, str]]:
    """What was run, in a few lines."""
    data, training, sampling = config["data"], config["training"], config["sampling"]
    labeler = data["labeler"]
    kind = data["labelers"][labeler]["kind"]
    return [
        ("Models", ", ".join(config["models"])),
        ("Methods", ", ".join(config["methods"])),
        ("Iterations", f"{config['iterations']} (K), after a warm-up on the corrections"),
        ("Sources", ", ".join(f"{name} ({source['kind']})" for name, source in data["sources"].items())),
        ("Labels", f"{labeler} ({'lexical heuristic' if kind == 'lexical' else kind})"),
        ("Judges", ", ".join(sorted({judge for _, judge in judged_by(config)}))),
        ("Sampling", chosen_settings(sampling, ("temperature", "top_p", "max_tokens", "context"))),
        ("Training", chosen_settings(training, ("beta", "learning_rate", "epochs", "global_batch", "max_length"))),
        ("Seed", str(config["seed"])),
    ]


def chosen_settings(section: dict, keys: tuple[str, ...]) -> str:
    """Those of `keys` that the section has, as one line."""
    return ", ".join(f"{key} {section[key]}" for key in keys if key in section)


def versions(manifests: list[dict]) -> list[tuple[str, str]]:
    """Library versions of all trainings; several where iterations were trained with different ones."""
    found: dict[str, set[str]] = {}
    for manifest in manifests:
        for name, version in json.loads(manifest["versions"] or "{}").items():
            found.setdefault(name, set()).add(str(version))
    return [(name, ", ".join(sorted(all_of))) for name, all_of in sorted(found.items())]


def training_points(catalog: Catalog, column: str) -> list[dict]:
    """Mean and middle half of a column of the margins, per policy."""
    return catalog.query(
        f"SELECT model, method, iteration, avg({column}) AS value, quantile_cont({column}, 0.25) AS low, "
        f"quantile_cont({column}, 0.75) AS high FROM margins GROUP BY ALL ORDER BY ALL"
    )


def figure(rows: list[dict], metric: Metric, title: str, config: dict, joined: bool) -> dict | None:
    """A chart of one model's `rows`; None where no row has a value. `joined`: methods' lines begin where they started."""
    frame = pl.DataFrame([{name: row[name] for name in charts.POINTS} for row in rows], schema=charts.POINTS)
    if frame["value"].drop_nulls().is_empty():
        return None
    if joined:
        starts = {name: -1 if config["recipes"].get(name, {}).get("start") == "base" else 0 for name in config["methods"]}
        frame = charts.joined_to_start(frame, {name: at for name, at in starts.items() if name in set(frame["method"])})
    drawn = charts.curve(frame, config["methods"], metric.axis, metric.rule)
    # The one text that is not escaped: an SVG whose only words are axis labels, which Vega escapes itself.
    return {"title": title, "svg": markupsafe.Markup(drawn), "sentence": metric.curve}


def model_figures(model: str, scores: list[dict], margins: dict[str, list[dict]], config: dict) -> list[dict]:
    """The curves of one model, the most telling first."""
    found = []
    mine = [row for row in scores if row["model"] == model]
    listed = places(mine, config)
    several = len({benchmark for benchmark, _ in listed}) > 2
    for benchmark, judge in listed:
        here = [row for row in mine if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        # With several benchmarks or judges a title must say whose curve it is.
        judges = sum(bool(name) for of, name in listed if of == benchmark)
        whose = [benchmark] * (several and benchmark != HELDOUT_PAIRS) + [judge] * (bool(judge) and judges > 1)
        for metric in in_order({row["metric"] for row in here}):
            if metric.curve:
                rows = [row for row in here if row["metric"] == metric.name]
                found.append(figure(rows, metric, " · ".join([metric.label, *whose]), config, joined=True))
    for metric in TRAINING_CURVES:
        rows = [row for row in margins[metric.name] if row["model"] == model]
        found.append(figure(rows, metric, metric.label, config, joined=False))
    return [drawn for drawn in found if drawn]


def legend(config: dict) -> list[dict]:
    """What the colours and shapes stand for."""
    first = {"name": "base, warm-up", **charts.style("base", config["methods"])}
    return [first, *({"name": method, **charts.style(method, config["methods"])} for method in config["methods"])]


def gate_summary(rows: list[dict]) -> dict:
    """How many gates passed, which failed, and the list of all by policy."""
    policies: dict[tuple, list[dict]] = {}
    for row in rows:
        policies.setdefault((row["model"], row["method"], row["iteration"]), []).append(row)
    listed = [{"model": key[0], "method": key[1], "iteration": key[2], "gates": gates} for key, gates in policies.items()]
    return {"total": len(rows), "failed": [row for row in rows if not row["passed"]], "policies": listed}


def excerpt(text: str | None) -> dict | None:
    """A text as the page shows it: an opening, the rest to unfold, and how many characters are left out altogether."""
    if text is None:
        return None
    # Control characters, and the marks that turn the order of all text after them around, are shown as what they are: odd.
    shown = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\u202d\u202e]", "\ufffd", text[:LONGEST].replace("\r\n", "\n"))
    head = "".join(shown[:EXCERPT].splitlines(keepends=True)[:EXCERPT_LINES])
    return {"head": head, "rest": shown[len(head) :], "left_out": max(0, len(text) - LONGEST)}


def sampled_pairs(catalog: Catalog, config: dict) -> list[dict]:
    """A dozen pairs of the methods' last iterations, spread evenly, picked by the hash of their id: the same ones every time."""
    rows = configured(
        catalog.query(
            "SELECT *, row_number() OVER (PARTITION BY model, method ORDER BY sha256(pair_id), pair_id) AS place FROM pairs "
            "WHERE iteration > 0 AND (model, method, iteration) IN "
            "(SELECT (model, method, max(iteration)) FROM pairs GROUP BY model, method) "
            f"QUALIFY place <= {SAMPLED_PAIRS} ORDER BY place"
        ),
        config,
    )
    groups = len({(row["model"], row["method"]) for row in rows})
    each = math.ceil(SAMPLED_PAIRS / groups) if groups else 0
    said = feedback_of(catalog, [row["pair_id"] for row in rows])
    taken = [row for row in rows if row["place"] <= each][:SAMPLED_PAIRS]
    return [sampled_pair(row, said.get((row["pair_id"], config["recipes"][row["method"]]["prompts"])), config) for row in taken]


def feedback_of(catalog: Catalog, ids: list[str]) -> dict[tuple[str, str], str]:
    """What users answered to the logged replies of these prompts, by prompt and pool."""
    rows = []
    for pool in ("dsat", "sat", "corrections"):
        found = catalog.connection.execute(
            f"SELECT prompt_id, feedback FROM {pool} WHERE prompt_id IN (SELECT unnest(?))", [ids]
        )
        rows += [((prompt_id, pool), feedback) for prompt_id, feedback in found.fetchall()]
    return dict(rows)


def sampled_pair(row: dict, feedback: str | None, config: dict) -> dict:
    """A pair as the page shows it."""
    return {
        **{name: row[name] for name in ("model", "method", "iteration", "pair_id", "chosen_tokens", "rejected_tokens")},
        **charts.style(row["method"], config["methods"]),
        "earlier": len(row["prompt"]) - 1,
        "asked": excerpt(row["prompt"][-1]["content"]),
        "feedback": excerpt(feedback),
        "chosen": excerpt(row["chosen"]),
        "rejected": excerpt(row["rejected"]),
        "chosen_from": "logged reply" if row["chosen_from"] == "logged" else "sampled",
        "rejected_from": "logged reply" if row["rejected_from"] == "logged" else "sampled",
    }


def training_table(catalog: Catalog, config: dict) -> list[dict]:
    """What went into each policy: pairs, steps, share of weights changed, tokens read, written and trained on, time."""
    policies = catalog.query("SELECT * FROM policies")
    sums = (
        "SELECT model, method, iteration, count(*) AS pairs, "
        "sum(2 * len(prompt_token_ids) + chosen_tokens + rejected_tokens) AS trained FROM pairs GROUP BY ALL",
        "SELECT model, method, iteration, sum(prompt_tokens) FILTER (benchmark IS NULL) AS read, "
        "sum(completion_tokens) FILTER (benchmark IS NULL) AS written, "
        "sum(prompt_tokens + completion_tokens) FILTER (benchmark IS NOT NULL) AS evaluated FROM completions GROUP BY ALL",
    )
    columns = (
        *("pairs", "trained", "read", "written", "evaluated", "versions", "changed_share", "seconds"),
        *("steps_done", "steps_planned"),
    )
    unknown = dict.fromkeys(columns)
    by_policy: dict[tuple, dict] = {}
    for row in [*policies, *(row for sql in sums for row in catalog.query(sql))]:
        by_policy.setdefault((row["model"], row["method"], row["iteration"]), {**unknown}).update(row)
    return configured(list(by_policy.values()), config)


def agreement_table(catalog: Catalog) -> dict:
    """Agreement of every labeler with every reference: one row a target, one cell a metric."""
    rows = catalog.query("SELECT * FROM agreement ORDER BY labeler, reference, target")
    found: dict[tuple, dict] = {}
    for row in rows:
        key = (row["labeler"], row["reference"], row["target"])
        found.setdefault(key, {**row, "cells": {}})["cells"][row["metric"]] = agreement_cell(row)
    return {"metrics": list(METRICS), "rows": list(found.values())}


def agreement_cell(row: dict) -> dict | None:
    """A figure of agreement as it is shown; None where it is not defined."""
    if row["value"] is None:
        return None
    return {"text": f"{row['value']:.2f}", "interval": f"{row['low']:.2f} to {row['high']:.2f}"}


def quarantined(catalog: Catalog, config: dict) -> dict:
    """What was found of the benchmarks: how many candidates by pool, benchmark and way, and examples picked by hash; and what
    training rows hold of the benchmarks that were not kept out."""
    counts = catalog.query("SELECT pool, benchmark, how, count(*) AS n FROM quarantine GROUP BY ALL ORDER BY ALL")
    examples = catalog.query("SELECT * FROM quarantine ORDER BY sha256(pool || prompt_id) LIMIT 5")
    held = catalog.query(
        """
        SELECT benchmark, any_value(of) AS of, count(DISTINCT contamination.task) AS held, count(contamination.task) AS rows
        FROM (SELECT benchmark, count(*) AS of FROM tasks GROUP BY ALL) LEFT JOIN contamination USING (benchmark)
        GROUP BY ALL
        ORDER BY benchmark
        """
    )
    late = {name for name, row in config["evaluation"]["benchmarks"].items() if not row["keep_out"]}
    return {
        "counts": counts,
        "examples": [row | {"evidence": excerpt(row["evidence"])} for row in examples],
        "late": [row for row in held if row["benchmark"] in late],
    }


def dropped_table(catalog: Catalog, config: dict) -> dict:
    """Why prompts gave no pair: reasons down, policies across, with the pairs that were made in the first row."""
    made = configured(catalog.query("SELECT model, method, iteration, count(*) AS n FROM pairs GROUP BY ALL"), config)
    lost = configured(catalog.query("SELECT model, method, iteration, reason, count(*) AS n FROM dropped GROUP BY ALL"), config)
    place = ("model", "method", "iteration")
    columns = list({tuple(row[key] for key in place): None for row in policy_order([*made, *lost], *names(config))})
    kept = {tuple(row[key] for key in place): row["n"] for row in made}
    reasons: dict[str, dict] = {}
    for row in lost:
        reasons.setdefault(row["reason"], {})[tuple(row[key] for key in place)] = row["n"]
    ordered = sorted(reasons.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return {
        "columns": [dict(zip(place, column, strict=True)) for column in columns],
        "kept": [kept.get(column, 0) for column in columns],
        "rows": [{"reason": reason, "counts": [counts.get(column, 0) for column in columns]} for reason, counts in ordered],
    }


def names(config: dict) -> tuple[list[str], list[str]]:
    """Models and methods in the order of the configuration."""
    return list(config["models"]), config["methods"]


# ------------------------------------------------------------------------------------------------------------- the page


def contents(catalog: Catalog, config: dict, benchmarks: Path, results: str) -> dict:
    """Everything that the template shows."""
    asked = catalog.query(
        "SELECT DISTINCT benchmark, judge, method, iteration, policy_hash FROM completions "
        "WHERE judge IS NOT NULL AND method IS NOT NULL AND error IS NULL ORDER BY ALL"
    )
    refused = refusals(asked)
    scores, comparisons = (
        [
            row
            for row in configured(catalog.query(f"SELECT * FROM {view}"), config)
            if (row["benchmark"], row["judge"]) not in refused
        ]
        for view in ("scores", "comparisons")
    )
    gates = gate_summary(configured(catalog.query("SELECT * FROM gates"), config))
    margins = {metric.name: configured(training_points(catalog, metric.name), config) for metric in TRAINING_CURVES}
    training = training_table(catalog, config)
    return {
        "run": config["run"],
        "results": results,
        "catalog": catalog.path,
        "notices": notices(config, gates) + judge_notices(scores, refused),
        "facts": facts(config),
        "versions": versions(training),
        "settings": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "scores": score_tables(scores, config),
        "comparisons": comparison_tables(comparisons, config),
        "figures": [{"model": model, "figures": model_figures(model, scores, margins, config)} for model in config["models"]],
        "judges": judge_table(catalog.query("SELECT * FROM validation"), config),
        "legend": legend(config),
        "ledger": ledger_lineages(catalog.query("SELECT * FROM ledger ORDER BY lineage, step")),
        "agreement": agreement_table(catalog),
        "heuristics": {name: CHECKED for name, row in config["data"]["labelers"].items() if row["kind"] == "lexical"},
        "quarantine": quarantined(catalog, config),
        "gates": gates,
        "pairs": sampled_pairs(catalog, config),
        "training": training,
        "dropped": dropped_table(catalog, config),
        "cost": cost_table(timing_rows(benchmarks)),
    }


def render(context: dict) -> str:
    """The page. Every value is escaped where it is put in; a name that the template misspells is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "percent": percent,
        "iteration_name": iteration_name,
        "size": size,
        "whole": whole,
    }
    return environment.get_template("report.html.j2").render(context)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--results", required=True, help="folder of the run, as the page should name it")
    command.add_argument("--config", required=True, help="the resolved configuration, YAML")
    command.add_argument("--catalog", required=True, help="the run's DuckDB catalog")
    command.add_argument("--benchmarks", required=True, help="folder of Snakemake's benchmark files")
    command.add_argument("--report", required=True, help="HTML page to write")
    arguments = command.parse_args()
    config = yaml.safe_load(Path(arguments.config).read_text(encoding="utf-8"))
    page = render(contents(Catalog(arguments.catalog), config, Path(arguments.benchmarks), arguments.results))
    with files.atomic_path(arguments.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
