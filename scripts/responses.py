"""Collect a policy's answers to a benchmark.

Reads:  the Requests (--requests) and their Completions (--completions).
Writes: a Responses table (--responses). Cut and empty answers stay: they are part of how good a
        policy is.
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.tables import Completions, Requests, Responses, read_table, write_table


def collect(requests: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """One response per request, joined by key."""
    rows = requests.join(completions, on="request_id", how="left", validate="1:1")
    return rows.select("prompt_id", "sample", "finish_reason", "completion_tokens", "choice_logprobs", response="text")


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--requests", required=True, help="Requests table")
    command.add_argument("--completions", required=True, nargs="+", help="Completions tables: its shards")
    command.add_argument("--responses", required=True, help="Responses table to write")
    arguments = command.parse_args()
    completions = read_table(Completions, *arguments.completions)
    write_table(collect(read_table(Requests, arguments.requests), completions), Responses, arguments.responses)


if __name__ == "__main__":
    cli.run(main)
