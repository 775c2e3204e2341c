"""Say how good each of a policy's answers to a benchmark is: the share of its checks that it keeps.

Reads:  the Checks of the answers (--checks).
Writes: an AnswerRewards table (--rewards).
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.tables import AnswerRewards, Checks, read_table, write_table


def shares(checks: pl.DataFrame) -> pl.DataFrame:
    """AnswerRewards, from 0 to 1."""
    return checks.group_by("prompt_id", "sample").agg(reward=pl.col("passed").mean())


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--checks", required=True, help="Checks table")
    command.add_argument("--rewards", required=True, help="table to write")
    arguments = command.parse_args()
    write_table(shares(read_table(Checks, arguments.checks)), AnswerRewards, arguments.rewards)


if __name__ == "__main__":
    cli.run(main)
