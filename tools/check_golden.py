"""Recompute published AlpacaEval 2 and WildBench figures with this pipeline's metrics, and fail where one is not met.

    python tools/check_golden.py FOLDER [--difficulty FILE] [--gamed FILE]

Reads:  FOLDER/alpacaeval: items.csv.gz (numbers per judged item), leaderboard.csv, lc_weights.csv (published figures), and,
        unless given, instruction_difficulty*.csv and df_gamed*.csv; where it has none, those of shared/golden/alpacaeval beside
        the repository.
        FOLDER/wildbench: scores.csv.gz (judge scores per task), score.json, score_VERSION.json of other versions,
        pairwise_REFERENCE_KLENGTH.json and all_stat_KLENGTH.json (published figures).
        FOLDER may be either of the two itself. What needs a file or a figure that is not there is left out.
Prints: per metric, how many figures were recomputed and the largest difference; then what was left out, how often, and why.
"""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl

import _path  # noqa: F401 - must come before drift

# isort: split
from drift import cli
from drift.metrics import length_control, published_files, wildbench
from drift.metrics.golden import COUNT_FIGURES, LC_CV, LC_ERROR, LC_OWN, LC_WEIGHTS, RATE_FIGURES, AbsentError, Report

LC_FIGURES = ("length_controlled_winrate", "lc_standard_error")
DEFAULTS = Path(__file__).resolve().parents[2] / "shared/golden/alpacaeval"

# Weights on the published list that are not those of the published win rate: they come from another run of the fit.
STALE_WEIGHTS = ("NullModel", "dbrx-instruct")

WEIGHT_COLUMNS = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")

WILDBENCH_JUDGE = "gpt-4o-2024-05-13"  # whose scores the leaderboards are made of
ITEM_FIGURES = {
    "score": "WB-Score raw",
    "adjusted_score": "WB-Score adjusted",
    "total": "WB-Score tasks",
    "avg_len": "WB-Score average length",
}
REFERENCES = ("gpt4t", "haiku", "llama")
GROUPS = wildbench.GROUPS


# ----------------------------------------------------------------------------------------------------------- AlpacaEval


def check_alpacaeval(folder: Path, difficulty_file: Path | None, gamed_file: Path | None, report: Report) -> None:
    """Every model's preferences, and its leaderboard row with both kinds of length control."""
    integers = ("row", "len_output_1_baseline", "len_output_2_model", "switched")
    floats = ("logprob_m", "logprob_M", "preference")
    types = {"model": pl.String, **dict.fromkeys(integers, pl.Int64), **dict.fromkeys(floats, pl.Float64)}
    if not there(folder / "items.csv.gz", "AlpacaEval", report):
        return
    items = published_files.read_csv(folder / "items.csv.gz", types, nullable=floats)
    figures = (*RATE_FIGURES, *COUNT_FIGURES, "avg_length", *LC_FIGURES)
    board, weights = {}, {}
    if there(folder / "leaderboard.csv", "AlpacaEval leaderboard row", report):
        board = by_model(folder / "leaderboard.csv", figures, nullable=figures)
    if there(folder / "lc_weights.csv", "LC from published weights", report):
        weights = by_model(folder / "lc_weights.csv", WEIGHT_COLUMNS, nullable=WEIGHT_COLUMNS)
    difficulty = length_control.read_difficulty(difficulty_file or only_file(folder, "instruction_difficulty", "--difficulty"))
    gamed = length_control.read_gamed(gamed_file or only_file(folder, "df_gamed", "--gamed"))
    models = items.partition_by("model", as_dict=True, maintain_order=True)
    report.skip("AlpacaEval leaderboard row", "no items here", *sorted(set(board) - {model for (model,) in models}))
    for (model,), of_model in models.items():
        rows = of_model.sort("row")
        check_preferences(model, rows, report)
        if model not in board:
            report.skip("AlpacaEval leaderboard row", "items here, but not on the leaderboard", model)
        elif not np.array_equal(rows["row"].to_numpy(), np.arange(len(rows))):
            report.skip(
                "AlpacaEval leaderboard row", "rows of the annotation table are missing or repeated in the items", model
            )
        elif not rows["preference"].count():
            report.skip("AlpacaEval leaderboard row", "no preference in the items", model)
        else:
            check_leaderboard(model, rows, board[model], len(difficulty), report)
            check_length_control(model, as_items(rows, difficulty), board[model], weights.get(model), gamed, report)


