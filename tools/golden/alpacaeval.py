"""AlpacaEval 2's published figures, from its items, as scores.py would compute them from
judgments."""

import math
from pathlib import Path

import numpy as np
import polars as pl

from drift import benchmarks, cli, tables
from drift.metrics import alpacaeval, judge_metrics, length_control, published_files
from drift.metrics.logistic_regression import C_GRID, Rows
from drift.names import BASELINE
from drift.verdicts import Reply, letter
from golden.report import COUNT_FIGURES, LC_CV, LC_ERROR, LC_OWN, LC_WEIGHTS, RATE_FIGURES, Report, present

LC_FIGURES = ("length_controlled_winrate", "lc_standard_error")
WEIGHT_COLUMNS = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")
# Weights on the published list that are not those of the published win rate: they come from another
# run of the fit.
STALE_WEIGHTS = ("NullModel", "dbrx-instruct")
ROW = "AlpacaEval leaderboard row"


def check(folder: Path, difficulty_file: Path | None, gamed_file: Path | None, report: Report) -> None:
    """Every model's preferences, and its leaderboard row with both kinds of length control."""
    integers = ("row", "len_output_1_baseline", "len_output_2_model", "switched")
    floats = ("logprob_m", "logprob_M", "preference")
    types = {"model": pl.String, **dict.fromkeys(integers, pl.Int64), **dict.fromkeys(floats, pl.Float64)}
    if not present(folder / "items.csv.gz", "AlpacaEval", report):
        return
    items = published_files.read_csv(folder / "items.csv.gz", types, nullable=floats)
    figures = (*RATE_FIGURES, *COUNT_FIGURES, "avg_length", *LC_FIGURES)
    board, weights = {}, {}
    if present(folder / "leaderboard.csv", ROW, report):
        board = by_model(folder / "leaderboard.csv", figures, nullable=figures)
    if present(folder / "lc_weights.csv", "LC from published weights", report):
        weights = by_model(folder / "lc_weights.csv", WEIGHT_COLUMNS, nullable=WEIGHT_COLUMNS)
    difficulty = length_control.read_difficulty(difficulty_file or only_file(folder, "instruction_difficulty", "--difficulty"))
    gamed = gamed_file or only_file(folder, "df_gamed", "--gamed")
    models = items.partition_by("model", as_dict=True, maintain_order=True)
    report.skip(ROW, "no items here", *sorted(set(board) - {model for (model,) in models}))
    for (model,), unsorted in models.items():
        rows = unsorted.sort("row")
        check_preferences(model, rows, report)
        if model not in board:
            report.skip(ROW, "items here, but not on the leaderboard", model)
        elif not np.array_equal(rows["row"].to_numpy(), np.arange(len(rows))):
            report.skip(ROW, "rows of the annotation table are missing or repeated in the items", model)
        elif not rows["preference"].count():
            report.skip(ROW, "no preference in the items", model)
        else:
            judgments, tasks = judgments_of(rows), tasks_of(rows, difficulty)
            statistics = benchmarks.statistics("alpacaeval", judgments, tasks, {"gamed": gamed})
            check_leaderboard(model, rows, statistics, board[model], len(difficulty), report)
            check_length_control(model, judgments, tasks, statistics, board[model], weights.get(model), gamed, report)


def by_model(path: Path, columns: tuple[str, ...], nullable: tuple[str, ...] = ()) -> dict[str, dict[str, float | None]]:
    """Rows of a published table whose first column has no name and holds the model."""
    types = {"": pl.String, **dict.fromkeys(columns, pl.Float64)}
    return {row[""]: row for row in published_files.read_csv(path, types, nullable).to_dicts()}


def only_file(folder: Path, name: str, option: str) -> Path:
    """The one file NAME*.csv of `folder`."""
    files = sorted(folder.glob(f"{name}*.csv"))
    if len(files) != 1:
        raise cli.StageError(f"{folder / name}*.csv: {len(files)} such files, where one is needed. Name it with {option} FILE.")
    return files[0]


def judgments_of(rows: pl.DataFrame) -> pl.DataFrame:
    """A model's published items as the Judgments table that the pipeline would have of them.

    A preference is 1 (the baseline's answer is better) to 2 (the model's); old files write a draw
    as 0.
    """
    share = pl.when(pl.col("preference") == 0).then(0.5).otherwise(pl.col("preference") - 1)
    if rows.filter((share < 0) | (share > 1)).height:
        raise cli.StageError("an AlpacaEval preference is outside 1 to 2: the column holds something else, or another scale")
    judged = pl.col("preference").is_not_null()
    columns = {
        "request_id": keys_of(rows),
        "prompt_id": keys_of(rows),
        "sample": pl.lit(0),
        "kind": pl.lit("pairwise"),
        "opponent": pl.lit(BASELINE),
        "order": pl.when(pl.col("switched") == 1).then(pl.lit("AB")).otherwise(pl.lit("BA")),
        "vote": pl.lit(0),
        "preference": share,
        "outcome": pl.lit(None),
        "score": pl.lit(None),
        "mass": pl.when(judged).then(1.0),
        "policy_chars": pl.col("len_output_2_model"),
        "opponent_chars": pl.col("len_output_1_baseline"),
        "error": pl.when(~judged).then(pl.lit("no preference is published")),
    }
    return tables.Judgments.validate(rows.select(**columns), cast=True)


