"""Turn what policies answered, how they were judged, and their log-probabilities into scores with intervals, and compare them.

Reads:  the Tasks of every benchmark (--tasks, BENCHMARK.parquet), AlpacaEval's regularising rows where they are given (--gamed),
        and under every --policy folder eval/BENCHMARK/responses.parquet, eval/BENCHMARK/judge/JUDGE/judgments.parquet and
        eval/heldout-pairs/logps.parquet.
Writes: Scores (--scores) and Comparisons (--comparisons).

Settings: benchmarks (by name: kind, and judges, each with the SHA-256 of its judge prompt), bootstrap (number of resamples), seed (of all resampling), beta (of the loss, for
the margin).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from drift import cli, tables
from drift.metrics import elo, judge_metrics, length_control, resampling
from drift.metrics.comparisons import Policy, Scored, contrasts

HELDOUT_PAIRS = "heldout-pairs"
NOBODY = ""  # the judge of what nobody judged


def summarise(scored: Scored, total: int, samples: list[float]) -> dict:
    """The figure's value with its interval, how many of `total` items are behind it, and its spread over `samples`' values."""
    value = scored.figure.value() if len(scored.figure.keys) else np.nan
    defined = not np.isnan(value)
    low, high = (resampling.interval(scored.replicates) if defined else None) or (None, None)
    return {
        "value": value if defined else None,
        "low": low,
        "high": high,
        "n": len(scored.figure.keys),
        "total": total,
        "samples": len(samples),
        "spread": float(np.std(samples, ddof=1)) if len(samples) > 1 else None,
    }


def by_sample(rows: pl.DataFrame, figures: Callable[[pl.DataFrame], dict[str, resampling.Figure]]) -> dict[str, tuple]:
    """Each figure of `rows` together with its values for each sample of the answers by itself."""
    samples = rows["sample"].unique().sort()
    alone = [figures(rows.filter(sample=sample)) for sample in samples] if len(samples) > 1 else []
    return {
        name: (figure, [one[name].value() for one in alone if name in one] if alone else [figure.value()])
        for name, figure in figures(rows).items()
    }


def response_figures(responses: pl.DataFrame) -> dict[str, resampling.Figure]:
    """Length in tokens, and share cut by the token limit; an item's samples are averaged first."""
    return {
        "response_tokens": resampling.mean(responses["prompt_id"], responses["completion_tokens"]),
        "cut_by_limit": resampling.mean(responses["prompt_id"], responses["finish_reason"] == "length"),
    }


def pair_figures(logps: pl.DataFrame, base: pl.DataFrame, beta: float) -> dict[str, resampling.Figure]:
    """How a policy ranks held-out corrections: s = beta [(lc - lc_base) - (lr - lr_base)] (Rafailov et al. 2023, section 4).

    `base` holds the base model's log-probabilities (nats, summed over tokens) of the same pairs.
    """
    both = logps.join(base, on="pair_id", how="inner", suffix="_base", maintain_order="left")
    if len(both) != len(logps) or len(both) != len(base):
        raise cli.StageError(
            f"{HELDOUT_PAIRS}: {len(logps)} pairs under the policy, {len(base)} under the base model, {len(both)} in both. "
            "They were scored on different splits: delete both logps.parquet and run again."
        )
    chosen, rejected = ((both[f"{side}_logp"] - both[f"{side}_logp_base"]).to_numpy() for side in ("chosen", "rejected"))
    s = beta * (chosen - rejected)
    values = {
        "likelihood_accuracy": logps["chosen_logp"] > logps["rejected_logp"],
        "preference_accuracy": s > 0,
        "margin": s,
        "chosen_logp_change": chosen,
        "rejected_logp_change": rejected,
    }
    return {name: resampling.mean(logps["pair_id"], each) for name, each in values.items()}


def policy_figures(policy: Policy, base: Policy, tasks: dict[str, pl.DataFrame], gamed: dict, settings: dict) -> list[tuple]:
    """Everything that is known of one policy: (benchmark, judge, metric), the figure with replicates, the items that there are,
    and the values of each sample."""
    found = []
    for benchmark, how in settings["benchmarks"].items():
        folder, known = policy.folder / "eval" / benchmark, tasks[benchmark]
        responses = tables.read_table(tables.Responses, folder / "responses.parquet")
        of_judges = {NOBODY: by_sample(responses, response_figures)}
        for judge in how["judges"]:
            judgments = tables.read_table(tables.Judgments, folder / "judge" / judge / "judgments.parquet")
            figures = partial(judge_metrics.figures, how["kind"], tasks=known, gamed=gamed.get(benchmark))
            of_judges[judge] = by_sample(judgments, figures) if len(judgments) else {}
        found += [
            ((benchmark, judge, name), len(known), *figure)
            for judge, figures in of_judges.items()
            for name, figure in figures.items()
        ]
    logps, base_logps = (
        tables.read_table(tables.Logps, place.folder / "eval" / HELDOUT_PAIRS / "logps.parquet") for place in (policy, base)
    )
    for name, figure in pair_figures(logps, base_logps, settings["beta"]).items():
        found.append(((HELDOUT_PAIRS, NOBODY, name), len(logps), figure, [figure.value()]))
    return [
        (place, Scored(figure, resampling.bootstrap(figure, settings["bootstrap"], settings["seed"])), total, samples)
        for place, total, figure, samples in found
    ]


