"""Tasks and checks of a benchmark that code decides, as their stages make them."""

import json
from collections.abc import Iterable
from pathlib import Path

import polars as pl

import checks as stage
import tasks
from drift import benchmarks, tables


def task_file(path: Path, *records: dict) -> Path:
    """A file of tasks, a JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def collected(kind: str, path: Path, *records: dict) -> pl.DataFrame:
    """The tasks of a file of these records."""
    return tables.Tasks.validate(tasks.collect(benchmarks.load(kind), task_file(path, *records)), cast=True)


def answers(replies: Iterable[tuple[str, str]]) -> pl.DataFrame:
    """A whole reply of one token to each task, by its id."""
    rows = [
        {"prompt_id": task, "sample": 0, "response": reply, "finish_reason": "stop", "completion_tokens": 1}
        for task, reply in replies
    ]
    return pl.DataFrame(rows, schema=tables.Responses.create_empty().schema)


def checked(kind: str, found: pl.DataFrame, responses: pl.DataFrame, files: dict[str, Path] | None = None) -> pl.DataFrame:
    """What is decided of the responses to the tasks `found`."""
    return tables.Checks.validate(stage.check(found, responses, benchmarks.load(kind).check, files or {}), cast=True)