def tasks_of(rows: pl.DataFrame, difficulty: np.ndarray) -> pl.DataFrame:
    """The Tasks of these items, as far as metrics read them. The published fit looked difficulties
    up by the item's place in the annotation table: with an instruction missing, all items after it
    get a neighbour's."""
    if len(rows) > len(difficulty):
        raise cli.StageError(
            f"{len(rows)} items of a model, but {len(difficulty)} difficulties: they are of other instructions."
        )
    return pl.DataFrame({"prompt_id": keys_of(rows), "difficulty": difficulty[: len(rows)], "categories": None})


def keys_of(rows: pl.DataFrame) -> pl.Series:
    """Keys in the order of the annotation table."""
    return rows["row"].cast(pl.String).str.zfill(6)


def check_preferences(model: str, rows: pl.DataFrame, report: Report) -> None:
    """Each preference, from the judge's log-probabilities and the order of presentation."""
    names = ("logprob_m", "logprob_M", "switched", "preference")
    for number, (m, capital_m, switched, published) in enumerate(rows.select(names).iter_rows()):
        reported = {"m": m, "M": capital_m}
        reply = Reply(
            text="",
            cut=False,
            letters=("m", "M"),
            policy_first=bool(switched),
            probabilities={token: math.exp(logprob) for token, logprob in reported.items() if logprob is not None},
            written=False,
            least_mass=0,
        )
        share = letter.read(reply).get("preference")
        if share is None:
            report.skip("preference", "no log-probability on file: equal answers, or a file without them", model)
        elif published is None:
            report.compare("preference", f"{model} row {number}", None, 1 + share)
        else:
            report.compare("preference", f"{model} row {number}", 1 + share, published)


def check_leaderboard(model: str, rows: pl.DataFrame, statistics: dict, board: dict, instructions: int, report: Report) -> None:
    """Win rates, their error, counts and the average length."""
    computed = {name: 100 * statistics[name].value() for name in RATE_FIGURES}
    # What the discrete win rate is the mean of: 1 won, 0.5 drawn, 0 lost.
    discrete = statistics["discrete_win_rate"].parts[:, 0]
    computed |= {f"n_{name}": int(np.sum(discrete == won)) for name, won in (("wins", 1), ("wins_base", 0), ("draws", 0.5))}
    computed["n_total"] = len(statistics["win_rate"].keys)
    if len(rows) == instructions:
        # Of all answers, judged or not, cut to a whole number as published.
        computed["avg_length"] = int(rows["len_output_2_model"].mean())
    else:
        report.skip("avg_length", "counts answers that were not judged, which are not among the items", model)
    for figure, value in computed.items():
        if board[figure] is None:
            report.skip(figure, "empty on the leaderboard", model)
        else:
            report.compare("counts" if figure in COUNT_FIGURES else figure, f"{model}, {figure}", value, board[figure])


def check_length_control(
    model: str,
    judgments: pl.DataFrame,
    tasks: pl.DataFrame,
    statistics: dict,
    board: dict,
    weights: dict | None,
    gamed_file: Path,
    report: Report,
) -> None:
    """The length-controlled win rate from the published weights, and from fits of our own."""
    published, error = (board[name] for name in LC_FIGURES)
    if published is None:
        report.skip("LC win rate", "empty on the leaderboard", model)
        return
    if "length_controlled_win_rate" not in statistics:
        report.skip("LC win rate", "too few items have a preference", model)
        return
    report.compare(LC_CV, model, 100 * statistics["length_controlled_win_rate"].value(), published)
    beta = [weights[name] for name in WEIGHT_COLUMNS] if weights else [None]
    if None in beta or model in STALE_WEIGHTS:
        reason = "no weights are published" if None in beta else "the published weights are of another run than the win rate"
        report.skip("LC from published weights", reason, model)
        return
    ((_, answers),) = judge_metrics.by_opponent(judgments)
    ((keys, items),) = judge_metrics.items_by_sample(answers, tasks)
    given = length_control.with_weights(np.array(beta), items)
    report.compare(LC_WEIGHTS, model, 100 * given.win_rate, published)
    if error is None:
        report.skip(LC_ERROR, "empty on the leaderboard", model)
    else:
        computed = alpacaeval.standard_error(keys, length_control.predicted(given.beta, items)).value()
        report.compare(LC_ERROR, model, 100 * computed, error)
    nearest = nearest_fit(items, length_control.read_gamed(gamed_file), given.beta)
    report.compare(LC_OWN, model, 100 * nearest.win_rate, published)


def nearest_fit(items: length_control.Items, gamed: Rows, beta: np.ndarray) -> length_control.Fit:
    """The fit, over the grid of C, that predicts the items most like the published weights `beta`,
    (3,): theirs was that C."""
    target = length_control.predicted(beta, items)
    fits = [length_control.length_controlled(items, gamed, c) for c in C_GRID]
    return min(fits, key=lambda one: float(np.abs(length_control.predicted(one.beta, items) - target).mean()))