def elo_rows(policies: list[Policy], benchmark: str, judge: str, tasks: pl.DataFrame, settings: dict) -> list[dict]:
    """Ratings of all policies of the run by one judge's scores; none where there is nobody to compare with."""
    keys, columns = tasks.select("prompt_id").sort("prompt_id"), []
    for policy in policies:
        judgments = tables.read_table(
            tables.Judgments, policy.folder / "eval" / benchmark / "judge" / judge / "judgments.parquet"
        ).filter(kind="score")
        # Of several samples of an answer the mean score and the mean length vote.
        answers = judge_metrics.mean_scores(judgments).group_by("prompt_id").agg(pl.col("score", "policy_chars").mean())
        columns.append(keys.join(answers, on="prompt_id", how="left", maintain_order="left"))
    scores, lengths = (
        np.column_stack([column[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in columns])
        for name in ("score", "policy_chars")
    )
    earned = elo.votes(scores, lengths)
    there = ~np.isnan(earned).all(axis=(1, 2))
    if not there.any():
        return []
    published = elo.sequential(earned, settings["seed"]).mean(axis=0)
    counts = resampling.resampled(int(there.sum()), settings["bootstrap"], settings["seed"])
    value = elo.bradley_terry(earned[there], np.ones((1, counts.shape[1])))[0]
    replicates = elo.bradley_terry(earned[there], counts)
    rows = []
    for at, policy in enumerate(policies):
        low, high = resampling.interval(replicates[:, at]) or (None, None)
        n = int((~np.isnan(earned[:, at])).any(axis=1).sum())
        shared = {**named(policy), "benchmark": benchmark, "judge": judge, "n": n, "total": len(tasks), "samples": 1}
        rows.append({**shared, "metric": "elo", "value": float(published[at])})
        rows.append({**shared, "metric": "elo_bradley_terry", "value": float(value[at]), "low": low, "high": high})
    return rows


def named(policy: Policy) -> dict:
    """A policy's key columns."""
    return {"model": policy.model, "method": policy.method, "iteration": policy.iteration}


def score(policies: list[Policy], tasks: dict[str, pl.DataFrame], gamed: dict, settings: dict) -> tuple[list[dict], list[dict]]:
    """Rows of Scores and of Comparisons."""
    rows, scored = [], {}
    for policy in policies:
        base = base_of(policy, policies)
        for (benchmark, judge, metric), figure, total, samples in policy_figures(policy, base, tasks, gamed, settings):
            scored[policy, benchmark, judge, metric] = figure
            row = summarise(figure, total, samples)
            if policy == base and benchmark == HELDOUT_PAIRS and metric != "likelihood_accuracy":
                row |= dict.fromkeys(("value", "low", "high"))  # measured from the base model: 0 by definition, or nothing
            rows.append({**named(policy), "benchmark": benchmark, "judge": judge, "metric": metric, **row})
    for benchmark, how in settings["benchmarks"].items():
        for judge in how["judges"] if how["kind"] == "wildbench" else ():
            rows += elo_rows(policies, benchmark, judge, tasks[benchmark], settings)
    for row in rows:
        how = settings["benchmarks"].get(row["benchmark"], {"judges": {}})
        row["judge_prompt"] = how["judges"].get(row["judge"])
    return rows, contrasts(policies, scored, settings["bootstrap"], settings["seed"])


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
    command.add_argument("--tasks", nargs="+", type=Path, default=[], help="BENCHMARK.parquet of every benchmark")
    command.add_argument(
        "--gamed", nargs=2, action="append", default=[], metavar=("BENCHMARK", "FILE"), help="df_gamed.csv of an alpacaeval"
    )
    command.add_argument("--scores", required=True, help="Scores table to write")
    command.add_argument("--comparisons", required=True, help="Comparisons table to write")
    arguments = command.parse_args()
    rows, compared = score(
        [policy_argument(*values) for values in arguments.policy],
        {path.stem: tables.read_table(tables.Tasks, path) for path in arguments.tasks},
        {benchmark: length_control.read_gamed(Path(path)) for benchmark, path in arguments.gamed},
        arguments.settings,
    )
    for made, schema, path in (
        (rows, tables.Scores, arguments.scores),
        (compared, tables.Comparisons, arguments.comparisons),
    ):
        tables.write_table(pl.DataFrame(made, schema=schema.create_empty().schema), schema, path)


if __name__ == "__main__":
    cli.run(main)
