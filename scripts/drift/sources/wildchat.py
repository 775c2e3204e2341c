"""WildChat: Parquet shards, one row per conversation (WildChat-1M, WildChat-4.8M and the first WildChat).

Columns are found by name, so that the releases' different order and types do not matter. Only the columns named here are
read from the files: addresses, headers and places of users (hashed_ip, header, state, country) never are.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from drift.cli import StageError

SUFFIX = ".parquet"
UNIT = "rows"
NO_ID = "row without an id"
EMPTY = "row without messages"
NO_TEXT = "a message without role or text"
DROPS = (NO_ID, EMPTY, NO_TEXT)
CONVERSATION_DROPS = ()

_COLUMNS = ("conversation_hash", "conversation_id", "model", "language", "timestamp")
_MESSAGE_COLUMNS = ("role", "content", "timestamp", "turn_identifier")
_ROWS_AT_A_TIME = 2000


def read(file: Path, counts: Counter) -> Iterator[dict]:
    """Yield the conversations of a shard. Raises StageError where the file is not Parquet or lacks a column."""
    try:
        shard = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise StageError(f"{file}: not a Parquet file: {error}. Fetch it again: it may be incomplete.") from error
    for batch in shard.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=wanted_columns(shard, file)):
        for row in batch.to_pylist():
            counts[UNIT] += 1
            conversation = _conversation(row)
            if isinstance(conversation, str):
                counts[conversation] += 1
            else:
                counts["conversations"] += 1
                yield conversation


def wanted_columns(shard: pq.ParquetFile, file: Path) -> list[str]:
    """Paths of the columns to read, down to the fields of a message. Raises StageError where a needed one is missing."""
    found = {}
    for path in (shard.schema.column(index).path for index in range(len(shard.schema))):
        # conversation.list.element.content; writers name the two steps in between in different ways.
        parts = path.split(".")
        if path in _COLUMNS or (parts[0] == "conversation" and len(parts) == 4 and parts[-1] in _MESSAGE_COLUMNS):
            found[path if len(parts) == 1 else f"conversation: {parts[-1]}"] = path
    missing = [column for column in ("conversation: role", "conversation: content") if column not in found]
    if not {"conversation_hash", "conversation_id"} & found.keys():
        missing.append("conversation_hash")
    if missing:
        raise StageError(f"{file}: no column {', '.join(missing)}: not a WildChat shard. Check the source's kind and path.")
    return list(found.values())


def _conversation(row: dict) -> dict | str:
    key = row.get("conversation_id") or row.get("conversation_hash")
    messages = row["conversation"]
    if not key:
        return NO_ID
    if not messages:
        return EMPTY
    if any(message is None or message["role"] is None or message["content"] is None for message in messages):
        return NO_TEXT
    # The hash is one of the text, so two conversations can share it; the identifier of their first turn tells them apart.
    turn = messages[0].get("turn_identifier")
    return {
        "id": key if turn is None else f"{key}_{turn}",
        "messages": [message | {"timestamp": _utc(message.get("timestamp"))} for message in messages],
        "model": row.get("model"),
        "language": row.get("language"),
        "timestamp": _utc(row.get("timestamp")),
    }


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time
