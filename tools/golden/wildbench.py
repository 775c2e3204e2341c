"""WildBench's published figures: from items and from counts of outcomes as scores.py would compute
them from judgments, and from each other."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from drift import benchmarks, cli, tables
from drift.metrics import published_files, wildbench
from drift.metrics.wildbench import CODING, GROUP_WEIGHTS, GROUPS
from golden.report import AbsentError, Report, present

JUDGE = "gpt-4o-2024-05-13"  # whose scores the leaderboards are made of
LATEST = "v2.0625"
# Weights of groups by version of the leaderboard. The published means of v2.0522 fit coding at 1.
WEIGHTS = {LATEST: GROUP_WEIGHTS, "v2.0522": GROUP_WEIGHTS | {CODING: 1.0}}
# Figures of the leaderboard that items give: its name, that of the comparison.
ITEM_FIGURES = {
    "score": "WB-Score raw",
    "adjusted_score": "WB-Score adjusted",
    "total": "WB-Score tasks",
    "avg_len": "WB-Score average length",
}
OUTCOMES = {"win_much": 2, "win": 1, "tie": 0, "lose": -1, "lose_much": -2}
REFERENCES = ("gpt4t", "haiku", "llama")


def check(folder: Path, report: Report) -> None:
    """WB-Score from items, and everything that the published aggregates give from each other."""
    files = {path.stem.removeprefix("score_"): path for path in sorted(folder.glob("score_*.json"))}
    if present(folder / "score.json", "WildBench leaderboard", report):
        files[LATEST] = folder / "score.json"
    boards = {version: published_files.read_json(path) for version, path in files.items()}
    if present(folder / "scores.csv.gz", "WB-Score from items", report):
        check_scores(folder / "scores.csv.gz", files, boards, report)
    for version, board in boards.items():
        check_task_macro(version, board, files[version], report)
    rewards = {path: published_files.read_json(path) for path in sorted(folder.glob("pairwise_*.json"))}
    for path, board in rewards.items():
        check_rewards(path, board, report)
    for path in sorted(folder.glob("all_stat_*.json")):
        stats = published_files.read_json(path)
        k = penalty_of(path)
        check_overview(path, stats, k, report)
        if LATEST in boards:
            check_overview_scores(path, stats, files[LATEST], boards[LATEST], report)
        for rewards_path, board in rewards.items():
            if penalty_of(rewards_path) == k:
                check_overview_rewards(path, stats, k, rewards_path, board, report)


def penalty_of(path: Path) -> int:
    """The length penalty in a file's name: all_stat_K500.json -> 500."""
    match = re.search(r"_K(-?\d+)\.json$", path.name)
    if match is None:
        raise cli.StageError(
            f"{path}: the name does not end in _K and the length penalty, as all_stat_K500.json does. Rename it."
        )
    return int(match[1])


def figure_of(path: Path, entry: dict, *names: str) -> float:
    """The number at `names`, one inside the other, in a model's published figures; AbsentError
    where there is none."""
    value = entry
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise AbsentError(f"{path.name} has no number '{' / '.join(names)}'")
    return value


# ------------------------------------------------------------------------------------------- scores


def check_scores(items_path: Path, files: dict[str, Path], boards: dict[str, dict], report: Report) -> None:
    """Score, adjusted score, number of tasks and average length, from a model's items."""
    name = "WB-Score from items"
    numbers = ("score", "model_output_len", "ends_truncated")
    types = {**dict.fromkeys(("version", "judge", "model"), pl.String), **dict.fromkeys(numbers, pl.Float64)}
    items = published_files.read_csv(items_path, types, nullable=("score",)).drop_nulls("score")
    judged = items.partition_by("version", "judge", "model", as_dict=True, maintain_order=True)
    for (version, judge, model), rows in judged.items():
        case = f"{model} {version}"
        if judge != JUDGE:
            report.skip(name, f"judged by {judge}, the leaderboard by {JUDGE}", case)
        elif version not in boards:
            report.skip(name, f"no leaderboard of {version} here", case)
        elif model not in boards[version]:
            report.skip(name, f"not in {files[version].name}", case)
        else:
            computed = from_items(rows)
            for figure, metric in ITEM_FIGURES.items():
                with report.where_there(metric, case):
                    published = figure_of(files[version], boards[version][model], figure)
                    report.compare(metric, f"{case}, from items", computed[figure], published)
    with_items = set(items.filter(pl.col("judge") == JUDGE).select("version", "model").unique().rows())
    for version, board in boards.items():
        report.skip(name, "no items here", *(f"{model} {version}" for model in board if (version, model) not in with_items))


