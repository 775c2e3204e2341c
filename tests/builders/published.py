"""A small folder of published figures that are right by plain arithmetic, and ways to plant a
fault."""

import contextlib
import io
import json
import math
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pytest

import check_golden
from drift import cli
from drift.metrics import length_control
from drift.metrics.wildbench import CODING, CREATIVE, INFORMATION, MATH, PLANNING
from golden.alpacaeval import WEIGHT_COLUMNS
from tests.conftest import REPOSITORY

GROUPS = {CREATIVE: 0.5, PLANNING: 1.25, MATH: 1.0, INFORMATION: 0.75, CODING: 1.25}
# Instructions of the small AlpacaEval.
N = 40


def check(folder: Path, *options) -> subprocess.CompletedProcess:
    """What the command does, without the seconds that a new interpreter takes."""
    command = [str(part) for part in (REPOSITORY / "tools/check_golden.py", folder, *options)]
    printed = io.StringIO()
    with mock.patch("sys.argv", command), contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as end:
        cli.run(check_golden.main)
    error = end.value.code if isinstance(end.value.code, str) else ""
    return subprocess.CompletedProcess(command, 1 if error else end.value.code, printed.getvalue(), error)


def row_of(table: str, metric: str) -> list[str]:
    """What is printed of a metric: cases, largest difference, tolerance, verdict."""
    (line,) = (line for line in table.splitlines() if line.startswith(metric + "  "))
    return line.removeprefix(metric).split(maxsplit=3)


def alpacaeval_rows(model: str, n: int, seed: int) -> list[dict]:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        m, big_m = (float(x) for x in generator.uniform(-3, -0.1, 2))
        switched = int(generator.integers(2))
        share = math.exp(m if switched else big_m) / (math.exp(m) + math.exp(big_m))
        lengths = {"len_output_1_baseline": 500, "len_output_2_model": int(generator.integers(50, 900))}
        judged = {"logprob_m": m, "logprob_M": big_m, "switched": switched, "preference": round(1 + share, 10)}
        rows.append({"model": model, "row": number, "instruction_index": number} | lengths | judged)
    return rows


def board_row(rows: list[dict], beta: np.ndarray, difficulty: list[float]) -> dict:
    won = [row["preference"] - 1 for row in rows]
    chances = [1 / (1 + math.exp(-beta[1] * difficulty[row["row"]] - beta[2])) for row in rows]
    n_wins = sum(x > 0.5 for x in won)
    return {
        "": rows[0]["model"],
        "win_rate": 100 * statistics.fmean(won),
        "standard_error": 100 * statistics.stdev(won) / math.sqrt(len(won)),
        "n_wins": n_wins,
        "n_wins_base": len(won) - n_wins,
        "n_draws": 0,
        "n_total": len(won),
        "discrete_win_rate": 100 * n_wins / len(won),
        "avg_length": int(statistics.fmean(row["len_output_2_model"] for row in rows)),
        "length_controlled_winrate": 100 * statistics.fmean(chances),
        "lc_standard_error": 100 * statistics.stdev(chances) / math.sqrt(len(won)),
    }


