"""What policies are asked: one reader a kind of benchmark, and what all of them share.

A reader is a module with

    JUDGING             how its answers are judged, unless the configuration says otherwise
    SIZE                how many tasks are published; None where that says nothing
    key(record)         the id of the task that a record of the task file, or of a file of answers, is about
    task(record)        the task of such a record, as columns of Tasks without prompt_id; None where it is no task of this benchmark

A record is a row of a JSON, JSON Lines or Parquet file, as a dict. Both functions raise ValueError (or KeyError for a field that
is missing) with what is wrong; the caller names file and row. A new kind of benchmark is one such module, one line in KINDS, and
its name in config.Benchmark.kind.

Rules import this package, so nothing here may import polars when it is imported.
"""

from collections.abc import Callable
from typing import Protocol

from drift.benchmarks import alpacaeval, arena_hard, heldout, prompts, wildbench
from drift.benchmarks.records import Judging


class Reader(Protocol):
    """What a module of this package has."""

    JUDGING: Judging
    SIZE: int | None
    key: Callable[[dict], str]
    task: Callable[[dict], dict | None]


KINDS: dict[str, Reader] = {
    "heldout": heldout,
    "wildbench": wildbench,
    "alpacaeval": alpacaeval,
    "arena-hard": arena_hard,
    "prompts": prompts,
}
