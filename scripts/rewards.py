"""Score an iteration's candidates with a ranker: a reward model, or a rule.

Reads:  the Prompts, Requests and Completions of the iteration (--prompts, --requests,
        --completions), and the folder of the ranker's model where its kind needs one (--model).
Writes: a Ranks table (--ranks).

Only candidates that can make a pair are scored: not empty, and not cut where sampling.cut drops
these.
"""

from pathlib import Path

import polars as pl

from drift import cli, plugins
from drift.config.training import Cut
from drift.judging.candidates import sound
from drift.settings.sampling import RewardSettings
from drift.tables import Completions, Prompts, Ranks, Requests, read_table, write_table


def candidates(prompts: pl.DataFrame, requests: pl.DataFrame, completions: pl.DataFrame, cut: Cut) -> list[dict]:
    """What a ranker scores: request_id, prompt (messages) and text of each candidate that can make
    a pair, by `cut`."""
    replies = sound(completions, cut).select("request_id", "text")
    rows = requests.select("request_id", "prompt_id").join(replies, on="request_id", validate="1:1")
    rows = rows.join(prompts.select("prompt_id", "prompt"), on="prompt_id", validate="m:1")
    return rows.select("request_id", "prompt", "text").sort("request_id").to_dicts()


def main() -> None:
    command = cli.parser(__doc__, RewardSettings)
    command.add_argument("--prompts", required=True, help="Prompts table")
    command.add_argument("--requests", required=True, help="Requests table of the candidates")
    command.add_argument("--completions", required=True, nargs="+", help="Completions tables, the shards")
    command.add_argument("--model", nargs="?", type=Path, help="folder of the ranker's model, if it has one")
    command.add_argument("--ranks", required=True, help="table to write")
    arguments = command.parse_args()
    settings: RewardSettings = arguments.settings

    rows = candidates(
        read_table(Prompts, arguments.prompts),
        read_table(Requests, arguments.requests),
        read_table(Completions, *arguments.completions),
        settings.cut,
    )
    ranker = plugins.load(plugins.RANKERS, settings.kind)
    scores = ranker.scores(rows, settings, arguments.model)
    print(f"{settings.kind}: {len(scores)} of {len(rows)} candidates that can make a pair were scored")
    table = pl.DataFrame(list(scores.items()), schema=Ranks.create_empty().schema, orient="row")
    write_table(table, Ranks, arguments.ranks)


if __name__ == "__main__":
    cli.run(main)
