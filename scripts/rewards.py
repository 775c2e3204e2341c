"""Score an iteration's candidates, or both sides of its pairs, with a ranker: a reward model, or a
rule.

Reads:  of candidates the Prompts, Requests and Completions of the iteration (--prompts, --requests,
        --completions), of pairs what rated_pairs.py made of them (--tasks, --responses); and the
        folder or file that the ranker's kind needs, if any (--path).
Writes: a Ranks table (--ranks).

Only candidates that can make a pair are scored: not empty, and not cut where sampling.cut drops
these.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import polars as pl

from drift import cli, plugins
from drift.config.training import Cut
from drift.judging.candidates import SIDES, asked_and_answered, side_id
from drift.settings.sampling import RewardSettings
from drift.tables import Completions, Prompts, Ranks, Requests, Responses, Tasks, read_table, write_table


def candidates(prompts: pl.DataFrame, requests: pl.DataFrame, completions: pl.DataFrame, cut: Cut) -> list[dict]:
    """What a ranker scores: request_id, prompt (messages) and text of each candidate that can make
    a pair, by `cut`."""
    return asked_and_answered(prompts, requests, completions, cut).select("request_id", "prompt", "text").to_dicts()


def sides(tasks: pl.DataFrame, responses: pl.DataFrame) -> list[dict]:
    """The same of both sides of each pair."""
    pairs = responses.join(tasks, on="prompt_id", validate="1:1").sort("prompt_id")
    return [
        {"request_id": side_id(row["prompt_id"], side), "prompt": row["prompt"], "text": text}
        for row in pairs.iter_rows(named=True)
        for side, text in zip(SIDES, (row["response"], row["baseline"]), strict=True)
    ]


def main() -> None:
    command = cli.parser(__doc__, RewardSettings)
    command.add_argument("--prompts", nargs="?", help="Prompts table")
    command.add_argument("--requests", nargs="*", help="Requests tables of the candidates")
    command.add_argument("--completions", nargs="*", help="Completions tables, the shards")
    command.add_argument("--tasks", nargs="?", help="Tasks table of pairs: the prompts and y-")
    command.add_argument("--responses", nargs="?", help="Responses table of pairs: the y+")
    command.add_argument(
        "--path", nargs="?", type=Path, help="folder of the ranker's model or file that it reads, if its kind needs one"
    )
    command.add_argument("--ranks", required=True, help="table to write")
    arguments = command.parse_args()
    settings: RewardSettings = arguments.settings

    if arguments.responses:
        rows = sides(read_table(Tasks, arguments.tasks), read_table(Responses, arguments.responses))
    else:
        rows = candidates(
            read_table(Prompts, arguments.prompts),
            read_table(Requests, *arguments.requests),
            read_table(Completions, *arguments.completions),
            settings.cut,
        )
    ranker = plugins.load(plugins.RANKERS, settings.kind)
    scores = ranker.scores(rows, settings, arguments.path)
    print(f"{settings.kind}: {len(scores)} of {len(rows)} replies were scored")
    table = pl.DataFrame(list(scores.items()), schema=Ranks.create_empty().schema, orient="row")
    write_table(table, Ranks, arguments.ranks)


if __name__ == "__main__":
    cli.run(main)
