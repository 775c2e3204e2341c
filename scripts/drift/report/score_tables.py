"""What the report shows of scores: a table per benchmark, comparisons of policies, and which scores it does not show together."""

from collections.abc import Iterable

from drift.names import HELDOUT_PAIRS
from drift.report import charts
from drift.report.judge_tables import judged_by
from drift.report.metric_labels import Metric, in_order, points, probability, signed

SIGNIFICANT = 0.05


def title_of(benchmark: str) -> str:
    return "held-out corrections" if benchmark == HELDOUT_PAIRS else benchmark


def refusals(asked: Iterable[dict]) -> dict[tuple[str, str], str]:
    """Which judges' scores of which benchmarks are not shown, and why.

    `asked`: benchmark, judge, and the model that answered as it (policy_hash), for every policy. One name may stand for several
    models: an endpoint serves another one under it, or the configuration was changed between two policies.
    """
    models: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in asked:
        policy = row["method"] if row["iteration"] < 1 else f"{row['method']} {row['iteration']}"
        models.setdefault((row["benchmark"], row["judge"]), {}).setdefault(row["policy_hash"], []).append(policy)
    return {
        place: f"{place[1]} was {len(found)} models when it judged {place[0]}: "
        + "; ".join(f"{model[:40]} for {', '.join(policies)}" for model, policies in sorted(found.items()))
        + ". Different judges' scores are no scale to put policies on, so they are not shown in one column. Delete the judge "
        f"folders under */eval/{place[0]}/judge/{place[1]} and run again, so that one model judges all policies."
        for place, found in models.items()
        if len(found) > 1
    }


def judge_notices(scores: list[dict], refused: dict[tuple[str, str], str]) -> list[dict]:
    """What a reader must know of the judges before any number."""
    found = [{"title": "Scores withheld", "text": text, "kind": "failure"} for text in refused.values()]
    judges: dict[str, set[str]] = {}
    for score in scores:
        if score["judge"]:
            judges.setdefault(score["benchmark"], set()).add(score["judge"])
    for benchmark, judge in sorted({(row["benchmark"], row["judge"]) for row in scores if "written_win_rate" in row["metric"]}):
        text = (
            f"{judge} gives no probabilities for {benchmark}, so the letters that it wrote count. Their share is another measure than "
            "a win rate from probabilities; length control, which is made for those, is left out."
        )
        found.append({"title": "Letters without probabilities", "text": text, "kind": "note"})
    for benchmark, names in judges.items():
        if len(names) > 1:
            text = (
                f"{benchmark} was judged by {' and by '.join(sorted(names))}. Each has columns and curves of its own: two judges "
                "of the same answers differ by more than the methods do, so their scores are not put in one column."
            )
            found.append({"title": "Several judges", "text": text, "kind": "note"})
    return found


def places(rows: list[dict], config: dict) -> list[tuple[str, str]]:
    """Every benchmark and judge of the rows in the order of the configuration; in each benchmark last what nobody judged."""
    order = [*judged_by(config), *((name, "") for name in config["evaluation"]["benchmarks"]), (HELDOUT_PAIRS, "")]
    names = [*config["evaluation"]["benchmarks"], HELDOUT_PAIRS]
    found = {(row["benchmark"], row["judge"]) for row in rows}
    return sorted(found & set(order), key=lambda place: (names.index(place[0]), order.index(place)))


def score_tables(scores: list[dict], config: dict) -> list[dict]:
    """A table per benchmark, a row per policy, a column per judge and metric; details in a second table of the benchmark."""
    found = []
    listed = places(scores, config)
    for benchmark in dict.fromkeys(benchmark for benchmark, _ in listed):
        of_benchmark = [score for score in scores if score["benchmark"] == benchmark]
        groups = []
        for judge in (judge for name, judge in listed if name == benchmark):
            names = {score["metric"] for score in of_benchmark if score["judge"] == judge}
            title = f"judged by {judge}" if judge else "answers" if benchmark != HELDOUT_PAIRS else ""
            groups.append({"judge": judge, "title": title, "metrics": in_order(names)})
        found.append({"title": title_of(benchmark), **score_rows(of_benchmark, groups, config, False)})
        if any(metric.detail for group in groups for metric in group["metrics"]):
            found[-1]["more"] = score_rows(of_benchmark, groups, config, True)
    return found


