"""Say how often the y+ of an iteration's pairs is better than their y-.

Reads:  the pairs that were to be rated (--tasks, of rated_pairs.py), and what the rater said: a
        judge's Judgments of y+ against y- (--judgments), or a ranker's Ranks of both (--scores).
Writes: a PairQuality table (--quality), one row.

A tie counts half. A judge was asked in both orders: the mean of its two preferences counts, and a
pair with one of them unread is left out. Of a ranker the higher score wins. The interval is over
clusters of prompts. A rater of another kind is a function that gives shares, and its option.
"""

import _python  # noqa: F401 - before what may be missing
import math

import polars as pl

from drift import cli
from drift.judging.candidates import SIDES, side_id
from drift.metrics import judge_metrics, resampling
from drift.settings.judging import PairQualitySettings
from drift.tables import Judgments, PairQuality, Ranks, Tasks, read_table, write_table


def judged(judgments: pl.DataFrame) -> pl.DataFrame:
    """`prompt_id` and y+'s `share` of the win, 0 to 1, by a judge; null without a verdict."""
    return judge_metrics.comparisons(judgments).select("prompt_id", "share")


def scored(ranks: pl.DataFrame, pairs: pl.Series) -> pl.DataFrame:
    """The same by a ranker's scores of both sides: 1, 0, or 0.5 where they are equal. `pairs`: all
    ids."""
    score = dict(ranks.iter_rows())
    both = [[score.get(side_id(pair_id, side)) for side in SIDES] for pair_id in pairs]
    shares = [None if None in sides else (1 + (sides[0] > sides[1]) - (sides[0] < sides[1])) / 2 for sides in both]
    return pl.DataFrame({"prompt_id": pairs, "share": pl.Series(shares, dtype=pl.Float64)})


def quality(shares: pl.DataFrame, tasks: pl.DataFrame, settings: PairQualitySettings) -> dict:
    """A row of PairQuality; `shares` as above, `tasks`: the pairs that were to be rated."""
    rated = shares.drop_nulls("share")
    clusters = resampling.Clusters.of(tasks["prompt_id"], tasks["cluster"])
    mean = resampling.bounded_mean(rated["prompt_id"], rated["share"], clusters, settings.bootstrap, settings.seed)
    return {
        "rater": settings.rater,
        "value": mean.value if math.isfinite(mean.value) else None,
        "low": mean.low,
        "high": mean.high,
        "ties": (rated["share"] == 0.5).mean(),
        "n": mean.n,
        "total": tasks.height,
    }


def main() -> None:
    command = cli.parser(__doc__, PairQualitySettings)
    command.add_argument("--tasks", required=True, help="Tasks table: the pairs that were to be rated")
    said = command.add_mutually_exclusive_group(required=True)
    said.add_argument("--judgments", help="Judgments table of a judge")
    said.add_argument("--scores", help="Ranks table of a ranker")
    command.add_argument("--quality", required=True, help="table to write")
    arguments = command.parse_args()
    tasks = read_table(Tasks, arguments.tasks)
    if arguments.judgments:
        shares = judged(read_table(Judgments, arguments.judgments))
    else:
        shares = scored(read_table(Ranks, arguments.scores), tasks["prompt_id"])
    row = quality(shares, tasks, arguments.settings)
    write_table(pl.DataFrame([row], schema=PairQuality.create_empty().schema), PairQuality, arguments.quality)


if __name__ == "__main__":
    cli.run(main)