def by_model(path: Path, columns: tuple[str, ...], nullable: tuple[str, ...] = ()) -> dict[str, dict[str, float | None]]:
    """Rows of a published table whose first column has no name and holds the model."""
    types = {"": pl.String, **dict.fromkeys(columns, pl.Float64)}
    return {row[""]: row for row in published_files.read_csv(path, types, nullable).to_dicts()}


def only_file(folder: Path, name: str, option: str) -> Path:
    """The one file NAME*.csv of `folder`, else of DEFAULTS."""
    found = sorted(folder.glob(f"{name}*.csv")) or sorted(DEFAULTS.glob(f"{name}*.csv"))
    if len(found) != 1:
        raise cli.StageError(f"{folder / name}*.csv: {len(found)} such files, where one is needed. Name it with {option} FILE.")
    return found[0]


def check_preferences(model: str, rows: pl.DataFrame, report: Report) -> None:
    """Each preference, from the judge's log-probabilities and the order of presentation."""
    logps = (rows[name].to_numpy() for name in ("logprob_m", "logprob_M"))
    computed = length_control.preferences(*logps, rows["switched"].to_numpy())
    for number, (value, figure) in enumerate(zip(computed, rows["preference"].to_list(), strict=True)):
        case = f"{model} row {number}"
        if np.isnan(value):
            report.skip("preference", "no log-probability on file: equal answers, or a file without them", model)
        elif figure is None:
            report.compare("preference", case, None, value)
        else:
            report.compare("preference", case, float(value), figure)


def check_leaderboard(model: str, rows: pl.DataFrame, row: dict, instructions: int, report: Report) -> None:
    """Win rates, their error, counts and the average length."""
    computed = length_control.win_rate(length_control.wins(rows["preference"].to_numpy()))
    if len(rows) == instructions:
        computed["avg_length"] = length_control.average_length(rows["len_output_2_model"].to_numpy())
    else:
        report.skip("avg_length", "counts answers that were not judged, which are not among the items", model)
    for figure, value in computed.items():
        if row[figure] is None:
            report.skip(figure, "empty on the leaderboard", model)
        else:
            report.compare("counts" if figure in COUNT_FIGURES else figure, f"{model}, {figure}", value, row[figure])


def as_items(rows: pl.DataFrame, difficulty: np.ndarray) -> length_control.Items:
    """A model's items with the difficulties that the published fit used: looked up by position."""
    baseline, model = (rows[name].to_numpy() for name in ("len_output_1_baseline", "len_output_2_model"))
    found = length_control.look_up(difficulty, np.arange(len(rows)), positional=True)
    return length_control.Items(length_control.wins(rows["preference"].to_numpy()), baseline - model, found)


def check_length_control(
    model: str, items: length_control.Items, row: dict, weights: dict | None, gamed: length_control.Rows, report: Report
) -> None:
    """The length-controlled win rate from the published weights, and from fits of our own."""
    figure, error = (row[name] for name in LC_FIGURES)
    if figure is None:
        report.skip("LC win rate", "empty on the leaderboard", model)
        return
    report.compare(LC_CV, model, length_control.length_controlled(items, gamed).win_rate, figure)
    beta = [weights[name] for name in WEIGHT_COLUMNS] if weights else [None]
    if None in beta or model in STALE_WEIGHTS:
        reason = "no weights are published" if None in beta else "the published weights are of another run than the win rate"
        report.skip("LC from published weights", reason, model)
        return
    given = length_control.from_weights(np.array(beta), items)
    report.compare(LC_WEIGHTS, model, given.win_rate, figure)
    if error is None:
        report.skip(LC_ERROR, "empty on the leaderboard", model)
    else:
        report.compare(LC_ERROR, model, given.standard_error, error)
    report.compare(LC_OWN, model, nearest_fit(items, gamed, given.beta).win_rate, figure)


def nearest_fit(items: length_control.Items, gamed: length_control.Rows, beta: np.ndarray) -> length_control.LengthControlled:
    """The fit, over the grid of C, that predicts the items most like the published weights `beta`: theirs was that C."""
    target = length_control.predicted(beta, items)
    fits = [length_control.length_controlled(items, gamed, c) for c in length_control.C_GRID]
    return min(fits, key=lambda one: float(np.abs(length_control.predicted(one.beta, items) - target).mean()))


# ------------------------------------------------------------------------------------------------------------ WildBench


