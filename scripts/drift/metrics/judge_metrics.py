"""A judge's verdicts on a policy's answers as figures over tasks: which ones depends on the benchmark and on how it was judged.

Shares are 0 to 1. Figures of WildBench are on the leaderboard's scales (see drift.metrics.wildbench).
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from drift.judging.parsing import written_letters
from drift.metrics import length_control, resampling, wildbench

BASELINE = "baseline"


def figures(
    kind: str, judgments: pl.DataFrame, tasks: pl.DataFrame, gamed: length_control.Rows | None
) -> dict[str, resampling.Figure]:
    """Every figure, by metric, that one judge's `judgments` of one policy give on a benchmark of this kind.

    A metric that ends in :MODEL is against the answers of that reference, in :GROUP over the tasks of that group. `gamed`: the
    rows that AlpacaEval's length control is fitted with, where there are any.
    """
    found: dict[str, resampling.Figure] = {}
    scored, compared = (judgments.filter(kind=name) for name in ("score", "pairwise"))
    if len(scored):
        found |= score_figures(kind, scored, tasks)
    if len(compared) and kind == "wildbench":
        found |= reward_figures(compared, tasks)
    for opponent in compared["opponent"].unique().sort():
        answers = comparisons(compared.filter(opponent=opponent))
        suffix = "" if opponent == BASELINE else f":{opponent}"
        if kind != "wildbench":
            if len(written_letters(compared)):
                rates = {"written_win_rate": resampling.mean(answers["prompt_id"], shares(answers))}
            else:
                rates = win_figures(answers) | (alpaca_figures(answers, tasks, gamed) if kind == "alpacaeval" else {})
            found |= {metric + suffix: figure for metric, figure in rates.items()}
    return found | reliability(judgments)


def reliability(judgments: pl.DataFrame) -> dict[str, resampling.Figure]:
    """How far the judge can be believed: verdicts that turn with the order of answers, questions without one, their mass."""
    found = {"parse_failure_rate": resampling.mean(judgments["prompt_id"], judgments["error"].is_not_null())}
    compared = judgments.filter(kind="pairwise")
    flips = comparisons(compared).drop_nulls("flips")
    if len(flips):
        found["position_flip_rate"] = resampling.mean(flips["prompt_id"], flips["flips"])
    massive = judgments.drop_nulls("mass")
    if len(massive):
        found["verdict_mass"] = resampling.mean(massive["prompt_id"], massive["mass"])
    return found


def comparisons(compared: pl.DataFrame) -> pl.DataFrame:
    """One row per answer and opponent: the policy's share of the win, 0 to 1, over votes and orders; and whether it flips.

    share is null where one of the orders asked has no verdict: the others' would hold the judge's position bias. A verdict flips
    where the judge is for one side in one order and for the other in the other; null where it was asked in one order only.
    """
    win = pl.coalesce("preference", (pl.col("outcome").sign() + 1) / 2)
    answer = ("prompt_id", "sample", "opponent")
    orders = compared.group_by(*answer, "order").agg(
        win.mean().alias("share"), pl.col("policy_chars", "opponent_chars").first(), win.count().alias("votes")
    )
    both = (pl.len() == 2) & (pl.col("votes") > 0).all()
    side = (pl.col("share") - 0.5).sign()
    return (
        orders.group_by(*answer)
        .agg(
            pl.when((pl.col("votes") > 0).all()).then(pl.col("share").mean()).alias("share"),
            pl.when(both).then((side.product() < 0).cast(pl.Float64)).alias("flips"),
            pl.col("policy_chars", "opponent_chars").first(),
        )
        .sort(*answer)
    )


def win_figures(answers: pl.DataFrame) -> dict[str, resampling.Figure]:
    """Of `comparisons` with one opponent: the mean share of the win."""
    return {"win_rate": resampling.mean(answers["prompt_id"], shares(answers))}


def shares(answers: pl.DataFrame) -> np.ndarray:
    """The share of the win of each answer, NaN without a verdict."""
    return answers["share"].cast(pl.Float64).fill_null(np.nan).to_numpy()


def standard_error(sums: np.ndarray) -> np.ndarray:
    """The standard error of a mean, with the sample variance, from the sums of values, their squares, and items."""
    total, squares, n = (sums[..., at] for at in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(squares - total**2 / n, 0) / (n - 1) / n)


def alpaca_figures(
    answers: pl.DataFrame, tasks: pl.DataFrame, gamed: length_control.Rows | None
) -> dict[str, resampling.Figure]:
    """What AlpacaEval reports besides the win rate. Length control is left out where there are too few verdicts to fit it to."""
    keys, won = answers["prompt_id"], shares(answers)
    discrete = np.where(np.isnan(won), np.nan, (np.sign(won - 0.5) + 1) / 2)
    found: dict[str, resampling.Figure] = {
        "discrete_win_rate": resampling.mean(keys, discrete),
        "standard_error": resampling.by_item(keys, np.column_stack([won, won**2, np.ones(len(won))]), standard_error),
    }
    samples = list(length_items(answers, tasks))
    known = np.unique(samples[0][0])
    if all(np.count_nonzero(~np.isnan(items.won)) >= length_control.FOLDS for _, items in samples):
        found["length_controlled_win_rate"] = length_control.LengthControl.fitted(known, [items for _, items in samples], gamed)
    return found


def length_items(answers: pl.DataFrame, tasks: pl.DataFrame) -> Iterator[tuple[np.ndarray, length_control.Items]]:
    """Keys and items of each sample of the answers: of the tasks that have all samples, judged or not.

    A difficulty that some task does not have is nobody's: the fit is then the variant without it.
    """
    whole = answers.filter(pl.len().over("prompt_id") == answers["sample"].n_unique())
    difficulty = tasks.select("prompt_id", "difficulty")
    for _, rows in (
        whole.join(difficulty, on="prompt_id", how="left").sort("sample", "prompt_id").group_by("sample", maintain_order=True)
    ):
        known = None if rows["difficulty"].null_count() else rows["difficulty"].to_numpy()
        shorter_by = (rows["opponent_chars"] - rows["policy_chars"]).cast(pl.Float64).to_numpy()
        yield rows["prompt_id"].to_numpy(), length_control.Items(shares(rows), shorter_by, known)


def score_figures(kind: str, scored: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, resampling.Figure]:
    """Figures of scores of single answers; votes are averaged."""
    rows = mean_scores(scored)
    if kind != "wildbench":
        return {"judge_score": resampling.mean(rows["prompt_id"], rows["score"].fill_null(np.nan))}
    columns = (rows[name].to_numpy() for name in ("score", "policy_chars"))
    return wildbench.score_figures(rows["prompt_id"], *columns, member_of(rows, tasks))


def mean_scores(scored: pl.DataFrame) -> pl.DataFrame:
    """One row per answer: the mean of its scores, null without one, and its length."""
    answer = ("prompt_id", "sample")
    return scored.group_by(*answer).agg(pl.col("score").mean(), pl.col("policy_chars").first()).sort(*answer)


def reward_figures(compared: pl.DataFrame, tasks: pl.DataFrame) -> dict[str, resampling.Figure]:
    """WB-Reward, without and with the length penalty, against each reference and as their mean.

    Only a judge whose verdicts have five levels (outcomes) gives one.
    """
    answer = ("prompt_id", "sample")
    compared = compared.filter(pl.col("preference").is_null())
    if not compared["outcome"].count():
        return {}
    opponents = compared["opponent"].unique().sort().to_list()
    found = {}
    for suffix, k in (("", -1), (f"_k{wildbench.PENALTY}", wildbench.PENALTY)):
        lengths = (compared[name].to_numpy() for name in ("policy_chars", "opponent_chars"))
        outcomes = wildbench.penalised(compared["outcome"].cast(pl.Float64).fill_null(np.nan).to_numpy(), *lengths, k)
        usable = pl.min_horizontal("policy_chars", "opponent_chars") > 0
        # pivot: one row per answer, one column per reference; over orders and votes the mean, which a missing verdict takes away.
        each = (
            compared.with_columns(reward=pl.Series(outcomes / 2, dtype=pl.Float64).fill_nan(None), usable=usable)
            .group_by(*answer, "opponent", "order")
            .agg(pl.col("reward").mean(), pl.col("usable").first())
            .group_by(*answer, "opponent")
            .agg(
                pl.when(pl.col("reward").is_not_null().all()).then(pl.col("reward").mean()),
                pl.col("usable").first().cast(pl.Float64),
            )
        )
        wide = [
            each.pivot("opponent", index=answer, values=name, sort_columns=True).sort(*answer) for name in ("reward", "usable")
        ]
        keys, member = wide[0]["prompt_id"], member_of(wide[0], tasks)
        rewards = wide[0].select(pl.col(opponents).cast(pl.Float64).fill_null(np.nan)).to_numpy()
        counts = wide[1].select(pl.col(opponents).fill_null(0.0)).to_numpy() > 0
        parts = [("", slice(None)), *((f":{name}", slice(at, at + 1)) for at, name in enumerate(opponents))]
        for reference, at in parts if len(opponents) > 1 else parts[:1]:
            overall, macro = wildbench.reward_figures(keys, rewards[:, at], counts[:, at], member)
            found |= {f"wb_reward{suffix}{reference}": overall, f"wb_reward_task_macro{suffix}{reference}": macro}
    return found


def member_of(rows: pl.DataFrame, tasks: pl.DataFrame) -> np.ndarray:
    """Which row, by its prompt_id, is in which of WildBench's groups: (n, 5) of 0 and 1."""
    categories = rows.select("prompt_id").join(tasks.select("prompt_id", "categories"), on="prompt_id", how="left")
    return wildbench.membership(categories["categories"].fill_null([]).to_list())
