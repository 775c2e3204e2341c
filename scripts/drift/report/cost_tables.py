"""What the report says of a run's usage records: what became of every row, and what the jobs cost."""

import json
import math
from pathlib import Path
from statistics import fmean

# A row's way through the programs, for the order of the lineages.
STAGES = ("turns", "labels", "pools", "prompts", "pairs")


def ledger_lineages(rows: list[dict]) -> list[dict]:
    """Every lineage as stretches of one unit, the lineages from raw records to pairs."""
    lineages: dict[str, list[dict]] = {}
    for row in rows:
        lineages.setdefault(row["lineage"], []).append(row)

    def place(name: str) -> tuple:
        return STAGES.index(lineages[name][0]["stage"]), not name.endswith("/warmup"), name

    return [ledger_flow(name, lineages[name]) for name in sorted(lineages, key=place)]


def ledger_flow(name: str, steps: list[dict]) -> dict:
    """One lineage: where it starts and ends, and its stretches."""
    first, last = steps[0], steps[-1]
    stretches = [new_stretch(first["rows_in"], first["unit_in"])]
    for step in steps:
        if step["event"] == "regroup":
            stretches[-1]["regrouped"] = step["reason"]
            stretches.append(new_stretch(step["rows_out"], step["unit_out"]))
        elif step["dropped"] == 0:
            stretches[-1]["clean"].append(step["reason"])
        else:
            whole_width = stretches[-1]["rows"] or 1
            bar = {"kept": 100 * step["rows_out"] / whole_width, "lost": 100 * step["dropped"] / whole_width}
            stretches[-1]["steps"].append({**step, **bar})
    return {
        "name": name,
        "rows_in": first["rows_in"],
        "unit_in": first["unit_in"],
        "rows_out": last["rows_out"],
        "unit_out": last["unit_out"],
        "stretches": stretches,
    }


def new_stretch(rows: int, unit: str) -> dict:
    """A stretch of a lineage that begins with `rows` of a unit."""
    return {"rows": rows, "unit": unit, "steps": [], "clean": [], "regrouped": None}


def finite(value: object) -> float | None:
    """A figure of a benchmark file; None where Snakemake wrote NA or nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def timing_rows(folder: Path) -> list[dict]:
    """Every record of the benchmark files: rule (the folder's name), seconds, peak memory in MiB, CPU seconds."""
    rows = []
    for file in sorted(folder.rglob("*.jsonl")):
        rule = file.relative_to(folder).parts[0].removesuffix(".jsonl")
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # a job that was killed while its record was written; its next attempt has a record of its own
            if isinstance(record, dict):
                figures = {key: finite(record.get(key)) for key in ("s", "max_rss", "cpu_time")}
                rows.append({"rule": rule, **figures})
    return rows


def cost_table(rows: list[dict]) -> dict:
    """Per rule: jobs, total and longest time, CPU time, peak memory; the longest in total first, and the sum of all."""
    rules: dict[str, list[dict]] = {}
    for row in rows:
        rules.setdefault(row["rule"], []).append(row)
    listed = sorted((rule_cost(rule, jobs) for rule, jobs in rules.items()), key=lambda row: (-row["seconds"], row["rule"]))
    return {"rules": listed, "total": rule_cost("all", rows) if rows else None}


def rule_cost(rule: str, jobs: list[dict]) -> dict:
    """The cost of the jobs of one rule; memory is None where nothing was measured (jobs shorter than a measurement)."""
    of = {key: [job[key] for job in jobs if job[key] is not None] for key in ("s", "max_rss", "cpu_time")}
    seconds = sum(of["s"])
    return {
        "rule": rule,
        "jobs": len(jobs),
        "seconds": seconds,
        "mean": fmean(of["s"]) if of["s"] else 0.0,
        "longest": max(of["s"], default=0.0),
        "cpu": sum(of["cpu_time"]),
        "memory": max(of["max_rss"], default=None),
    }