def check_wildbench(folder: Path, report: Report) -> None:
    """WB-Score from items, and everything that the published aggregates give from each other."""
    files = {path.stem.removeprefix("score_"): path for path in sorted(folder.glob("score_*.json"))}
    if there(folder / "score.json", "WildBench leaderboard", report):
        files[wildbench.LATEST] = folder / "score.json"
    boards = {version: published_files.read_json(path) for version, path in files.items()}
    if there(folder / "scores.csv.gz", "WB-Score from items", report):
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
        if wildbench.LATEST in boards:
            check_overview_scores(path, stats, files[wildbench.LATEST], boards[wildbench.LATEST], report)
        for rewards_path, board in rewards.items():
            if penalty_of(rewards_path) == k:
                check_overview_rewards(path, stats, k, rewards_path, board, report)


def penalty_of(path: Path) -> int:
    """The length penalty in a file's name: all_stat_K500.json -> 500."""
    found = re.search(r"_K(-?\d+)\.json$", path.name)
    if found is None:
        raise cli.StageError(
            f"{path}: the name does not end in _K and the length penalty, as all_stat_K500.json does. Rename it."
        )
    return int(found[1])


def figure_of(path: Path, entry: dict, *names: str) -> float:
    """The number at `names`, one inside the other, in a model's published figures; AbsentError where there is none."""
    value = entry
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise AbsentError(f"{path.name} has no number '{' / '.join(names)}'")
    return value


def check_scores(items_path: Path, files: dict[str, Path], boards: dict[str, dict], report: Report) -> None:
    """Score, adjusted score, number of tasks and average length, from a model's items."""
    name = "WB-Score from items"
    numbers = ("score", "model_output_len", "ends_truncated")
    types = {**dict.fromkeys(("version", "judge", "model"), pl.String), **dict.fromkeys(numbers, pl.Float64)}
    items = published_files.read_csv(items_path, types, nullable=("score",)).drop_nulls("score")
    judged = items.partition_by("version", "judge", "model", as_dict=True, maintain_order=True)
    for (version, judge, model), rows in judged.items():
        case = f"{model} {version}"
        if judge != WILDBENCH_JUDGE:
            report.skip(name, f"judged by {judge}, the leaderboard by {WILDBENCH_JUDGE}", case)
        elif version not in boards:
            report.skip(name, f"no leaderboard of {version} here", case)
        elif model not in boards[version]:
            report.skip(name, f"not in {files[version].name}", case)
        else:
            columns = (rows[column].to_numpy() for column in ("score", "model_output_len", "ends_truncated"))
            computed = wildbench.wb_score(*columns)
            for figure, metric in ITEM_FIGURES.items():
                with report.where_there(metric, case):
                    value = figure_of(files[version], boards[version][model], figure)
                    report.compare(metric, f"{case}, from items", computed[figure], value)
    with_items = set(items.filter(pl.col("judge") == WILDBENCH_JUDGE).select("version", "model").unique().rows())
    for version, board in boards.items():
        report.skip(name, "no items here", *(f"{model} {version}" for model in board if (version, model) not in with_items))


def check_task_macro(version: str, board: dict, path: Path, report: Report) -> None:
    """The task-weighted mean, from the published group means, and the adjusted score from the score."""
    if version not in wildbench.GROUP_WEIGHTS:
        report.skip("WB-Score task macro", f"no group weights are known for {version}", *board)
    for model, entry in board.items():
        case = f"{model} {version}"
        if version in wildbench.GROUP_WEIGHTS:
            with report.where_there("WB-Score task macro", case):
                by_group = {group: figure_of(path, entry, "task_categorized_scores", group) for group in GROUPS}
                figure = figure_of(path, entry, "task_macro_score")
                report.compare("WB-Score task macro", case, wildbench.task_macro(by_group, version), figure)
        with report.where_there("WB-Score adjusted", case):
            overall = wildbench.adjusted(figure_of(path, entry, "score"))
            report.compare("WB-Score adjusted", case, overall, figure_of(path, entry, "adjusted_score"))


def check_rewards(path: Path, board: dict, report: Report) -> None:
    """Rewards overall, by group and task-weighted, from the published counts of outcomes."""
    for model, entry in board.items():
        case = f"{model} in {path.name}"
        with report.where_there("WB-Reward", case):
            counts = {name: figure_of(path, entry, name) for name in wildbench.REWARD_OF_OUTCOME}
            overall = wildbench.reward(counts, figure_of(path, entry, "total"))
            report.compare("WB-Reward", case, overall, figure_of(path, entry, "reward"))
        with report.where_there("WB-Reward by group", case):
            of_groups = {
                group: {
                    name: figure_of(path, entry, "task_categorized_results", group, name)
                    for name in wildbench.REWARD_OF_OUTCOME
                }
                for group in GROUPS
            }
            by_group = wildbench.group_rewards(of_groups)
            for group in GROUPS:
                value = figure_of(path, entry, "task_categorized_rewards", group)
                report.compare("WB-Reward by group", f"{case}, {group}", by_group.get(group), value)
            value = figure_of(path, entry, "task_macro_reward")
            report.compare("WB-Reward task macro", case, wildbench.task_macro(by_group), value)


