"""AlpacaEval 2: what the leaderboard reports of a judge's preferences besides the plain win rate.

Shares are 0 to 1, where the leaderboard shows per cent.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from drift.metrics import judge_metrics, length_control, logistic_regression, resampling


def statistics(
    judgments: pl.DataFrame, tasks: pl.DataFrame, gamed: length_control.Rows | None
) -> dict[str, resampling.Statistic]:
    """Everything that one judge's `judgments` (a Judgments table) of one policy give: what they
    give on any benchmark, and for each opponent the discrete and the length-controlled win rate.

    `tasks` (a Tasks table) has the instructions' difficulty. `gamed`: the rows that regularise the
    length control, where there are any. Written letters are no probabilities: they have neither.
    """
    measured = judge_metrics.verdict_statistics(judgments)
    if len(judge_metrics.written_letters(judgments)):
        return measured
    for suffix, answers in judge_metrics.by_opponent(judgments):
        keys, won = answers["prompt_id"], judge_metrics.shares(answers)
        measured[f"discrete_win_rate{suffix}"] = resampling.mean(keys, discrete(won))
        measured[f"standard_error{suffix}"] = standard_error(keys, won)
        controlled = length_control_of(answers, tasks, gamed)
        if controlled is not None:
            measured[f"length_controlled_win_rate{suffix}"] = controlled
    return measured


def discrete(won: np.ndarray) -> np.ndarray:
    """Shares of a win, (n,), as won (1), drawn (0.5) and lost (0); NaN stays."""
    return np.where(np.isnan(won), np.nan, (np.sign(won - 0.5) + 1) / 2)


def standard_error(keys: Sequence[str], values: np.ndarray) -> resampling.Sums:
    """The standard error of the mean of `values`, (n,), with the sample variance."""
    return resampling.by_item(keys, np.column_stack([values, values**2, np.ones(len(values))]), _standard_error)


def _standard_error(sums: np.ndarray) -> np.ndarray:
    """From the sums of values, of their squares, and of items, (..., 3)."""
    total, squares, n = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(squares - total**2 / n, 0) / (n - 1) / n)


def length_control_of(
    answers: pl.DataFrame, tasks: pl.DataFrame, gamed: length_control.Rows | None
) -> length_control.LengthControl | None:
    """The length-controlled win rate of `answers` (judge_metrics.comparisons with one opponent);
    None where a sample has too few verdicts to fit it to."""
    samples = list(items_by_sample(answers, tasks))
    if any(np.count_nonzero(~np.isnan(items.won)) < logistic_regression.FOLDS for _, items in samples):
        return None
    # All samples are of the same tasks, sorted.
    keys = np.unique(samples[0][0])
    return length_control.LengthControl.fitted(keys, [items for _, items in samples], gamed)


def items_by_sample(answers: pl.DataFrame, tasks: pl.DataFrame) -> Iterator[tuple[np.ndarray, length_control.Items]]:
    """Keys and items of each sample of the answers: of the tasks that have all samples, judged or
    not.

    Where a task has no difficulty, none of them is used: the fit is then the variant without it.
    """
    complete = answers.filter(pl.len().over("prompt_id") == answers["sample"].n_unique())
    with_difficulty = complete.join(tasks.select("prompt_id", "difficulty"), on="prompt_id", how="left")
    for _, rows in with_difficulty.sort("sample", "prompt_id").group_by("sample", maintain_order=True):
        difficulty = None if rows["difficulty"].null_count() else rows["difficulty"].to_numpy()
        shorter_by = (rows["opponent_chars"] - rows["policy_chars"]).cast(pl.Float64).to_numpy()
        yield rows["prompt_id"].to_numpy(), length_control.Items(judge_metrics.shares(rows), shorter_by, difficulty)
