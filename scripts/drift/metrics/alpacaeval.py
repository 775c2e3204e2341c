"""AlpacaEval 2: what the leaderboard reports of a judge's preferences besides the plain win rate.

Shares are 0 to 1, where the leaderboard shows per cent.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from drift.metrics import judge_metrics, length_control, resampling


def statistics(
    judgments: pl.DataFrame, tasks: pl.DataFrame, gamed: length_control.Rows | None
) -> dict[str, resampling.Statistic]:
    """Everything that one judge's `judgments` (a Judgments table) of one policy give: what they
    give on any benchmark, and for each opponent the discrete win rate and the standard error.

    `tasks` (a Tasks table) has the instructions' difficulty. `gamed`: the rows that regularise the
    length control, where there are any. Written letters are no probabilities: they have neither.
    """
    measured = judge_metrics.verdict_statistics(judgments, tasks, gamed)
    if len(judge_metrics.written_letters(judgments)):
        return measured
    for suffix, answers in judge_metrics.by_opponent(judgments):
        keys, won = answers["prompt_id"], judge_metrics.shares(answers)
        measured[f"discrete_win_rate{suffix}"] = resampling.mean(keys, discrete(won))
        measured[f"standard_error{suffix}"] = standard_error(keys, won)
    return measured


def discrete(won: np.ndarray) -> np.ndarray:
    """Shares of a win, (n,), as won (1), drawn (0.5) and lost (0); NaN stays."""
    return np.where(np.isnan(won), np.nan, (np.sign(won - 0.5) + 1) / 2)


def standard_error(keys: Sequence[str], values: np.ndarray) -> resampling.Sums:
    """The standard error of the mean of `values`, (n,), with the sample variance; several of one
    key (an instruction's samples) count as their mean."""
    items = resampling.mean(keys, values)
    means = items.parts[:, 0]
    return resampling.Sums(items.keys, np.column_stack([means, means**2, np.ones(len(means))]), _standard_error)


def _standard_error(sums: np.ndarray) -> np.ndarray:
    """From the sums of values, of their squares, and of items, (..., 3)."""
    total, squares, n = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(squares - total**2 / n, 0) / (n - 1) / n)
