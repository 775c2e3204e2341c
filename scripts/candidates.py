"""Lay the candidates of an iteration out for a judge, as if they were answers to a benchmark.

Reads the Prompts, Requests and Completions of the iteration; writes Tasks (the plain prompts) and Responses (what was sampled;
`sample` is the candidate's number). Replies that were cut or are empty are left out: they can make no pair.
"""

import polars as pl

from drift import cli
from drift.judging.candidates import numbered, sound
from drift.tables import Completions, Prompts, Requests, Responses, Tasks, read_table, write_table


def responses(requests: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """Responses, one for each sound candidate."""
    rows = numbered(requests).join(sound(completions), on="request_id", validate="1:1")
    return rows.select("prompt_id", "finish_reason", "completion_tokens", sample="candidate", response="text")


def tasks(prompts: pl.DataFrame, answered: pl.DataFrame) -> pl.DataFrame:
    """Tasks, one for each prompt of `answered`."""
    columns = Tasks.create_empty().schema
    asked = prompts.join(answered.select("prompt_id").unique(), on="prompt_id", how="semi").select("prompt_id", "prompt")
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in asked.columns]
    return asked.with_columns(missing)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--prompts", required=True)
    command.add_argument("--requests", required=True)
    command.add_argument("--completions", required=True, nargs="+", help="its shards")
    command.add_argument("--tasks", required=True, help="table to write")
    command.add_argument("--responses", required=True, help="table to write")
    arguments = command.parse_args()
    requests = read_table(Requests, arguments.requests)
    answered = responses(requests, read_table(Completions, *arguments.completions))
    print(f"{answered.height} of {requests.height} candidates ended their turn")
    if answered.is_empty():
        raise cli.StageError("no candidate ended its turn; a larger sampling.max_tokens helps")
    write_table(tasks(read_table(Prompts, arguments.prompts), answered), Tasks, arguments.tasks)
    write_table(answered, Responses, arguments.responses)


if __name__ == "__main__":
    cli.run(main)