def score_rows(scores: list[dict], groups: list[dict], config: dict, detail: bool) -> dict:
    """The columns that are details, or those that are not, and a row per policy."""
    kept = [{**group, "metrics": [m for m in group["metrics"] if m.detail == detail]} for group in groups]
    kept = [{**group, "counted": bool(group["judge"]) and not detail} for group in kept if group["metrics"]]
    policies: dict[tuple, dict] = {}
    for score in scores:
        of = policies.setdefault((score["model"], score["method"], score["iteration"]), {})
        of[score["judge"], score["metric"]] = score
    rows = []
    for (model, method, iteration), of in policies.items():
        cells = []
        for group in kept:
            of_group = [of.get((group["judge"], metric.name)) for metric in group["metrics"]]
            cells += [score_cell(score, metric) for score, metric in zip(of_group, group["metrics"], strict=True)]
            if group["counted"]:
                cells.append(judged_cell(of_group))
        rows.append(
            {"model": model, "method": method, "iteration": iteration, "cells": cells} | charts.style(method, config["methods"])
        )
    return {"groups": kept, "rows": rows, "more": None}


def score_cell(score: dict | None, metric: Metric) -> dict | None:
    """A score as it is shown; None where it is not defined."""
    if score is None or score["value"] is None:
        return None
    cell = {"value": score["value"], "text": metric.text(score["value"]), "n": score["n"], "total": score["total"]}
    spread = score["spread"]
    cell["spread"] = None if spread is None else f"± {metric.text(spread)} in {score['samples']} samples"
    return cell | {"interval": interval(score, metric.text), "sign": sign(score) if metric.text in (points, signed) else ""}


def interval(row: dict, text) -> str | None:
    """An interval as it is shown; None where there is none."""
    return None if row["low"] is None else f"{text(row['low']).rstrip('%')} to {text(row['high']).rstrip('%')}"


def sign(row: dict) -> str:
    """Whether an interval lies above or below 0."""
    return "" if row["low"] is None else "up" if row["low"] > 0 else "down" if row["high"] < 0 else ""


def judged_cell(of_group: list[dict | None]) -> dict | None:
    """How many items the judge's main figure is of."""
    first = next((score for score in of_group if score is not None), None)
    return None if first is None else {"text": f"{first['n']:,} of {first['total']:,}", "value": None}


def comparison_tables(comparisons: list[dict], config: dict) -> list[dict]:
    """A table per benchmark, judge and metric: which policy is compared with which, by how much they differ, and how surely."""
    found = []
    for benchmark, judge in places(comparisons, config):
        here = [row for row in comparisons if (row["benchmark"], row["judge"]) == (benchmark, judge)]
        for metric in in_order({row["metric"] for row in here}):
            by = f", judged by {judge}" if judge else ""
            rows = [compared(row, metric, config) for row in here if row["metric"] == metric.name]
            found.append(
                {
                    "title": f"{title_of(benchmark)}: {metric.label}{by}",
                    "rows": rows,
                    "found": sum(bool(row["sign"]) for row in rows),
                }
            )
    return found


def compared(row: dict, metric: Metric, config: dict) -> dict:
    """A comparison as it is shown; coloured only where it stands after the correction."""
    shown = {**row, **charts.style(row["method"], config["methods"]), "difference": None, "p": None, "p_holm": None}
    shown |= {
        "interval": None,
        "sign": "",
        "against": {"base": "base model", "previous": "iteration before", "method": "other method"}[row["against"]],
    }
    if row["difference"] is None:
        return shown
    stands = row["p_holm"] < SIGNIFICANT
    return shown | {
        "difference": metric.difference(row["difference"]),
        "interval": interval(row, metric.difference),
        "sign": ("up" if row["difference"] > 0 else "down") if stands else "",
        "p": probability(row["p"]),
        "p_holm": probability(row["p_holm"]),
    }
