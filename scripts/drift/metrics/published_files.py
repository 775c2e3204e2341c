"""Files of figures that others published, read so that a missing file, column or field is named."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from drift.cli import StageError


def read_csv(path: Path, columns: Mapping[str, type[pl.DataType]], nullable: Collection[str] = ()) -> pl.DataFrame:
    """`columns`, by name and type, of a CSV file, gzipped or not.

    Empty, null and NaN fields are null, which only the columns of `nullable` may hold.
    """
    if not path.is_file():
        raise missing(path)
    try:
        lacking = [name for name in columns if name not in pl.read_csv(path, n_rows=0).columns]
        if lacking:
            named = ", ".join(repr(name) for name in lacking)
            raise StageError(f"{path}: no column {named}. Give a file that has it, or correct its header.")
        rows = pl.read_csv(path, columns=list(columns), schema_overrides=columns, null_values=["", "null", "NaN", "nan"])
    except pl.exceptions.PolarsError as error:
        raise unreadable(path, str(error).splitlines()[0]) from error
    holed = [name for name in columns if name not in nullable and rows[name].null_count()]
    if holed:
        raise unreadable(path, f"fields of column {', '.join(repr(name) for name in holed)} are empty")
    return rows.select(list(columns))


def read_json(path: Path) -> dict[str, dict[str, Any]]:
    """An object of objects, such as figures by model."""
    if not path.is_file():
        raise missing(path)
    try:
        figures = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise unreadable(path, str(error)) from error
    if not isinstance(figures, dict) or not all(isinstance(entry, dict) for entry in figures.values()):
        raise unreadable(path, "figures by model are needed, an object of objects")
    return figures


def missing(path: Path) -> StageError:
    """The error for a file that is not there."""
    return StageError(f"{path} is missing: put the file there, or name another one.")


def unreadable(path: Path, cause: str) -> StageError:
    """The error for a file that cannot be read as what it should be."""
    return StageError(f"{path} cannot be read: {cause}. Download the file again.")
