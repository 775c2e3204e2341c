"""Write a sample of an iteration's pairs down as answers that a judge or a ranker can rate.

Reads:  the iteration's Pairs (--pairs), and the Prompts that they are of (--prompts).
Writes: Tasks (--tasks), each with y- as the answer to compare with, and Responses (--responses),
        the y+. So y+ is judged as a policy's answer is judged against another one.
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.judging.candidates import as_tasks
from drift.seeds import picked
from drift.settings.judging import RatedPairsSettings
from drift.tables import Pairs, Prompts, Responses, Tasks, read_table, write_table


def tasks(pairs: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Tasks: the prompt and y- of each pair, without what only benchmarks have."""
    clusters = prompts.select("prompt_id", "cluster")
    rows = pairs.select("prompt", prompt_id="pair_id", baseline="rejected").join(clusters, on="prompt_id", validate="1:1")
    return as_tasks(rows)


def responses(pairs: pl.DataFrame) -> pl.DataFrame:
    """Responses: the y+ of each pair."""
    return pairs.select(
        prompt_id="pair_id",
        sample=pl.lit(0, dtype=pl.Int32),
        response="chosen",
        finish_reason=pl.when("chosen_cut").then(pl.lit("length")).otherwise(pl.lit("stop")),
        completion_tokens="chosen_tokens",
        choice_logprobs=pl.lit(None, dtype=Responses.create_empty().schema["choice_logprobs"]),
    )


def main() -> None:
    command = cli.parser(__doc__, RatedPairsSettings)
    command.add_argument("--pairs", required=True, help="table to read")
    command.add_argument("--prompts", required=True, help="table to read")
    command.add_argument("--tasks", required=True, help="table to write")
    command.add_argument("--responses", required=True, help="table to write")
    arguments = command.parse_args()
    settings: RatedPairsSettings = arguments.settings
    pairs = read_table(Pairs, arguments.pairs)
    sampled = pairs.filter(pl.col("pair_id").is_in(picked(pairs["pair_id"], settings.pairs, settings.seed)))
    print(f"{sampled.height} of {pairs.height} pairs are rated")
    write_table(tasks(sampled, read_table(Prompts, arguments.prompts)), Tasks, arguments.tasks)
    write_table(responses(sampled), Responses, arguments.responses)


if __name__ == "__main__":
    cli.run(main)