def from_items(rows: pl.DataFrame) -> dict[str, float]:
    """A model's figures under the leaderboard's names."""
    judgments = judgments_of(
        kind="score", policy_chars=rows["model_output_len"].cast(pl.Int32), score=rows["score"].cast(pl.Float64)
    )
    statistics = benchmarks.statistics("wildbench", judgments, tasks_of(judgments), {})
    usable = rows.filter(pl.col("model_output_len") > 0, pl.col("ends_truncated") == 0)
    return {
        "score": statistics["wb_score_raw"].value(),
        "adjusted_score": statistics["wb_score_adjusted"].value(),
        "total": len(statistics["wb_score_raw"].keys),
        # Of answers neither empty nor cut for the judge: the pipeline reports tokens instead.
        "avg_len": usable["model_output_len"].mean(),
    }


def check_task_macro(version: str, board: dict, path: Path, report: Report) -> None:
    """The task-weighted mean, from the published group means, and the adjusted score from the
    score."""
    if version not in WEIGHTS:
        report.skip("WB-Score task macro", f"no group weights are known for {version}", *board)
    for model, entry in board.items():
        case = f"{model} {version}"
        if version in WEIGHTS:
            with report.where_there("WB-Score task macro", case):
                by_group = [figure_of(path, entry, "task_categorized_scores", group) for group in GROUPS]
                published = figure_of(path, entry, "task_macro_score")
                report.compare("WB-Score task macro", case, macro(by_group, WEIGHTS[version]), published)
        with report.where_there("WB-Score adjusted", case):
            overall = wildbench.adjusted(figure_of(path, entry, "score"))
            report.compare("WB-Score adjusted", case, overall, figure_of(path, entry, "adjusted_score"))


def macro(by_group: Sequence[float], weights: Mapping[str, float] = GROUP_WEIGHTS) -> float:
    """The task-weighted mean of figures in the order of GROUPS."""
    return float(wildbench.macro(np.array(by_group), weights))


# ------------------------------------------------------------------------------------------ rewards


def check_rewards(path: Path, board: dict, report: Report) -> None:
    """Rewards overall, by group and task-weighted, from the published counts of outcomes."""
    for model, entry in board.items():
        case = f"{model} in {path.name}"
        with report.where_there("WB-Reward", case):
            counts = counts_of(path, entry)
            uncounted = int(figure_of(path, entry, "total")) - sum(counts.values())
            published = figure_of(path, entry, "reward")
            computed = None if uncounted < 0 else reward({"": counts}, uncounted)["wb_reward"] / 100
            report.compare("WB-Reward", case, computed, published)
        with report.where_there("WB-Reward by group", case):
            by_group = {group: counts_of(path, entry, "task_categorized_results", group) for group in GROUPS}
            for group, counts in by_group.items():
                published = figure_of(path, entry, "task_categorized_rewards", group)
                computed = reward({group: counts})["wb_reward"] / 100
                report.compare("WB-Reward by group", f"{case}, {group}", computed, published)
            published = figure_of(path, entry, "task_macro_reward")
            report.compare("WB-Reward task macro", case, reward(by_group)["wb_reward_task_macro"] / 100, published)


def counts_of(path: Path, entry: dict, *names: str) -> dict[str, int]:
    """How often each outcome was counted."""
    return {name: int(figure_of(path, entry, *names, name)) for name in OUTCOMES}


def reward(counts: Mapping[str, Mapping[str, int]], uncounted: int = 0) -> dict[str, float]:
    """WB-Reward of judgments with these counts of outcomes by group, each task in one group.

    uncounted: tasks without a group whose answers do not count. The published counts are after the
    length penalty, so the penalty is not applied again: both answers have one length.
    """
    outcomes, groups = [], []
    for group, group_counts in counts.items():
        for name, count in group_counts.items():
            outcomes += [OUTCOMES[name]] * count
            groups += [group] * count
    lengths = [1] * len(outcomes) + [0] * uncounted
    outcomes, groups = outcomes + [0] * uncounted, groups + [""] * uncounted
    judgments = judgments_of(
        kind="pairwise", opponent="reference", order="AB", policy_chars=lengths, opponent_chars=lengths, outcome=outcomes
    )
    statistics = wildbench.rewards_against_references(judgments, tasks_of(judgments, groups), "", None)
    return {name: statistic.value() for name, statistic in statistics.items()}


