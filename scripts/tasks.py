"""Make the held-out benchmark: the test split's DSAT prompts, each with the reply that disappointed its user.

Reads dsat.parquet; writes a Tasks table.
"""

import hashlib

import polars as pl

from drift import cli
from drift.tables import Dsat, Tasks, read_table, write_table


def heldout_tasks(dsat: pl.DataFrame, max_tasks: int | None, seed: int) -> pl.DataFrame:
    """The test rows of `dsat` as tasks; at most `max_tasks`, those of the smallest seeded hash."""
    test = dsat.filter(split="test")
    order = pl.Series(
        [hashlib.md5(f"{seed}|{prompt_id}".encode()).hexdigest() for prompt_id in test["prompt_id"]], dtype=pl.String
    )
    picked = test.with_columns(order=order).sort("order").head(max_tasks or test.height)
    return picked.select("prompt_id", "prompt", "feedback", baseline="rejected")


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--dsat", required=True)
    command.add_argument("--tasks", required=True, help="table to write")
    arguments = command.parse_args()
    tasks = heldout_tasks(read_table(Dsat, arguments.dsat), arguments.settings["max_tasks"], arguments.settings["seed"])
    if tasks.is_empty():
        raise cli.StageError(f"{arguments.dsat} has no test rows to evaluate on; raise data.test_conversations or add data")
    write_table(tasks, Tasks, arguments.tasks)


if __name__ == "__main__":
    cli.run(main)
