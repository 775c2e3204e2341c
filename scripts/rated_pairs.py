"""Write a sample of an iteration's pairs down as answers that a judge or a ranker can rate.

Reads:  the iteration's Pairs (--pairs).
Writes: Tasks (--tasks), each with y- as the answer to compare with, and Responses (--responses),
        the y+. So y+ is judged as a policy's answer is judged against another one.
"""

import polars as pl

from drift import cli
from drift.seeds import picked
from drift.settings.judging import RatedPairsSettings
from drift.tables import Pairs, Responses, Tasks, read_table, write_table


def tasks(pairs: pl.DataFrame) -> pl.DataFrame:
    """Tasks: the prompt and y- of each pair, without what only benchmarks have."""
    known = {"prompt_id": pl.col("pair_id"), "prompt": pl.col("prompt"), "baseline": pl.col("rejected")}
    columns = Tasks.create_empty().schema
    return pairs.select(**{name: known.get(name, pl.lit(None, dtype=dtype)) for name, dtype in columns.items()})


def responses(pairs: pl.DataFrame) -> pl.DataFrame:
    """Responses: the y+ of each pair."""
    return pairs.select(
        prompt_id="pair_id",
        sample=pl.lit(0, dtype=pl.Int32),
        response="chosen",
        finish_reason=pl.col("chosen_finish").fill_null("stop"),
        completion_tokens="chosen_tokens",
    )


def main() -> None:
    command = cli.parser(__doc__, RatedPairsSettings)
    command.add_argument("--pairs", required=True, help="table to read")
    command.add_argument("--tasks", required=True, help="table to write")
    command.add_argument("--responses", required=True, help="table to write")
    arguments = command.parse_args()
    settings: RatedPairsSettings = arguments.settings
    pairs = read_table(Pairs, arguments.pairs)
    sampled = pairs.filter(pl.col("pair_id").is_in(picked(pairs["pair_id"], settings.pairs, settings.seed)))
    print(f"{sampled.height} of {pairs.height} pairs are rated")
    write_table(tasks(sampled), Tasks, arguments.tasks)
    write_table(responses(sampled), Responses, arguments.responses)


if __name__ == "__main__":
    cli.run(main)
