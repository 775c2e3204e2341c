"""Write an iteration's candidates down as answers that a judge can score.

Reads:  the Prompts, Requests and Completions of the iteration (--prompts, --requests,
        --completions).
Writes: Tasks (--tasks), the plain prompts, and Responses (--responses), the candidates; `sample` is
        the candidate's number among those of its prompt.

Replies that can make no pair are left out: empty ones, and those that were cut where
sampling.cut drops them.
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.config.training import Cut
from drift.judging.candidates import as_tasks, numbered, sound
from drift.settings.sampling import CandidatesSettings
from drift.tables import Completions, Prompts, Requests, Responses, Tasks, read_table, write_table


def responses(requests: pl.DataFrame, completions: pl.DataFrame, cut: Cut) -> pl.DataFrame:
    """Responses: one for each candidate that can make a pair, by `cut`."""
    rows = numbered(requests).join(sound(completions, cut), on="request_id", validate="1:1")
    return rows.select(
        "prompt_id", "finish_reason", "completion_tokens", "choice_logprobs", sample="candidate", response="text"
    )


def tasks(prompts: pl.DataFrame, answered: pl.DataFrame) -> pl.DataFrame:
    """Tasks: one for each prompt of `answered` (Responses), without what only benchmarks have."""
    return as_tasks(prompts.join(answered, on="prompt_id", how="semi").select("prompt_id", "cluster", "prompt"))


def main() -> None:
    command = cli.parser(__doc__, CandidatesSettings)
    command.add_argument("--prompts", required=True, help="Prompts table")
    command.add_argument("--requests", required=True, nargs="+", help="Requests tables of the candidates")
    command.add_argument("--completions", required=True, nargs="+", help="Completions tables, the shards")
    command.add_argument("--tasks", required=True, help="table to write")
    command.add_argument("--responses", required=True, help="table to write")
    arguments = command.parse_args()
    requests = read_table(Requests, *arguments.requests)
    answered = responses(requests, read_table(Completions, *arguments.completions), arguments.settings.cut)
    print(f"{answered.height} of {requests.height} candidates can make a pair")
    if answered.is_empty():
        raise cli.StageError("no candidate ended its turn; a larger sampling.max_tokens or sampling.cut: prefix helps")
    write_table(tasks(read_table(Prompts, arguments.prompts), answered), Tasks, arguments.tasks)
    write_table(answered, Responses, arguments.responses)


if __name__ == "__main__":
    cli.run(main)