def check_overview(path: Path, stats: dict, k: int, report: Report) -> None:
    """The overview's means over groups, over references, and of score and reward."""
    for model, entry in stats.items():
        case = f"{model} in {path.name}"
        with report.where_there("WB-Score task macro", case):
            scores = {group: figure_of(path, entry, f"WB_score.{group}") for group in GROUPS}
            value = figure_of(path, entry, "WB_score.task_macro")
            report.compare("WB-Score task macro", case, wildbench.task_macro(scores), value)
        judged = [reference for reference in REFERENCES if f"{reference}_reward.K={k}" in entry]
        for reference in judged:
            with report.where_there("WB-Reward task macro", f"{case} against {reference}"):
                by_group = {group: figure_of(path, entry, f"{reference}_reward.{group}.K={k}") for group in GROUPS}
                value = figure_of(path, entry, f"{reference}_reward.task_macro.K={k}")
                report.compare("WB-Reward task macro", f"{case} against {reference}", wildbench.task_macro(by_group), value)
        if len(judged) < len(REFERENCES):
            report.skip("WB-Reward mix", "not compared with every reference", case)
            continue
        mixes = {f".{group}": f"mixture_of_rewards.{group}.K={k}" for group in GROUPS}
        for part, name in ({"": f"mixture_of_rewards.K={k}", ".task_macro": f"task_macro_reward.K={k}"} | mixes).items():
            with report.where_there("WB-Reward mix", case):
                rewards = [figure_of(path, entry, f"{reference}_reward{part}.K={k}") for reference in REFERENCES]
                report.compare("WB-Reward mix", f"{case}, {name}", wildbench.mix(rewards), figure_of(path, entry, name))
        with report.where_there("WildBench mean of score and reward", case):
            both = [figure_of(path, entry, name) for name in ("WB_score.task_macro", f"task_macro_reward.K={k}")]
            value = figure_of(path, entry, "RewardScore_Avg")
            report.compare("WildBench mean of score and reward", case, sum(both) / 2, value)


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
    """The figures of an overview, by their name there, as `factor` times those of the file that they come from."""
    (path, stats), (source_path, board) = overview, source
    report.skip(metric, f"not in {source_path.name}", *(f"{model} in {path.name}" for model in stats if model not in board))
    for model in stats.keys() & board.keys():
        for figure, place in names.items():
            with report.where_there(metric, f"{model} in {path.name}"):
                scaled = factor * figure_of(source_path, board[model], *place)
                report.compare(metric, f"{model} in {path.name}, {figure}", scaled, figure_of(path, stats[model], figure))


# ----------------------------------------------------------------------------------------------------------------- both


def there(path: Path, what: str, report: Report) -> bool:
    """Whether there is a file; where there is none, `what` is left out for that reason."""
    if not path.is_file():
        report.skip(what, "no such file", path.name)
    return path.is_file()


def part_of(folder: Path, name: str, hallmark: str) -> Path:
    """Where a benchmark's files are: in a folder of its name, or, where there is none but its files, in `folder` itself."""
    return folder if not (folder / name).is_dir() and any(folder.glob(hallmark)) else folder / name


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("folder", type=Path, help="folder that holds alpacaeval, wildbench or both, or is one of them")
    command.add_argument("--difficulty", type=Path, help="AlpacaEval's instruction difficulties")
    command.add_argument("--gamed", type=Path, help="AlpacaEval's regularising rows")
    arguments = command.parse_args()
    report = Report()
    parts = {
        part_of(arguments.folder, "alpacaeval", "items.csv.gz"): lambda folder: check_alpacaeval(
            folder, arguments.difficulty, arguments.gamed, report
        ),
        part_of(arguments.folder, "wildbench", "*score*"): lambda folder: check_wildbench(folder, report),
    }
    for folder, check in parts.items():
        if folder.is_dir():
            check(folder)
        else:
            report.skip(folder.name, "no such folder", str(folder))
    for line in report.lines():
        print(line)
    report.close()


if __name__ == "__main__":
    cli.run(main)
