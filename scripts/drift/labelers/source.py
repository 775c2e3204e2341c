"""The labels that come with a source: annotations, thumbs, ratings. They are taken as they are."""

from collections import Counter

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
