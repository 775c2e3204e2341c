"""Check a policy's answers by code: does each keep what its task asked for?

Reads:  a benchmark's Tasks (--tasks), a policy's Responses to them (--responses), and the files
        that the benchmark's kind needs to check them (--file).
Writes: a Checks table (--checks). Cut and empty answers are checked as they are.
"""

import _python  # noqa: F401 - before what may be missing
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from drift import benchmarks, cli
from drift.settings.evaluation import ChecksSettings
from drift.tables import Checks, Responses, Tasks, read_table, write_table


def check(
    tasks: pl.DataFrame,
    responses: pl.DataFrame,
    found: Callable[[dict, dict, Mapping[str, Path]], list[dict]],
    files: Mapping[str, Path],
) -> pl.DataFrame:
    """Checks: what `found` (drift.benchmarks.Extras.check) finds in each answer."""
    by_id = {task["prompt_id"]: task for task in tasks.iter_rows(named=True)}
    rows = [
        {"prompt_id": answer["prompt_id"], "sample": answer["sample"]} | one
        for answer in responses.iter_rows(named=True)
        for one in found(by_id[answer["prompt_id"]], answer, files)
    ]
    return pl.DataFrame(rows, schema=Checks.create_empty().schema)


def main() -> None:
    command = cli.parser(__doc__, ChecksSettings)
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--responses", required=True, help="Responses table")
    command.add_argument(
        "--file", nargs="*", type=cli.named_path, default=[], metavar="NAME=PATH", help="files that the benchmark's kind needs"
    )
    command.add_argument("--checks", required=True, help="Checks table to write")
    arguments = command.parse_args()
    tasks, responses = read_table(Tasks, arguments.tasks), read_table(Responses, arguments.responses)
    table = check(tasks, responses, benchmarks.load(arguments.settings.kind).check, dict(arguments.file))
    kept = table.group_by("check").agg(pl.len(), pl.col("passed").mean()).sort("check")
    print("\n".join(f"{name}: {passed:.1%} of {n} answers" for name, n, passed in kept.iter_rows()))
    write_table(table, Checks, arguments.checks)


if __name__ == "__main__":
    cli.run(main)