def write_alpacaeval(folder: Path) -> None:
    """Two models with all rows, one of them in no other file, and one with two rows less."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    difficulty = [0.0, *generator.normal(0, 1, N - 1).tolist()]
    pl.DataFrame({"index": range(N), "instruction_difficulty": difficulty}).write_csv(folder / "instruction_difficulty.csv")
    gamed = {
        "std_delta_len": generator.normal(0, 1, N),
        "instruction_difficulty": difficulty,
        "preference": generator.random(N),
    }
    pl.DataFrame(gamed).write_csv(folder / "df_gamed.csv")
    models = {"whole": alpacaeval_rows("whole", N, 1), "short": alpacaeval_rows("short", N - 2, 2)}
    weights, board = [], []
    for model, rows in models.items():
        won, shorter_by = (
            np.array([value(row) for row in rows])
            for value in (
                lambda row: row["preference"] - 1,
                lambda row: row["len_output_1_baseline"] - row["len_output_2_model"],
            )
        )
        items = length_control.Items(won, shorter_by, np.array(difficulty[: len(rows)]))
        beta = length_control.length_controlled(items, length_control.read_gamed(folder / "df_gamed.csv")).beta
        weights.append({"": model, **dict(zip(WEIGHT_COLUMNS, beta.tolist(), strict=True))})
        board.append(board_row(rows, beta, difficulty))
    models["unlisted"] = alpacaeval_rows("unlisted", N, 3)
    board.append(board[0] | {"": "without items"})
    pl.DataFrame([row for rows in models.values() for row in rows]).write_csv(folder / "items.csv.gz", compression="gzip")
    pl.DataFrame(board).write_csv(folder / "leaderboard.csv")
    pl.DataFrame(weights).write_csv(folder / "lc_weights.csv")


def macro(by_group: dict[str, float]) -> float:
    return sum(GROUPS[group] * value for group, value in by_group.items()) / 4.75


def write_wildbench(folder: Path) -> None:
    """One model with items and a comparison with one of three references."""
    folder.mkdir(parents=True)
    scores, lengths, cut = [7, 1, 9, 4], [100, 0, 300, 999], [0, 0, 0, 1]
    judged = {"version": "v2.0625", "judge": "gpt-4o-2024-05-13", "model": "m"}
    items = [
        judged | {"score": score, "model_output_len": length, "ends_truncated": end}
        for score, length, end in zip(scores, lengths, cut, strict=True)
    ]
    pl.DataFrame([*items, items[0] | {"judge": "other"}]).write_csv(folder / "scores.csv.gz", compression="gzip")
    by_group = {group: float(number) for number, group in enumerate(GROUPS)}
    score = {"score": 5.25, "adjusted_score": 0.5, "total": 4, "avg_len": 200.0}
    score |= {"task_macro_score": macro(by_group), "task_categorized_scores": by_group}
    counts = {"win_much": 1, "win": 0, "tie": 1, "lose": 1, "lose_much": 0}
    rewards = dict.fromkeys(GROUPS, 0.5 / 3)
    pairwise = counts | {"total": 4, "reward": 0.125, "task_macro_reward": 0.5 / 3}
    pairwise |= {"task_categorized_results": dict.fromkeys(GROUPS, counts), "task_categorized_rewards": rewards}
    overview = {"WB_score": 5.0, "WB_score.task_macro": 10 * macro(by_group), "RewardScore_Avg": 5 * macro(by_group) + 25 / 3}
    overview |= {f"WB_score.{group}": 10 * value for group, value in by_group.items()}
    for reference in ("gpt4t", "haiku", "llama"):
        overview |= {f"{reference}_reward.K=500": 12.5, f"{reference}_reward.task_macro.K=500": 50 / 3}
        overview |= {f"{reference}_reward.{group}.K=500": 50 / 3 for group in GROUPS}
    overview |= {"mixture_of_rewards.K=500": 12.5, "task_macro_reward.K=500": 50 / 3}
    overview |= {f"mixture_of_rewards.{group}.K=500": 50 / 3 for group in GROUPS}
    for name, board in (("score", score), ("pairwise_gpt4t_K500", pairwise), ("all_stat_K500", overview)):
        (folder / f"{name}.json").write_text(json.dumps({"m": board}))


def edit_csv(path: Path, model: str, column: str, change: Callable) -> None:
    """Change a column of a model's first row."""
    rows = pl.read_csv(path).to_dicts()
    edited = next(row for row in rows if model in (row.get(""), row.get("model")))
    edited[column] = change(edited[column])
    pl.DataFrame(rows, infer_schema_length=None).write_csv(path, compression="gzip" if path.suffix == ".gz" else "uncompressed")


def edit_json(path: Path, change: Callable[[dict], None], model: str = "m") -> None:
    """Change a model's figures in a file."""
    board = json.loads(path.read_text())
    change(board[model])
    path.write_text(json.dumps(board))


def planted(*path: str, by: float = 1e-5):
    """A change of the figure at `path`."""

    def change(entry: dict) -> None:
        for name in path[:-1]:
            entry = entry[name]
        entry[path[-1]] += by

    return change