def check_overview(path: Path, stats: dict, k: int, report: Report) -> None:
    """The overview's means over groups, over references, and of score and reward."""
    for model, entry in stats.items():
        case = f"{model} in {path.name}"
        with report.where_there("WB-Score task macro", case):
            scores = [figure_of(path, entry, f"WB_score.{group}") for group in GROUPS]
            published = figure_of(path, entry, "WB_score.task_macro")
            report.compare("WB-Score task macro", case, macro(scores), published)
        judged = [reference for reference in REFERENCES if f"{reference}_reward.K={k}" in entry]
        for reference in judged:
            with report.where_there("WB-Reward task macro", f"{case} against {reference}"):
                by_group = [figure_of(path, entry, f"{reference}_reward.{group}.K={k}") for group in GROUPS]
                published = figure_of(path, entry, f"{reference}_reward.task_macro.K={k}")
                report.compare("WB-Reward task macro", f"{case} against {reference}", macro(by_group), published)
        if len(judged) < len(REFERENCES):
            report.skip("WB-Reward mix", "not compared with every reference", case)
            continue
        mixes = {f".{group}": f"mixture_of_rewards.{group}.K={k}" for group in GROUPS}
        for part, name in ({"": f"mixture_of_rewards.K={k}", ".task_macro": f"task_macro_reward.K={k}"} | mixes).items():
            with report.where_there("WB-Reward mix", case):
                rewards = [figure_of(path, entry, f"{reference}_reward{part}.K={k}") for reference in REFERENCES]
                report.compare("WB-Reward mix", f"{case}, {name}", mix(rewards), figure_of(path, entry, name))
        with report.where_there("WildBench mean of score and reward", case):
            both = [figure_of(path, entry, name) for name in ("WB_score.task_macro", f"task_macro_reward.K={k}")]
            published = figure_of(path, entry, "RewardScore_Avg")
            report.compare("WildBench mean of score and reward", case, sum(both) / 2, published)


def mix(rewards: Sequence[float]) -> float:
    """The reward over several references, of one task whose rewards these are, times 100."""
    earned = np.array([rewards]) / 100
    overall, _ = wildbench.reward_statistics(["task"], earned, np.ones_like(earned, dtype=bool), wildbench.membership([()]))
    return overall.value()


def check_overview_scores(path: Path, stats: dict, board_path: Path, board: dict, report: Report) -> None:
    """The overview's scores: ten times the leaderboard's."""
    names = {f"WB_score.{group}": ("task_categorized_scores", group) for group in GROUPS}
    names |= {"WB_score": ("adjusted_score",), "WB_score.task_macro": ("task_macro_score",)}
    check_scaled("WB-Score x10", 10, (path, stats), (board_path, board), names, report)


def check_overview_rewards(path: Path, stats: dict, k: int, rewards_path: Path, board: dict, report: Report) -> None:
    """The overview's rewards: a hundred times those of the comparison with one reference."""
    reference = rewards_path.name.split("_")[1]
    names = {f"{reference}_reward.{group}.K={k}": ("task_categorized_rewards", group) for group in GROUPS}
    names |= {f"{reference}_reward.K={k}": ("reward",), f"{reference}_reward.task_macro.K={k}": ("task_macro_reward",)}
    check_scaled("WB-Reward x100", 100, (path, stats), (rewards_path, board), names, report)


def check_scaled(
    metric: str,
    factor: int,
    overview: tuple[Path, dict],
    source: tuple[Path, dict],
    names: dict[str, tuple[str, ...]],
    report: Report,
) -> None:
    """The figures of an overview, by their name there, as `factor` times those of the file that
    they come from."""
    (path, stats), (source_path, board) = overview, source
    report.skip(metric, f"not in {source_path.name}", *(f"{model} in {path.name}" for model in stats if model not in board))
    for model in stats.keys() & board.keys():
        for figure, place in names.items():
            with report.where_there(metric, f"{model} in {path.name}"):
                scaled = factor * figure_of(source_path, board[model], *place)
                report.compare(metric, f"{model} in {path.name}, {figure}", scaled, figure_of(path, stats[model], figure))


# ------------------------------------------------------------------------------------------- tables


def judgments_of(**columns) -> pl.DataFrame:
    """A Judgments table of one row a task, with these columns; the others are null."""
    height = len(columns["policy_chars"])
    keys = [f"{number:06}" for number in range(height)]
    shared = {"request_id": keys, "prompt_id": keys, "sample": 0, "vote": 0}
    empty = dict.fromkeys(tables.Judgments.column_names())
    return tables.Judgments.validate(pl.DataFrame(empty | shared | columns, strict=False), cast=True)


def tasks_of(judgments: pl.DataFrame, groups: Sequence[str] | None = None) -> pl.DataFrame:
    """The Tasks of these judgments, as far as metrics read them; each in one of `groups` ("": in
    none)."""
    categories = [[group] if group else [] for group in groups or [""] * judgments.height]
    return pl.DataFrame(
        {"prompt_id": judgments["prompt_id"], "categories": categories}, schema_overrides={"categories": pl.List(pl.String)}
    )
