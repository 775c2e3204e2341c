"""What one judge's verdicts on one policy's answers say, on any benchmark: win rates, mean scores,
and how far the judge can be believed. Shares are 0 to 1.

Answers are the rows behind a statistic: one per task and sample. An item is a task: its samples are
averaged before items are (drift.metrics.resampling).
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from drift.metrics import length_control, logistic_regression, resampling
from drift.names import BASELINE


def verdict_statistics(
    judgments: pl.DataFrame, tasks: pl.DataFrame | None = None, gamed: length_control.Rows | None = None
) -> dict[str, resampling.Statistic]:
    """Mean score and win rates, as judged and length-controlled, as far as `judgments` (a Judgments
    table) holds such verdicts.

    NAME:MODEL is against the answers of that reference. Letters that a judge wrote for want of
    probabilities are another measure than these, so their rate has a name of its own and no length
    control. That uses the difficulty of `tasks` (a Tasks table) and the regularising rows `gamed`
    where there are any: of AlpacaEval's instructions alone.
    """
    statistics: dict[str, resampling.Statistic] = {}
    scored = judgments.filter(kind="score")
    if len(scored):
        answers = mean_scores(scored)
        statistics["judge_score"] = resampling.mean(answers["prompt_id"], answers["score"].fill_null(np.nan))
    written = len(written_letters(judgments)) > 0
    for suffix, answers in by_opponent(judgments):
        won = resampling.mean(answers["prompt_id"], shares(answers))
        statistics[("written_win_rate" if written else "win_rate") + suffix] = won
        controlled = None if written else length_control_of(answers, tasks, gamed)
        if controlled is not None:
            statistics[f"length_controlled_win_rate{suffix}"] = controlled
    return statistics


def reliability(judgments: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """How far the judge can be believed: verdicts that turn with the order of answers, questions
    without a verdict, and how much of the judge's first token was a verdict."""
    statistics = {"parse_failure_rate": resampling.mean(judgments["prompt_id"], judgments["error"].is_not_null())}
    flips = comparisons(judgments.filter(kind="pairwise")).drop_nulls("flips")
    if len(flips):
        statistics["position_flip_rate"] = resampling.mean(flips["prompt_id"], flips["flips"])
    weighed = judgments.drop_nulls("mass")
    if len(weighed):
        statistics["verdict_mass"] = resampling.mean(weighed["prompt_id"], weighed["mass"])
    return statistics


def written_letters(judgments: pl.DataFrame) -> pl.DataFrame:
    """The verdicts that are letters as a judge without probabilities wrote them: 0 or 1."""
    return judgments.filter(pl.col("preference").is_in([0.0, 1.0]) & pl.col("mass").is_null())


def by_opponent(judgments: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The `comparisons` with each opponent, and what its metrics' names end in: nothing for the
    baseline, :MODEL for a reference."""
    compared = judgments.filter(kind="pairwise")
    for opponent in compared["opponent"].unique().sort():
        yield "" if opponent == BASELINE else f":{opponent}", comparisons(compared.filter(opponent=opponent))


def comparisons(compared: pl.DataFrame) -> pl.DataFrame:
    """One row per answer and opponent: the policy's share of the win, 0 to 1, over votes and
    orders, whether the verdict flips (1, 0), and both lengths in characters.

    share is null where one of the orders asked has no verdict: the other order alone would hold the
    judge's position bias. A verdict flips where the judge is for one side in one order and for the
    other side in the other; null where it was asked in one order only.
    """
    # Outcomes of five levels are wins, draws and losses: -2, -1 -> 0; 0 -> 0.5; 1, 2 -> 1.
    win = pl.coalesce("preference", (pl.col("outcome").sign() + 1) / 2)
    answer = ("prompt_id", "sample", "opponent")
    # First over the votes of an order, so that an order with more readable votes weighs no more.
    orders = compared.group_by(*answer, "order").agg(
        win.mean().alias("share"), pl.col("policy_chars", "opponent_chars").first(), win.count().alias("votes")
    )
    complete = (pl.col("votes") > 0).all()
    # The product of the two orders' signs is negative where the judge changed sides, 0 at a draw.
    side = (pl.col("share") - 0.5).sign()
    return (
        orders.group_by(*answer)
        .agg(
            pl.when(complete).then(pl.col("share").mean()).alias("share"),
            pl.when((pl.len() == 2) & complete).then((side.product() < 0).cast(pl.Float64)).alias("flips"),
            pl.col("policy_chars", "opponent_chars").first(),
        )
        .sort(*answer)
    )


def shares(answers: pl.DataFrame) -> np.ndarray:
    """The share of the win of each of `comparisons`' rows, (rows,); NaN without a verdict."""
    return answers["share"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def mean_scores(scored: pl.DataFrame) -> pl.DataFrame:
    """One row per answer: the mean of its scores over votes, null without one, and its length."""
    answer = ("prompt_id", "sample")
    return scored.group_by(*answer).agg(pl.col("score").mean(), pl.col("policy_chars").first()).sort(*answer)


def length_control_of(
    answers: pl.DataFrame, tasks: pl.DataFrame | None, gamed: length_control.Rows | None
) -> length_control.LengthControl | None:
    """The length-controlled win rate of `answers` (`comparisons` with one opponent); None where a
    sample has too few verdicts to fit it to, they are won and lost by length alone, or, without
    gamed rows, the penalty leaves nothing of the model's own weight."""
    samples = list(items_by_sample(answers, tasks))
    if any(np.count_nonzero(~np.isnan(items.won)) < logistic_regression.FOLDS for _, items in samples):
        return None
    # All samples are of the same tasks, sorted.
    keys = np.unique(samples[0][0])
    try:
        controlled = length_control.LengthControl.fitted(keys, [items for _, items in samples], gamed)
    except ArithmeticError:
        return None
    return None if gamed is None and any(one.emptied for one in controlled.fits) else controlled


def items_by_sample(answers: pl.DataFrame, tasks: pl.DataFrame | None) -> Iterator[tuple[np.ndarray, length_control.Items]]:
    """Keys and items of each sample of the answers: of the tasks that have all samples, judged or
    not.

    Where a task has no difficulty, none of them is used: the fit is then the variant without it.
    """
    complete = answers.filter(pl.len().over("prompt_id") == answers["sample"].n_unique())
    if tasks is not None:
        complete = complete.join(tasks.select("prompt_id", "difficulty"), on="prompt_id", how="left")
    for _, rows in complete.sort("sample", "prompt_id").group_by("sample", maintain_order=True):
        known = tasks is not None and not rows["difficulty"].null_count()
        difficulty = rows["difficulty"].to_numpy() if known else None
        shorter_by = (rows["opponent_chars"] - rows["policy_chars"]).cast(pl.Float64).to_numpy()
        yield rows["prompt_id"].to_numpy(), length_control.Items(shares(rows), shorter_by, difficulty)
