"""Average a judge's scores of an iteration's candidates over its votes.

Reads:  the Requests that the candidates were sampled by (--requests) and the Judgments of them
        (--judgments).
Writes: a Ranks table (--ranks). A candidate without a verdict has no row.
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.judging.candidates import numbered
from drift.tables import Judgments, Ranks, Requests, read_table, write_table


def ranks(requests: pl.DataFrame, judgments: pl.DataFrame) -> pl.DataFrame:
    """Ranks: the mean score over the votes that have one, for each candidate of `requests`."""
    means = judgments.drop_nulls("score").group_by("prompt_id", "sample").agg(pl.col("score").mean())
    candidates = numbered(requests).select("request_id", "prompt_id", sample="candidate")
    return candidates.join(means, on=["prompt_id", "sample"]).select("request_id", "score")


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--requests", required=True, nargs="+", help="Requests tables of the candidates")
    command.add_argument("--judgments", required=True, help="Judgments table")
    command.add_argument("--ranks", required=True, help="table to write")
    arguments = command.parse_args()
    judgments = read_table(Judgments, arguments.judgments)
    table = ranks(read_table(Requests, *arguments.requests), judgments)
    if table.is_empty():
        raise cli.StageError(
            f"none of the {judgments.height} verdicts has a score; most often: {judgments['error'].mode().sort()[0]}. Give verdicts "
            "more tokens (max_tokens of the decoding in self_ranking, or of the judge), or use another rank in recipes"
        )
    counts = table["score"].round(1).value_counts(sort=False).sort("score").iter_rows()
    print("scores: " + ", ".join(f"{score}: {count}" for score, count in counts))
    if table["score"].n_unique() < 2:
        raise cli.StageError(
            "every candidate has the same score, so that no pair can be made: this judge does not tell "
            "them apart. Use another rank in recipes, or another template for the judge"
        )
    write_table(table, Ranks, arguments.ranks)


if __name__ == "__main__":
    cli.run(main)
