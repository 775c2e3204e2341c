"""What the report says of judges: who judged what and how, and how far each agrees with published figures."""

from drift.judging.protocols import judged, protocol_of, words
from drift.report.metric_labels import Metric, minus, percent, whole


def coefficient(value: float) -> str:
    return minus(f"{value:.2f}")


AGREEMENT = (
    Metric("pearson", "Pearson", coefficient, help="correlation of the judge's figures with the published ones"),
    Metric("spearman", "Spearman", coefficient, help="the same of their ranks"),
    Metric("kappa", "Kappa", coefficient, help="Cohen's kappa: agreement beyond chance; of scores with quadratic weights"),
    Metric("agreement", "Agreement", percent, help="share of items with the same verdict; of scores: within a point"),
    Metric("rank_agreement", "Ranks of models", coefficient, help="Kendall's tau between the models' means"),
    Metric(
        "position_flip_rate", "Verdict flips", percent, help="share of items whose verdict changes with the order of answers"
    ),
    Metric("judged", "Judged", percent, help="share of the published items that got a verdict"),
)


def judge_table(validation: list[dict], config: dict) -> dict:
    """One row per benchmark and judge: how it judges, and a cell per measure of agreement; None where it was not tried."""
    found = {(row["judge"], row["benchmark"], row["metric"]): row for row in validation}
    rows = []
    for benchmark, judge in judged(config):
        row = config["evaluation"]["judges"][judge]
        measured = [found.get((judge, benchmark, metric.name)) for metric in AGREEMENT]
        rows.append(
            {
                "judge": judge,
                "benchmark": benchmark,
                "model": row["endpoint"]["model"] if row["endpoint"] else row["path"],
                "how": words(protocol_of(config, benchmark, judge)) + (", own template" if row["template"] else ""),
                "cells": [cell(measure, metric) for measure, metric in zip(measured, AGREEMENT, strict=True)],
                "tried": any(measured),
            }
        )
    return {"metrics": AGREEMENT, "rows": rows}


def cell(row: dict | None, metric: Metric) -> dict | None:
    """A measure as it is shown; None where it is not defined."""
    if row is None or row["value"] is None:
        return None
    ends = None if row["low"] is None else f"{metric.text(row['low']).rstrip('%')} to {metric.text(row['high']).rstrip('%')}"
    return {"text": metric.text(row["value"]), "interval": ends, "n": whole(row["n"])}
