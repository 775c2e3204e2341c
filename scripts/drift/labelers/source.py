"""The labels that come with a source: annotations, thumbs, ratings. They are taken as they are."""

from collections import Counter
from pathlib import Path

import polars as pl

SILENT = "the source says nothing of the reply"
DROPS = (SILENT,)


def label(turns: pl.DataFrame, answers: None = None) -> tuple[pl.DataFrame, Counter]:
    """The source's own label of every reply that has one, with or without a follow-up."""
    labels = turns.drop_nulls(["response", "source_label"]).select(
        "conversation_id",
        "turn",
        label="source_label",
        evidence=pl.col("source_evidence").fill_null([]),
        tier=pl.lit(None, pl.String),
        score=pl.lit(1.0),
    )
    return labels, Counter({SILENT: turns.height - labels.height})


def unheard(turns: Path, labels: Path, labeler: str) -> str | None:
    """A notice for whoever chose `labeler`, where it says something else of replies, or nothing,
    than the source itself; None where it says the same of all, or the source says nothing.

    `turns`, `labels`: paths of these tables.
    """
    said = pl.scan_parquet(turns).drop_nulls(["response", "source_label"]).select("conversation_id", "turn", "source_label")
    judged = pl.scan_parquet(labels).filter(labeler=labeler).select("conversation_id", "turn", "label")
    joined = said.join(judged, on=["conversation_id", "turn"], how="left")
    rows, differ = joined.select(pl.len(), differ=pl.col("label").ne_missing(pl.col("source_label")).sum()).collect().row(0)
    if not differ:
        return None
    return (
        f"the sources say of {rows} replies what users thought (thumbs, ratings, annotations); labeler {labeler}, which "
        f"data.labeler chooses, does not read that and differs on {differ}. A labeler of kind source takes it as it is."
    )
