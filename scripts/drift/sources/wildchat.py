"""WildChat: Parquet shards, one row per conversation (the first WildChat, WildChat-1M and -4.8M).

Columns are found by name, so that the releases' different order and types do not matter. Only the
columns named here are read: headers and places of users (header, state, country) never are, and
hashed_ip only to number the users.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift.cli import StageError
from drift.sources import details
from drift.sources.parquet import parquet_frames

SUFFIXES = (".parquet",)
UNIT = "rows"
DROPS = ()
CONVERSATION_DROPS = ()

_NEEDED = {"conversation.role": pl.String, "conversation.content": pl.String}
_OPTIONAL = {
    "conversation_hash": details.name,
    "conversation_id": details.name,
    "model": details.name,
    "language": details.name,
    "timestamp": details.time,
    "hashed_ip": details.name,
    "toxic": details.flag,
    "redacted": details.flag,
    "conversation.timestamp": details.time,
    "conversation.turn_identifier": details.name,
    "conversation.toxic": details.flag,
    "conversation.redacted": details.flag,
}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations. Raises StageError where a file is damaged or lacks a column."""
    for file in files:
        for rows in parquet_frames(file, _NEEDED, _OPTIONAL, "conversation"):
            counts[UNIT] += rows.height
            counts["conversations"] += rows.height
            yield _conversations(rows, file)


def _conversations(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    keys = [name for name in ("conversation_id", "conversation_hash") if name in rows.columns]
    if not keys:
        raise StageError(f"{file}: no column conversation_hash; it has: {', '.join(rows.columns)}. Check the source's kind.")
    key = pl.coalesce(keys)
    if "turn_identifier" in {field.name for field in rows.schema["conversation"].inner.fields}:
        # The hash is one of the text, so two conversations can share it; the identifier of their
        # first turn tells them apart.
        turn = pl.col("conversation").list.first().struct.field("turn_identifier")
        key = pl.when(key == "").then(key).otherwise(key + pl.format("_{}", turn).fill_null(""))
    names = {"conversation": "messages", "hashed_ip": "user"}
    return rows.with_columns(key.alias("id")).drop(keys).rename(names, strict=False)
