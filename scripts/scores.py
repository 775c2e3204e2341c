"""Turn what policies answered, how they were judged, and their log-probabilities into scores with intervals.

Reads:  under every --policy folder, eval/BENCHMARK/responses.parquet, eval/BENCHMARK/judge/JUDGE/judgments.parquet and
        eval/heldout-pairs/logps.parquet.
Writes: one Scores table (--scores).

Settings: benchmarks (names), bootstrap (number of resamples), seed (of the bootstrap), beta (of the loss, for the margin).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from drift import cli, stats, tables

HELDOUT_PAIRS = "heldout-pairs"


@dataclass(frozen=True)
class Policy:
    """A policy by its name in the results: iteration -1 is the base model, 0 the warm-up."""

    model: str
    method: str
    iteration: int
    folder: Path


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is made."""

    resamples: int
    seed: int


def summarise(metric: str, values: np.ndarray, bootstrap: Bootstrap, judge: str | None = None) -> dict:
    """One score: the mean over items, its bootstrap interval, and how many items there are; null where there are none."""
    low, high = stats.bootstrap_interval(values, resamples=bootstrap.resamples, seed=bootstrap.seed) or (None, None)
    value = float(np.mean(values)) if len(values) else None
    return {"metric": metric, "value": value, "low": low, "high": high, "n": len(values), "judge": judge}


def by_item(judgments: pl.DataFrame) -> pl.DataFrame:
    """Per item judged in both orders: its preference (the mean of the orders), whether the verdict flips, the verdict's mass.

    An item seen in one order only is left out: its preference would hold the judge's position bias.
    """
    order = [pl.col("preference").filter(pl.col("order") == order).mean().alias(order) for order in ("AB", "BA")]
    return (
        judgments.group_by("prompt_id")
        .agg(*order, pl.col("mass").mean())
        .drop_nulls(["AB", "BA"])
        .select(
            "prompt_id",
            "mass",
            ((pl.col("AB") + pl.col("BA")) / 2).alias("preference"),
            ((pl.col("AB") > 0.5) != (pl.col("BA") > 0.5)).cast(pl.Float64).alias("flips"),
        )
        .sort("prompt_id")
    )


def judged_scores(items: pl.DataFrame, base: pl.DataFrame | None, bootstrap: Bootstrap, judge: str) -> list[dict]:
    """Win rate, its gain over the base model on the same items, and how far the judge can be believed."""
    scores = [
        summarise("win_rate", items["preference"].to_numpy(), bootstrap, judge),
        summarise("position_flip_rate", items["flips"].to_numpy(), bootstrap, judge),
        summarise("verdict_mass", items["mass"].to_numpy(), bootstrap, judge),
    ]
    if base is not None:
        columns = [frame[name].to_numpy() for frame in (items, base) for name in ("prompt_id", "preference")]
        scores.append(summarise("win_rate_gain", stats.paired_differences(*columns), bootstrap, judge))
    return scores


def response_scores(responses: pl.DataFrame, bootstrap: Bootstrap) -> list[dict]:
    """Length in tokens and share cut by the token limit; an item's samples are averaged first."""
    items = responses.group_by("prompt_id", maintain_order=True).agg(
        pl.col("completion_tokens").mean(), (pl.col("finish_reason") == "length").mean().alias("cut")
    )
    return [
        summarise("response_tokens", items["completion_tokens"].to_numpy(), bootstrap),
        summarise("cut_by_limit", items["cut"].to_numpy(), bootstrap),
    ]


