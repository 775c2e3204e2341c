"""What code found in a policy's answers, as statistics over tasks."""

import numpy as np
import polars as pl

from drift.checks.topics import names_topic
from drift.metrics import resampling
from drift.names import DIRECTIONS

PASS_RATE = "pass_rate"


def check_statistics(checks: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """Every statistic of `checks` (a Checks table of one policy): pass_rate (the mean over the
    directions of length that occur), pass_rate:DIRECTION, pass_rate:CHECK and all_passed."""
    passed = checks["passed"].cast(pl.Float64)
    found = _directions(checks)
    statistics = {
        PASS_RATE: balanced(checks, passed),
        "all_passed": all_passed(checks),
    }
    for column, names in (("direction", found), ("check", sorted(checks["check"].unique()))):
        for name in names:
            rows = checks.filter(pl.col(column) == name)
            statistics[f"{PASS_RATE}:{name}"] = resampling.mean(rows["prompt_id"], rows["passed"].cast(pl.Float64))
    return statistics


def balanced(checks: pl.DataFrame, values: pl.Series) -> resampling.Sums:
    """The mean of `values`, one a row of `checks`, as the mean over the directions of length that
    occur, each counting alike; of a direction over its tasks, each counting alike, however many of
    a task's checks are of it. Rows without a value (NaN) are left out."""
    known = checks.select("prompt_id", "direction", value=values.fill_nan(None)).drop_nulls("value")
    tasks = known.group_by("prompt_id", "direction", maintain_order=True).agg(pl.col("value").mean())
    # Two columns a direction: the sum of its values, and their number.
    inside = np.column_stack([tasks["direction"] == direction for direction in _directions(checks)]).astype(np.float64)
    parts = np.stack([inside * tasks["value"].to_numpy()[:, None], inside], axis=2).reshape(tasks.height, -1)
    return resampling.summed(tasks["prompt_id"], parts, _mean_of_ratios)


def _directions(checks: pl.DataFrame) -> list[str]:
    """The directions of length that occur."""
    return [direction for direction in DIRECTIONS if (checks["direction"] == direction).any()]


def all_passed(checks: pl.DataFrame) -> resampling.Statistic:
    """The share of answers that keep all of `checks`."""
    answers = checks.group_by("prompt_id", "sample", maintain_order=True).agg(pl.col("passed").all())
    return resampling.mean(answers["prompt_id"], answers["passed"].cast(pl.Float64))


def share_passed(checks: pl.DataFrame) -> resampling.Statistic:
    """The share of `checks` that are kept, each counting alike, however many an answer has."""
    answers = checks.group_by("prompt_id", "sample", maintain_order=True).agg(pl.col("passed").sum(), asked=pl.len())
    return resampling.by_item(
        answers["prompt_id"], answers.select("passed", "asked").cast(pl.Float64).to_numpy(), resampling.ratio
    )


def topic_statistics(checks: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """Of the tasks that have topics: on_topic, the share of answers that name one of their task's,
    and pass_rate_on_topic, the pass rate where only these count. Nothing where no task has any.
    `checks`: Checks with the answers (`response`)."""
    rows = checks.join(tasks.select("prompt_id", "topics").drop_nulls(), on="prompt_id", how="inner", maintain_order="left")
    if rows.is_empty():
        return {}
    named = [names_topic(text, topics) for text, topics in rows.select("response", "topics").iter_rows()]
    rows = rows.with_columns(named=pl.Series(named, dtype=pl.Boolean))
    answers = rows.unique(["prompt_id", "sample"], maintain_order=True)
    return {
        "on_topic": resampling.mean(answers["prompt_id"], answers["named"].cast(pl.Float64)),
        f"{PASS_RATE}_on_topic": balanced(rows, (rows["passed"] & rows["named"]).cast(pl.Float64)),
    }


def _mean_of_ratios(sums: np.ndarray) -> np.ndarray:
    """Sums (..., 2 k), kept and all of each of k groups -> the mean of their shares, (...); NaN
    where a group is empty."""
    pairs = sums.reshape(*sums.shape[:-1], -1, 2)
    return resampling.ratio(pairs).mean(axis=-1)


# Classes of length, by quantiles of the base model's answers, within which answers count as equally
# long.
LENGTHS = 10


def beyond_length(checks: pl.DataFrame, base: pl.DataFrame) -> resampling.Statistic:
    """The pass rate beyond what the lengths of the answers explain: pass_rate minus the one that
    the base model's answers would have, if these were as long as the policy's.

    `checks`, `base`: Checks with the answers' lengths in tokens (`tokens`), of a policy and of the
    base model. A check at a time (two, where tasks differ in what keeping it does to the length),
    the base model's answers are post-stratified: put into classes of length, and weighted by how
    many of the policy's answers are in each. A class that holds none of them has the check's rate
    over all lengths.
    """
    tokens_of = base.sort("check", "direction").group_by("check", "direction", maintain_order=True).agg("tokens")
    named = {(check, direction): place for place, (check, direction, _) in enumerate(tokens_of.iter_rows())}
    edges = [np.quantile(tokens, np.arange(1, LENGTHS) / LENGTHS) for tokens in tokens_of["tokens"]]
    rows = pl.concat([checks.with_columns(of_base=False), base.with_columns(of_base=True)], how="vertical_relaxed")
    # As in pass_rate a task counts once in a direction, whatever its checks and samples.
    rows = rows.with_columns(weight=1 / pl.len().over("prompt_id", "direction", "of_base"))
    # Of every row which of the sums it adds to: by check, class of length, and whose answer it is.
    parts = np.zeros((rows.height, len(named), LENGTHS, 2, 2))
    values = rows.select("check", "direction", "tokens", "passed", "of_base", "weight")
    for place, (check, direction, tokens, passed, of_base, weight) in enumerate(values.iter_rows()):
        number = named[check, direction]
        parts[place, number, np.searchsorted(edges[number], tokens), int(of_base)] = passed * weight, weight
    inside = np.array([[direction == one for _, direction in named] for one in _directions(base)])

    def follows(sums: np.ndarray) -> np.ndarray:
        by_class = sums.reshape(*sums.shape[:-1], len(named), LENGTHS, 2, 2)
        kept, answers = by_class[..., 0, 0].sum(-1), by_class[..., 0, 1]
        overall = resampling.ratio(by_class[..., 1, :].sum(-2))
        rate = resampling.ratio(by_class[..., 1, :])
        rate = np.where(np.isnan(rate), overall[..., None], rate)
        beyond = kept - (answers * rate).sum(-1)  # answers that keep the check, more than lengths explain
        # (..., checks) x (directions, checks) -> (..., directions)
        per_direction = np.stack([beyond @ inside.T, answers.sum(-1) @ inside.T], axis=-1)
        return resampling.ratio(per_direction).mean(axis=-1)

    return resampling.summed(rows["prompt_id"], parts.reshape(rows.height, -1), follows)
