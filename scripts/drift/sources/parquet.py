"""Parquet files of any writer: with the types that readers know, valid texts, and details that cost
themselves alone."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from drift.cli import StageError
from drift.sources import details
from drift.sources.conversations import ROWS, UNREADABLE_DETAIL
from drift.sources.files import looks_like

# What a detail is read by (a function of drift.sources.details), and the type that it has then.
Reader = Callable[[object], object]
# In place of a value that Python has no type for.
UNKNOWN = object()
_TYPES = {details.name: pl.String, details.time: pl.Datetime("us"), details.flag: pl.Boolean}


def parquet_rows(file: Path) -> Iterator[dict]:
    """The rows of a Parquet file, one by one, with UNKNOWN for values that Python has no type
    for. Raises StageError where it is none, or damaged."""
    for batch in _batches(file, lambda _: None):
        try:
            yield from batch.to_pylist(maps_as_pydicts="lossy")
        except (ValueError, OverflowError):  # as of times after the year 9999
            for row in range(batch.num_rows):
                yield {name: _value(column[row]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


def _value(value: pa.Scalar) -> object:
    try:
        return value.as_py(maps_as_pydicts="lossy")
    except (ValueError, OverflowError):
        return UNKNOWN


def parquet_frames(
    file: Path, needed: dict[str, pl.DataType], optional: dict[str, Reader], messages: str | None = None
) -> Iterator[pl.DataFrame]:
    """Frames of those of the columns `needed` and `optional` that a Parquet file has; nothing else
    is read.

    A field of a list of structs is named COLUMN.FIELD. Columns of `optional` are as their function
    of drift.sources.details reads them, whatever their type in the file; where it reads nothing,
    the first element of the column `messages` is flagged. Raises StageError that names the columns
    of the file where one of `needed` is missing or of another type, and where the file is not a
    Parquet file or is damaged.
    """

    def columns(paths: dict[str, str]) -> list[str]:
        if missing := [column for column in needed if column not in paths]:
            raise StageError(
                f"{file}: no column {', '.join(missing)}; it has: {', '.join(sorted(paths)[:30])}. "
                "Check the source's kind and path."
            )
        return [paths[column] for column in {**needed, **optional} if column in paths]

    for batch in _batches(file, columns):
        frame = _with_details(pl.DataFrame(pl.from_arrow(batch)), optional, messages)
        for column, kind in needed.items():
            actual = _kind(frame, column)
            if kind.is_float() and actual.is_numeric():
                frame = frame.with_columns(pl.col(column).cast(kind))
            elif actual != kind:
                raise StageError(f"{file}: column {column} is {actual}, not {kind}. Check the source's kind and path.")
        yield frame


def _batches(file: Path, columns: Callable[[dict[str, str]], list[str] | None]) -> Iterator[pa.RecordBatch]:
    """The file batch by batch, in plain types and with valid texts. `columns` picks from the full
    paths of its columns, by COLUMN or COLUMN.FIELD; None: all of them."""
    try:
        with pq.ParquetFile(file) as shard:
            for batch in shard.iter_batches(batch_size=ROWS, columns=columns(_paths(shard))):
                yield _valid(_of_plain_types(batch))
    except (pa.ArrowException, OSError) as error:
        found = looks_like(file)
        said = f"it looks like {found}" if found else f"{error}"
        raise StageError(f"{file}: not a whole Parquet file ({said}). Fetch or copy it again.") from error


def _with_details(frame: pl.DataFrame, optional: dict[str, Reader], messages: str | None) -> pl.DataFrame:
    """The frame with its `optional` columns as their functions read them."""
    lost: set[int] = set()
    for column, read in optional.items():
        name, _, field = column.partition(".")
        if name not in frame.columns or (field and field not in _fields(frame, name)):
            continue
        # A value each, and the row that it is in.
        given = frame.select(row=pl.int_range(pl.len()), values=name)
        if field:
            given = given.filter(pl.col("values").list.len() > 0).explode("values")
        values = given["values"].struct.field(field) if field else given["values"]
        known = _read(values, read)
        if known is values:
            continue
        gone = known.is_null() & values.is_not_null()
        lost |= {
            row
            for row, value in zip(given["row"].filter(gone), values.filter(gone), strict=True)
            if not details.is_absent(value)
        }
        if field:
            parts = given.unnest("values").with_columns(known.alias(field))
            lists = parts.group_by("row").agg(pl.struct(pl.exclude("row")).alias(name))
            rows = frame.drop(name).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
            frame = rows.join(lists, on="row", how="left", maintain_order="left").drop("row")
        else:
            frame = frame.with_columns(known.alias(name))
    return _flagged(frame, messages, lost) if messages and lost else frame


def _read(values: pl.Series, read: Reader) -> pl.Series:
    """`values` as `read` makes them; themselves where all are so already."""
    kind = values.dtype
    if read is details.time and kind in (pl.Datetime, pl.Date):
        possible = values.dt.year().is_between(details.YEARS.start, details.YEARS.stop - 1)
        return values if possible.all() else values.set(~possible, None)
    if kind == _TYPES[read]:
        return values
    if kind == pl.Null or (read is details.name and (kind.is_integer() or kind in (pl.Categorical, pl.Enum))):
        return values.cast(_TYPES[read])
    return pl.Series(values.name, [read(value) for value in values.to_list()], _TYPES[read])


def _flagged(frame: pl.DataFrame, messages: str, lost: Iterable[int]) -> pl.DataFrame:
    """The frame with a flag on the first message of the rows `lost`."""
    rows = frame[messages].to_list()
    for number in lost:
        if rows[number] and rows[number][0] is not None:
            rows[number][0]["flags"] = [UNREADABLE_DETAIL]
    kind = pl.List(pl.Struct(_fields(frame, messages) | {"flags": pl.List(pl.String)}))
    return frame.with_columns(pl.Series(messages, rows, kind))


def _fields(frame: pl.DataFrame, column: str) -> dict[str, pl.DataType]:
    return dict(frame.schema[column].inner.to_schema())


def _kind(frame: pl.DataFrame, column: str) -> pl.DataType:
    name, _, field = column.partition(".")
    return _fields(frame, name)[field] if field else frame.schema[name]


def _of_plain_types(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with the types that every reader knows in place of others for the same values:
    dictionaries (pandas' categories), views of lists and lists of one length, bytes that are text,
    and what a type of its own is stored as."""
    columns = [_listed(column) for column in batch.columns]
    return pa.record_batch([_cast(column, _plain(column.type)) for column in columns], batch.schema.names)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    # Bytes that are no text are mended afterwards.
    return column if kind == column.type else column.cast(options=pc.CastOptions(kind, allow_invalid_utf8=True))


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
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.large_string()
    if isinstance(kind, pa.JsonType):
        return _plain(kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind


def _paths(shard: pq.ParquetFile) -> dict[str, str]:
    """The columns' full paths in the file, by COLUMN or COLUMN.FIELD."""
    lists = {field.name for field in shard.schema_arrow if hasattr(field.type, "value_field")}
    paths = {}
    for path in (shard.schema.column(index).path for index in range(len(shard.schema))):
        # conversation.list.element.content: writers name the two steps in between differently, and
        # old ones have a single one.
        parts = path.split(".")
        if len(parts) == 1 or (len(parts) in (3, 4) and parts[0] in lists):
            paths[parts[0] if len(parts) == 1 else f"{parts[0]}.{parts[-1]}"] = path
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
