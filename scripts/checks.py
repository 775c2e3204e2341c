"""Check a policy's answers by code: does each keep what its task asked for?

Reads:  a benchmark's Tasks (--tasks) and a policy's Responses to them (--responses).
Writes: a Checks table (--checks). Cut and empty answers are checked as they are.
"""

import polars as pl

from drift import cli
from drift.checks import Check
from drift.tables import Checks, Responses, Tasks, read_table, write_table


def check(tasks: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """One row of Checks per answer of `responses` and check of its task."""
    wanted = {
        prompt_id: [Check(**one) for one in checks] for prompt_id, checks in tasks.select("prompt_id", "checks").iter_rows()
    }
    rows = [
        {
            "prompt_id": answer["prompt_id"],
            "sample": answer["sample"],
            "check": one.label,
            "direction": one.direction,
            "passed": one.passes(answer["response"]),
        }
        for answer in responses.iter_rows(named=True)
        for one in wanted[answer["prompt_id"]]
    ]
    return pl.DataFrame(rows, schema=Checks.create_empty().schema)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--responses", required=True, help="Responses table")
    command.add_argument("--checks", required=True, help="Checks table to write")
    arguments = command.parse_args()
    checks = check(read_table(Tasks, arguments.tasks), read_table(Responses, arguments.responses))
    write_table(checks, Checks, arguments.checks)


if __name__ == "__main__":
    cli.run(main)
