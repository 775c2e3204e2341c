"""What code found in a policy's answers, as statistics over tasks."""

import numpy as np
import polars as pl

from drift.metrics import resampling
from drift.names import DIRECTIONS


def check_statistics(checks: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """Every statistic of `checks` (a Checks table of one policy): pass_rate (the mean over the
    directions of length that occur), pass_rate:DIRECTION, pass_rate:CHECK and all_passed."""
    passed, keys = checks["passed"].cast(pl.Float64).to_numpy(), checks["prompt_id"]
    found = [direction for direction in DIRECTIONS if (checks["direction"] == direction).any()]
    # Two columns a direction: checks that were kept, and checks.
    inside = np.column_stack([checks["direction"] == direction for direction in found]).astype(np.float64)
    parts = np.stack([inside * passed[:, None], inside], axis=2).reshape(len(passed), -1)
    answers = checks.group_by("prompt_id", "sample", maintain_order=True).agg(pl.col("passed").all())
    statistics = {
        "pass_rate": resampling.by_item(keys, parts, _mean_of_ratios),
        "all_passed": resampling.mean(answers["prompt_id"], answers["passed"].cast(pl.Float64)),
    }
    for column, names in (("direction", found), ("check", sorted(checks["check"].unique()))):
        for name in names:
            rows = checks.filter(pl.col(column) == name)
            statistics[f"pass_rate:{name}"] = resampling.mean(rows["prompt_id"], rows["passed"].cast(pl.Float64))
    return statistics


def _mean_of_ratios(sums: np.ndarray) -> np.ndarray:
    """Sums (..., 2 k), kept and all of each of k groups -> the mean of their shares, (...); NaN
    where a group is empty."""
    pairs = sums.reshape(*sums.shape[:-1], -1, 2)
    return resampling.ratio(pairs).mean(axis=-1)
