"""LMSYS-Chat-1M: Parquet shards, one row per conversation. Gated; it may not be passed on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift.sources import details
from drift.sources.parquet import parquet_frames

SUFFIXES = (".parquet",)
UNIT = "rows"
DROPS = ()
CONVERSATION_DROPS = ()

_NEEDED = {"conversation_id": pl.String, "conversation.role": pl.String, "conversation.content": pl.String}
_OPTIONAL = {
    "conversation_id": details.name,
    "model": details.name,
    "language": details.name,
    "redacted": details.flag,
    "openai_moderation.flagged": details.flag,
}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations. Raises StageError where a file is damaged or lacks a column."""
    for file in files:
        for rows in parquet_frames(file, _NEEDED, _OPTIONAL, "conversation"):
            counts[UNIT] += rows.height
            counts["conversations"] += rows.height
            rows = rows.rename({"conversation_id": "id", "conversation": "messages"})
            if "openai_moderation" in rows.columns:
                flagged = pl.col("openai_moderation").list.eval(pl.element().struct.field("flagged"))
                # Not known of one message is not known of all, unless another one is toxic.
                toxic = flagged.list.eval(pl.element().any(ignore_nulls=False)).list.first()
                rows = rows.with_columns(toxic=toxic).drop("openai_moderation")
            yield rows
