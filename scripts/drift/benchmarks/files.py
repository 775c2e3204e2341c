"""Files of tasks and of answers, record by record; a fault names file and record."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from drift.cli import StageError
from drift.files import visible
from drift.metrics.published_files import missing, unreadable

SUFFIXES = (".jsonl", ".json", ".parquet")


def records(path: Path) -> Iterator[tuple[str, dict]]:
    """Every record of a file, or of the files of a folder by name, with its place. StageError where
    there is none."""
    files = [file for file in visible(path) if file.suffix.lower() in SUFFIXES] if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise missing(path)
    for file in files:
        for number, record in enumerate(read(file), 1):
            if not isinstance(record, dict):
                raise unreadable(file, f"record {number} is not a JSON object")
            yield f"{file}, record {number}", record


def read(file: Path) -> list:
    """The records of one file: Parquet, a JSON list, or JSON Lines."""
    if file.suffix.lower() == ".parquet":
        try:
            return pl.read_parquet(file, hive_partitioning=False).to_dicts()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(file, str(error)) from error
    try:
        text = file.read_bytes().decode("utf-8-sig")
        # Only a line feed ends a line, not U+2028 and its like.
        return (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise unreadable(file, str(error)) from error


def keyed(path: Path, key: Callable[[dict], str], made: Callable[[dict], object]) -> dict:
    """What `made` makes of each record of `path`, by `key`; a record of which it makes None is left
    out, and so is one that is there already, as published files have some.

    StageError names the place of a record that either refuses, and both places of two records with
    one key that say different things.
    """
    by_key, places = {}, {}
    for place, (value, name) in located(path, lambda record: (made(record), key(record))):
        if value is None:
            continue
        if name in by_key and by_key[name] == value:
            print(f"{place}: left out, as it says what is there already ({places[name]})")
            continue
        if name in by_key:
            raise StageError(f"{place}: the task {name} is there already ({places[name]}). Remove one of the two.")
        by_key[name], places[name] = value, place
    return by_key


def located(path: Path, made: Callable[[dict], Any]) -> Iterator[tuple[str, Any]]:
    """The place of each record of `path` with what `made` makes of it. StageError names the place
    of a record that it refuses."""
    for place, record in records(path):
        try:
            yield place, made(record)
        except KeyError as error:
            raise StageError(f"{place}: no field {error}. Is it a file of this benchmark, and of the right version?") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise StageError(f"{place}: {error}. Correct the file, or download it again.") from error
