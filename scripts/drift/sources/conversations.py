"""What a reader yields: frames of conversations, and what makes them of dicts or Parquet files.

A frame has a row a conversation. Columns and fields that a source does not have may be left out,
except id and messages:

    id          what the source calls it
    messages    a list of {role, content, ...}: see MESSAGE
    model       that answered
    language    as the source names it
    timestamp   UTC, without time zone
    user        what the source knows the user by; becomes a number and goes no further
    toxic       of the conversation, where the source does not say it of each message
    redacted    of the conversation, likewise
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drift.cli import StageError

MESSAGE = {
    "role": pl.String,
    "content": pl.String,
    "timestamp": pl.Datetime("us"),
    "toxic": pl.Boolean,  # in the eyes of the source
    "redacted": pl.Boolean,  # the source masked something
    "label": pl.String,  # of a reply: DSAT, SAT or NEUTRAL, where the source itself says so
    "evidence": pl.List(pl.String),  # what the label rests on
    "comment": pl.String,  # what the user wrote about this reply, outside of the chat
    "starts_over": pl.Boolean,  # of a user: whoever answered saw nothing of what was said before, save the system prompt
    "flags": pl.List(pl.String),  # oddities that the reader has seen or fixed
}
CONVERSATION = {
    "id": pl.String,
    "messages": pl.List(pl.Struct(MESSAGE)),
    "model": pl.String,
    "language": pl.String,
    "timestamp": pl.Datetime("us"),
    "user": pl.String,
    "toxic": pl.Boolean,
    "redacted": pl.Boolean,
}
# Conversations in a frame: some ten megabytes of text.
ROWS = 4000

_SURROGATES = re.compile("[\ud800-\udfff]")


def frames(conversations: Iterable[dict]) -> Iterator[pl.DataFrame]:
    """Frames of conversations given as dicts; lone surrogates become U+FFFD."""
    cleaned = map(_clean, conversations)
    while rows := list(itertools.islice(cleaned, ROWS)):
        yield pl.DataFrame(rows, schema=CONVERSATION)


def _clean(conversation: dict) -> dict:
    texts = {name: clean_text(value) for name, value in conversation.items() if isinstance(value, str)}
    texts["timestamp"] = utc(conversation.get("timestamp"))
    return conversation | texts | {"messages": [_clean_message(message) for message in conversation["messages"]]}


def _clean_message(message: dict) -> dict:
    texts = {name: clean_text(message[name]) for name in ("role", "content", "comment") if isinstance(message.get(name), str)}
    texts["timestamp"] = utc(message.get("timestamp"))
    if texts["content"] != message["content"]:
        texts["flags"] = [*(message.get("flags") or ()), "lone_surrogate"]
    if message.get("evidence"):
        texts["evidence"] = [clean_text(item) for item in message["evidence"]]
    return message | texts


def clean_text(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def utc(time: datetime | None) -> datetime | None:
    """`time` in UTC without zone; one without a zone is taken to be UTC."""
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time


def parquet_frames(file: Path, columns: Iterable[str], needed: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """Frames of those of the `columns` that a Parquet file has; nothing else is read.

    A field of a list of structs is named COLUMN.FIELD. Raises StageError that names the columns of
    the file where one of `needed` is missing or of another type, and where the file is not a
    Parquet file or is damaged.
    """
    try:
        with pq.ParquetFile(file) as shard:
            paths = _paths(shard)
            if missing := [column for column in needed if column not in paths]:
                raise StageError(
                    f"{file}: no column {', '.join(missing)}; it has: {', '.join(sorted(paths)[:30])}. "
                    "Check the source's kind and path."
                )
            for batch in shard.iter_batches(batch_size=ROWS, columns=[paths[column] for column in columns if column in paths]):
                frame = pl.DataFrame(pl.from_arrow(_valid(_of_plain_types(batch))))
                for column, kind in needed.items():
                    if (actual := _kind(frame, column)) != kind:
                        raise StageError(f"{file}: column {column} is {actual}, not {kind}. Check the source's kind and path.")
                yield frame
    except (pa.ArrowException, OSError) as error:
        raise StageError(f"{file}: not a whole Parquet file ({error}). Fetch or copy it again.") from error


def _of_plain_types(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the types that every reader knows in place of others for the same values:
    dictionaries (pandas' categories) and views of lists."""
    columns = [_listed(column) for column in batch.columns]
    plain = [column if (kind := _plain(column.type)) == column.type else column.cast(kind) for column in columns]
    return pa.record_batch(plain, batch.schema.names)


def _listed(column: pa.Array) -> pa.Array:
    """A view of lists as lists, which pyarrow's own cast leaves without the end of the last one."""
    if not pa.types.is_list_view(column.type) and not pa.types.is_large_list_view(column.type):
        return column
    ends = pc.cumulative_sum(pc.fill_null(column.value_lengths(), 0)).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    return pa.LargeListArray.from_arrays(offsets, column.flatten(), mask=column.is_null())


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind


def _kind(frame: pl.DataFrame, column: str) -> pl.DataType:
    name, _, field = column.partition(".")
    kind = frame.schema[name]
    return kind.inner.to_schema()[field] if field else kind


def _paths(shard: pq.ParquetFile) -> dict[str, str]:
    """The columns' full paths in the file, by COLUMN or COLUMN.FIELD."""
    paths = {}
    for path in (shard.schema.column(index).path for index in range(len(shard.schema))):
        # conversation.list.element.content: writers name the two steps in between differently.
        parts = path.split(".")
        if len(parts) in (1, 4):
            paths[parts[0] if len(parts) == 1 else f"{parts[0]}.{parts[3]}"] = path
    return paths


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, with U+FFFD for what is not UTF-8 in its texts: Parquet does not check them."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return pa.record_batch([_repaired(column) for column in batch.columns], batch.schema)
    return batch


def _repaired(column: pa.Array) -> pa.Array:
    """`column` with every text in it made valid, at any depth."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        raw = column.cast(pa.large_binary()).to_pylist()
        return pa.array([value if value is None else value.decode("utf-8", "replace") for value in raw], column.type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        make = type(column).from_arrays
        return make(column.offsets, _repaired(column.values), type=column.type, mask=column.is_null())
    if pa.types.is_struct(column.type):
        parts = [_repaired(column.field(index)) for index in range(column.type.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=list(column.type), mask=column.is_null())
    return column
