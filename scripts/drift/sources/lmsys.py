"""LMSYS-Chat-1M: Parquet shards, one row per conversation. Gated; it may not be passed on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift.sources.conversations import parquet_frames

SUFFIXES = (".parquet",)
UNIT = "rows"
DROPS = ()
CONVERSATION_DROPS = ()

_NEEDED = {"conversation_id": pl.String, "conversation.role": pl.String, "conversation.content": pl.String}
_COLUMNS = (*_NEEDED, "model", "language", "redacted", "openai_moderation.flagged")


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations. Raises StageError where a file is damaged or lacks a column."""
    for file in files:
        for rows in parquet_frames(file, _COLUMNS, _NEEDED):
            counts[UNIT] += rows.height
            counts["conversations"] += rows.height
            rows = rows.rename({"conversation_id": "id", "conversation": "messages"})
            if "openai_moderation" in rows.columns:
                flagged = pl.col("openai_moderation").list.eval(pl.element().struct.field("flagged")).list.any()
                rows = rows.with_columns(toxic=flagged).drop("openai_moderation")
            yield rows
