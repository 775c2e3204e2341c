"""Tables read and written: checked against their schemas, sorted by key, whole or not at all."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import dataframely as dy
import polars as pl
from polars.io.plugins import register_io_source

from drift.cli import StageError
from drift.files import atomic_path


class TableError(StageError):
    """A table is not what its schema says; the message names the file, the rule and the number of
    rows."""


def write_table(rows: pl.DataFrame, schema: type[dy.Schema], path: str | Path) -> None:
    """Check `rows` against `schema`, sort them by key and write them to `path` as zstd Parquet,
    whole or not at all.

    Columns that the schema does not name are left out. Raises TableError where a rule of the schema
    is broken; nothing is written then.
    """
    rows = _valid(rows, schema, path).sort(schema.primary_key())
    with atomic_path(path) as temporary:
        rows.write_parquet(temporary, compression="zstd", statistics=True)


# Rows that are compressed at once when a table is written in batches.
ROW_GROUP = 20_000


def write_batches(batches: Iterable[pl.DataFrame], schema: type[dy.Schema], path: str | Path) -> int:
    """As `write_table`, for rows that come sorted by key, in batches of any size, and need not fit
    in memory. Returns their number.

    The bytes depend on the rows alone, not on how they are cut into batches or on the number of
    threads. The next batch is made by another thread while one is compressed, column by column, by
    all. Raises what `batches` raises, and TableError.
    """
    written = 0

    def checked(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal written
        for rows in _checked(batches, schema, path):
            written += rows.height
            yield rows

    rows = register_io_source(checked, schema=schema.create_empty().schema)
    with atomic_path(path) as temporary:
        # The first level takes two thirds of the time of the third, which is the default, and a
        # tenth more space.
        rows.sink_parquet(temporary, compression="zstd", compression_level=1, statistics=True, row_group_size=ROW_GROUP)
    return written


def _valid(rows: pl.DataFrame, schema: type[dy.Schema], path: str | Path) -> pl.DataFrame:
    """The schema's columns of `rows`, cast to their types. Raises TableError where a rule of the
    schema is broken."""
    try:
        return schema.validate(rows.select(schema.column_names()), cast=True)
    except (dy.exc.ValidationError, dy.exc.SchemaError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{path}: rows that are not {schema.__name__}: {error}") from error


def _checked(batches: Iterable[pl.DataFrame], schema: type[dy.Schema], path: str | Path) -> Iterator[pl.DataFrame]:
    """The batches, each with the schema's columns and valid, and sorted by key from the first to
    the last. Raises TableError."""
    last = None
    for rows in batches:
        rows = _valid(rows, schema, path)
        keys = rows.select(schema.primary_key())
        if not keys.is_empty():
            if not keys.equals(keys.sort(keys.columns)) or (last is not None and last >= keys.row(0)):
                raise TableError(f"{path}: rows that are not sorted by {', '.join(keys.columns)}, or come twice")
            last = keys.row(-1)
        yield rows


def read_table(schema: type[dy.Schema], *paths: str | Path) -> pl.DataFrame:
    """The rows of all `paths` (shards of one table), sorted by key. Raises TableError for a missing
    column or a broken rule."""
    frames = []
    for path in paths:
        try:
            frames.append(pl.read_parquet(path, columns=schema.column_names(), hive_partitioning=False))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TableError(
                f"{path}: not a readable {schema.__name__} table: {error}. Delete it and run again to have it rebuilt."
            ) from error
    rows = pl.concat(frames) if frames else schema.create_empty()
    try:
        return schema.validate(rows.sort(schema.primary_key()))
    except (dy.exc.ValidationError, dy.exc.SchemaError) as error:
        raise TableError(f"{', '.join(map(str, paths))}: rows that are not {schema.__name__}: {error}") from error