def pair_scores(logps: pl.DataFrame, base: pl.DataFrame | None, beta: float, bootstrap: Bootstrap) -> list[dict]:
    """How a policy ranks held-out corrections: s = beta [(lc - lc_base) - (lr - lr_base)] (Rafailov et al. 2023, section 4).

    `base` holds the base model's log-probabilities (nats, summed over tokens) of the same pairs; None for the base model
    itself, whose s is 0 by definition.
    """
    likelier = (logps["chosen_logp"] > logps["rejected_logp"]).cast(pl.Float64).to_numpy()
    scores = [summarise("likelihood_accuracy", likelier, bootstrap)]
    if base is None:
        undefined = {"value": None, "low": None, "high": None, "n": len(logps), "judge": None}
        names = ("preference_accuracy", "margin", "chosen_logp_change", "rejected_logp_change")
        return scores + [{"metric": name, **undefined} for name in names]
    both = logps.join(base, on="pair_id", how="inner", suffix="_base", maintain_order="left")
    if len(both) != len(logps) or len(both) != len(base):
        raise cli.StageError(
            f"{HELDOUT_PAIRS}: {len(logps)} pairs under the policy, {len(base)} under the base model, {len(both)} in both. "
            "They were scored on different splits: delete both logps.parquet and run again."
        )
    chosen = (both["chosen_logp"] - both["chosen_logp_base"]).to_numpy()
    rejected = (both["rejected_logp"] - both["rejected_logp_base"]).to_numpy()
    s = beta * (chosen - rejected)
    return [
        *scores,
        summarise("preference_accuracy", (s > 0).astype(np.float64), bootstrap),
        summarise("margin", s, bootstrap),
        summarise("chosen_logp_change", chosen, bootstrap),
        summarise("rejected_logp_change", rejected, bootstrap),
    ]


def score_policy(policy: Policy, base: Policy, judge: str | None, settings: dict) -> list[dict]:
    """All scores of one policy; `base` is the base model it came from."""
    bootstrap = Bootstrap(settings["bootstrap"], settings["seed"])
    key = {"model": policy.model, "method": policy.method, "iteration": policy.iteration}
    rows = []
    for benchmark in settings["benchmarks"]:
        folder, base_folder = policy.folder / "eval" / benchmark, base.folder / "eval" / benchmark
        scores = response_scores(tables.read_table(tables.Responses, folder / "responses.parquet"), bootstrap)
        if judge is not None:
            items, base_items = (
                by_item(tables.read_table(tables.Judgments, place / "judge" / judge / "judgments.parquet"))
                for place in (folder, base_folder)
            )
            scores += judged_scores(items, None if policy == base else base_items, bootstrap, judge)
        rows += [{**key, "benchmark": benchmark, **score} for score in scores]
    logps, base_logps = (
        tables.read_table(tables.Logps, place.folder / "eval" / HELDOUT_PAIRS / "logps.parquet") for place in (policy, base)
    )
    scores = pair_scores(logps, None if policy == base else base_logps, settings["beta"], bootstrap)
    return rows + [{**key, "benchmark": HELDOUT_PAIRS, **score} for score in scores]


def base_of(policy: Policy, policies: list[Policy]) -> Policy:
    """The base model of `policy`, by its model's name and iteration -1."""
    for candidate in policies:
        if candidate.model == policy.model and candidate.iteration == -1:
            return candidate
    raise cli.StageError(
        f"no base model among the policies of '{policy.model}': add --policy {policy.model} base -1 FOLDER; "
        "margins and gains are measured against it."
    )


def policy_argument(model: str, method: str, iteration: str, folder: str) -> Policy:
    """A --policy of the command line."""
    try:
        return Policy(model, method, int(iteration), Path(folder))
    except ValueError as error:
        raise cli.StageError(f"--policy {model} {method} {iteration} {folder}: the iteration must be a whole number") from error


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument(
        "--policy",
        nargs=4,
        action="append",
        required=True,
        metavar=("MODEL", "METHOD", "ITERATION", "FOLDER"),
        help="a policy to score; once for each. METHOD is base for iteration -1 and warmup for 0",
    )
    command.add_argument("--judge", help="whose judgments to use; without it only what needs no judge is scored")
    command.add_argument("--scores", required=True, help="Scores table to write")
    arguments = command.parse_args()
    policies = [policy_argument(*values) for values in arguments.policy]
    rows = [
        row
        for policy in policies
        for row in score_policy(policy, base_of(policy, policies), arguments.judge, arguments.settings)
    ]
    tables.write_table(pl.DataFrame(rows, schema=tables.Scores.create_empty().schema), tables.Scores, arguments.scores)


if __name__ == "__main__":
    cli.run(main)
