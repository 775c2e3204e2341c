"""The recomputation of published figures: it passes on figures that are right, and names every kind that is planted wrong."""

import contextlib
import io
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import polars as pl
import pytest

import check_golden
from drift import cli
from drift.metrics import golden, length_control
from drift.metrics.wildbench import CODING, CREATIVE, INFORMATION, MATH, PLANNING
from tests.conftest import REPOSITORY

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared/golden"
GROUPS = {CREATIVE: 0.5, PLANNING: 1.25, MATH: 1.0, INFORMATION: 0.75, CODING: 1.25}
OUTCOMES = {"win_much": 1.0, "win": 0.5, "tie": 0.0, "lose": -0.5, "lose_much": -1.0}
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
    """What is printed beside a metric: cases, largest difference, tolerance, verdict."""
    (line,) = (line for line in table.splitlines() if line.startswith(metric + "  "))
    return line.removeprefix(metric).split(maxsplit=3)


# ------------------------------------------------------------------------------ a small folder, right by plain arithmetic


def alpacaeval_rows(model: str, n: int, seed: int) -> list[dict]:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        m, big_m = (float(x) for x in generator.uniform(-4, -0.1, 2))
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
        weights.append({"": model, **dict(zip(check_golden.WEIGHT_COLUMNS, beta.tolist(), strict=True))})
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
    of_groups = dict.fromkeys(GROUPS, counts)
    rewards = dict.fromkeys(GROUPS, 0.5 / 3)
    pairwise = counts | {"total": 4, "reward": 0.125, "task_macro_reward": 0.5 / 3}
    pairwise |= {"task_categorized_results": of_groups, "task_categorized_rewards": rewards}
    overview = {"WB_score": 5.0, "WB_score.task_macro": 10 * macro(by_group), "RewardScore_Avg": 5 * macro(by_group) + 25 / 3}
    overview |= {f"WB_score.{group}": 10 * value for group, value in by_group.items()}
    for reference in ("gpt4t", "haiku", "llama"):
        overview |= {f"{reference}_reward.K=500": 12.5, f"{reference}_reward.task_macro.K=500": 50 / 3}
        overview |= {f"{reference}_reward.{group}.K=500": 50 / 3 for group in GROUPS}
    overview |= {"mixture_of_rewards.K=500": 12.5, "task_macro_reward.K=500": 50 / 3}
    overview |= {f"mixture_of_rewards.{group}.K=500": 50 / 3 for group in GROUPS}
    for name, board in (("score", score), ("pairwise_gpt4t_K500", pairwise), ("all_stat_K500", overview)):
        (folder / f"{name}.json").write_text(json.dumps({"m": board}))


@pytest.fixture
def folder(tmp_path) -> Path:
    write_alpacaeval(tmp_path / "alpacaeval")
    write_wildbench(tmp_path / "wildbench")
    return tmp_path


def edit_csv(path: Path, model: str, column: str, change) -> None:
    rows = pl.read_csv(path).to_dicts()
    edited = next(row for row in rows if model in (row.get(""), row.get("model")))
    edited[column] = change(edited[column])
    pl.DataFrame(rows, infer_schema_length=None).write_csv(path, compression="gzip" if path.suffix == ".gz" else "uncompressed")


def edit_json(path: Path, change) -> None:
    board = json.loads(path.read_text())
    change(board["m"])
    path.write_text(json.dumps(board))


# ---------------------------------------------------------------------------------------------------------------- checks


def test_command_ends_well_or_with_one_line(folder):
    command = [sys.executable, str(REPOSITORY / "tools/check_golden.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    edit_csv(folder / "alpacaeval/leaderboard.csv", "whole", "win_rate", lambda x: x + 1)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: published figures are not met: win_rate is off by 1 \(whole, win_rate; .*\n", done.stderr)
    assert row_of(done.stdout, "win_rate") == ["2", "1", "1e-06", "FAILED"], "the table is printed all the same"


def test_right_figures_pass_and_what_cannot_be_checked_is_counted(folder):
    done = check(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for metric in golden.TOLERANCES:
        assert row_of(done.stdout, metric)[3] == "ok", metric
    assert row_of(done.stdout, "preference")[0] == str(3 * N - 2)
    assert row_of(done.stdout, "win_rate")[0] == "2"
    left_out = done.stdout.split("left out:")[1]
    for reason in (
        r"1  AlpacaEval leaderboard row: items here, but not on the leaderboard \(unlisted\)",
        r"1  AlpacaEval leaderboard row: no items here \(without items\)",
        r"1  avg_length: counts answers that were not judged.* \(short\)",
        r"1  WB-Score from items: judged by other",
    ):
        assert re.search(reason, left_out), left_out


@pytest.mark.parametrize(
    ("file", "model", "column", "change", "metrics"),
    [
        ("items.csv.gz", "unlisted", "preference", lambda x: x + 2e-6, {"preference"}),
        ("items.csv.gz", "unlisted", "switched", lambda x: 1 - x, {"preference"}),
        ("leaderboard.csv", "whole", "win_rate", lambda x: x + 2e-6, {"win_rate"}),
        ("leaderboard.csv", "short", "standard_error", lambda x: x - 2e-6, {"standard_error"}),
        ("leaderboard.csv", "whole", "discrete_win_rate", lambda x: x + 0.1, {"discrete_win_rate"}),
        ("leaderboard.csv", "whole", "n_wins", lambda x: x + 1, {"counts"}),
        ("leaderboard.csv", "whole", "n_total", lambda x: x + 1, {"counts"}),
        ("leaderboard.csv", "whole", "avg_length", lambda x: x + 1, {"avg_length"}),
        ("leaderboard.csv", "whole", "lc_standard_error", lambda x: x + 1e-5, {golden.LC_ERROR}),
        ("leaderboard.csv", "short", "length_controlled_winrate", lambda x: x + 0.001, {golden.LC_WEIGHTS}),
        (
            "leaderboard.csv",
            "short",
            "length_controlled_winrate",
            lambda x: x + 0.3,
            {golden.LC_WEIGHTS, golden.LC_OWN, golden.LC_CV},
        ),
        (
            "lc_weights.csv",
            "whole",
            check_golden.WEIGHT_COLUMNS[1],
            lambda x: x + 1e-3,
            {golden.LC_WEIGHTS, golden.LC_ERROR},
        ),
    ],
)
def test_planted_alpacaeval_figure_is_named(folder, file, model, column, change, metrics):
    edit_csv(folder / "alpacaeval" / file, model, column, change)
    done = check(folder)
    assert done.returncode == 1
    failed = {metric for metric in golden.TOLERANCES if row_of(done.stdout, metric)[3] == "FAILED"}
    assert failed == metrics
    for metric in metrics:
        assert re.search(rf"error: published figures are not met: .*{re.escape(metric)} is off by [^;]* \({model}", done.stderr)


def planted(*path: str, by: float = 1e-5):
    """A change of the figure at `path`."""

    def change(entry: dict) -> None:
        for name in path[:-1]:
            entry = entry[name]
        entry[path[-1]] += by

    return change


@pytest.mark.parametrize(
    ("file", "change", "metrics"),
    [
        ("score", planted("score"), {"WB-Score raw", "WB-Score adjusted"}),
        ("score", planted("adjusted_score"), {"WB-Score adjusted", "WB-Score x10"}),
        ("score", planted("total", by=1), {"WB-Score tasks"}),
        ("score", planted("avg_len"), {"WB-Score average length"}),
        ("score", planted("task_macro_score"), {"WB-Score task macro", "WB-Score x10"}),
        ("score", planted("task_categorized_scores", MATH), {"WB-Score task macro", "WB-Score x10"}),
        ("pairwise_gpt4t_K500", planted("reward"), {"WB-Reward", "WB-Reward x100"}),
        ("pairwise_gpt4t_K500", planted("total", by=1), {"WB-Reward"}),
        ("pairwise_gpt4t_K500", planted("task_categorized_rewards", CODING), {"WB-Reward by group", "WB-Reward x100"}),
        ("pairwise_gpt4t_K500", planted("task_macro_reward"), {"WB-Reward task macro", "WB-Reward x100"}),
        ("all_stat_K500", planted("WB_score"), {"WB-Score x10"}),
        ("all_stat_K500", planted("mixture_of_rewards.K=500"), {"WB-Reward mix"}),
        ("all_stat_K500", planted("haiku_reward.task_macro.K=500"), {"WB-Reward task macro", "WB-Reward mix"}),
        ("all_stat_K500", planted("RewardScore_Avg"), {"WildBench mean of score and reward"}),
    ],
)
def test_planted_wildbench_figure_is_named(folder, file, change, metrics):
    edit_json(folder / f"wildbench/{file}.json", change)
    done = check(folder)
    assert done.returncode == 1
    assert {metric for metric in golden.TOLERANCES if row_of(done.stdout, metric)[3] == "FAILED"} == metrics
    for metric in metrics:
        assert f"{metric} is off by" in done.stderr


def test_model_without_weights_is_still_fitted(folder):
    path = folder / "alpacaeval/lc_weights.csv"
    pl.read_csv(path).filter(pl.col("") != "whole").write_csv(path)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert [row_of(done.stdout, metric)[0] for metric in (golden.LC_WEIGHTS, golden.LC_CV)] == ["1", "2"]
    assert "1  LC from published weights: no weights are published (whole)" in done.stdout


def test_items_with_a_hole_are_left_out(folder):
    path = folder / "alpacaeval/items.csv.gz"
    pl.read_csv(path).filter((pl.col("model") != "whole") | (pl.col("row") != 7)).write_csv(path, compression="gzip")
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert (
        "1  AlpacaEval leaderboard row: rows of the annotation table are missing or repeated in the items (whole)"
        in done.stdout
    )


def test_model_without_preferences_is_left_out(folder):
    path = folder / "alpacaeval/items.csv.gz"
    preference = pl.when(pl.col("model") != "whole").then("preference")
    pl.read_csv(path).with_columns(preference, pl.lit(None).alias("logprob_m"), pl.lit(None).alias("logprob_M")).write_csv(
        path, compression="gzip"
    )
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert row_of(done.stdout, "preference")[3] == "not checked"
    assert "1  AlpacaEval leaderboard row: no preference in the items (whole)" in done.stdout


def test_model_compared_with_one_reference_has_no_mix(folder):
    def without_haiku(entry: dict) -> None:
        for name in [name for name in entry if name.startswith("haiku")]:
            del entry[name]

    edit_json(folder / "wildbench/all_stat_K500.json", without_haiku)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert row_of(done.stdout, "WB-Reward mix") == ["0", "-", "1e-06", "not checked"]
    assert "1  WB-Reward mix: not compared with every reference (m in all_stat_K500.json)" in done.stdout


def test_files_elsewhere_are_taken_by_option_or_by_default(folder, tmp_path, monkeypatch):
    for name in ("instruction_difficulty.csv", "df_gamed.csv"):
        shutil.move(folder / "alpacaeval" / name, tmp_path / name)
    monkeypatch.setattr(check_golden, "DEFAULTS", tmp_path)
    assert check(folder).returncode == 0
    monkeypatch.setattr(check_golden, "DEFAULTS", tmp_path / "nowhere")
    without = check(folder)
    assert without.returncode == 1
    assert re.search(r"error: .*instruction_difficulty\*\.csv: 0 such files.*--difficulty FILE", without.stderr)
    options = ("--difficulty", tmp_path / "instruction_difficulty.csv", "--gamed", tmp_path / "df_gamed.csv")
    assert check(folder, *options).returncode == 0


@pytest.mark.parametrize("part", ["alpacaeval", "wildbench"])
def test_folder_with_one_benchmark_is_checked(folder, part):
    shutil.rmtree(folder / part)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"1  {part}: no such folder", done.stdout)


def test_folder_without_figures_is_refused(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 1
    assert "error: no published figure could be recomputed" in done.stderr


@pytest.mark.parametrize("part", ["alpacaeval", "wildbench"])
def test_folder_of_one_benchmark_itself_is_checked(folder, part):
    done = check(folder / part)
    assert done.returncode == 0, done.stderr
    checked = {metric for metric in golden.TOLERANCES if row_of(done.stdout, metric)[3] == "ok"}
    assert checked == {name for name in golden.TOLERANCES if name.startswith(("WB", "Wild")) == (part == "wildbench")}


WB_ITEMS = {"WB-Score raw", "WB-Score tasks", "WB-Score average length"}


@pytest.mark.parametrize(
    ("file", "unchecked", "reason"),
    [
        (
            "alpacaeval/items.csv.gz",
            {name for name in golden.TOLERANCES if not name.startswith(("WB", "Wild"))},
            "1  AlpacaEval: no such file",
        ),
        (
            "alpacaeval/leaderboard.csv",
            {name for name in golden.TOLERANCES if not name.startswith(("WB", "Wild"))} - {"preference"},
            "1  AlpacaEval leaderboard row: no such file",
        ),
        (
            "alpacaeval/lc_weights.csv",
            {golden.LC_WEIGHTS, golden.LC_ERROR, golden.LC_OWN},
            "1  LC from published weights: no such file",
        ),
        ("wildbench/scores.csv.gz", WB_ITEMS, "1  WB-Score from items: no such file"),
        (
            "wildbench/score.json",
            {*WB_ITEMS, "WB-Score adjusted", "WB-Score x10"},
            "1  WB-Score from items: no leaderboard of v2.0625 here",
        ),
        ("wildbench/pairwise_gpt4t_K500.json", {"WB-Reward", "WB-Reward by group", "WB-Reward x100"}, ""),
        (
            "wildbench/all_stat_K500.json",
            {"WB-Score x10", "WB-Reward x100", "WB-Reward mix", "WildBench mean of score and reward"},
            "",
        ),
    ],
)
def test_what_a_missing_file_is_needed_for_is_left_out(folder, file, unchecked, reason):
    (folder / file).unlink()
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert {metric for metric in golden.TOLERANCES if row_of(done.stdout, metric)[3] == "not checked"} == unchecked
    assert reason in done.stdout


def test_another_version_in_the_items_takes_its_own_leaderboard(folder):
    path = folder / "wildbench/scores.csv.gz"
    rows = pl.read_csv(path)
    pl.concat([rows, rows.with_columns(version=pl.lit("v2.0522"))]).write_csv(path, compression="gzip")
    assert "1  WB-Score from items: no leaderboard of v2.0522 here (m v2.0522)" in check(folder).stdout
    # The weights of that version: coding counts 1 in it.
    board = json.loads((folder / "wildbench/score.json").read_text())
    by_group = board["m"]["task_categorized_scores"]
    board["m"]["task_macro_score"] = sum((GROUPS | {CODING: 1.0})[group] * value for group, value in by_group.items()) / 4.5
    other = folder / "wildbench/score_v2.0522.json"
    other.write_text(json.dumps(board))
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert [row_of(done.stdout, name)[0] for name in ("WB-Score raw", "WB-Score task macro")] == ["2", "3"]
    edit_json(other, planted("score"))
    assert "WB-Score raw is off by" in check(folder).stderr


def test_aggregates_of_every_length_penalty_are_checked(folder):
    for name in ("pairwise_gpt4t", "all_stat"):
        for k in (-1, 1000):
            text = (folder / f"wildbench/{name}_K500.json").read_text().replace(".K=500", f".K={k}")
            (folder / f"wildbench/{name}_K{k}.json").write_text(text)
    shutil.copy(folder / "wildbench/pairwise_gpt4t_K500.json", folder / "wildbench/pairwise_haiku_K1000.json")
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert [row_of(done.stdout, name)[0] for name in ("WB-Reward", "WB-Reward x100", "WB-Reward mix")] == ["4", "28", "21"]
    edit_json(folder / "wildbench/all_stat_K-1.json", planted("mixture_of_rewards.K=-1"))
    assert re.search(r"WB-Reward mix is off by .* \(m in all_stat_K-1\.json", check(folder).stderr)


def test_file_whose_name_does_not_tell_its_length_penalty_is_named(folder):
    (folder / "wildbench/all_stat_K500.json").rename(folder / "wildbench/all_stat_500.json")
    assert re.search(r"error: .*all_stat_500\.json: the name does not end in _K", check(folder).stderr)


@pytest.mark.parametrize(
    ("file", "column"),
    [("alpacaeval/items.csv.gz", "logprob_M"), ("alpacaeval/leaderboard.csv", "n_draws"), ("wildbench/scores.csv.gz", "judge")],
)
def test_missing_column_is_named(folder, file, column):
    path = folder / file
    pl.read_csv(path).drop(column).write_csv(path, compression="gzip" if path.suffix == ".gz" else "uncompressed")
    done = check(folder)
    assert done.returncode == 1
    assert re.search(rf"error: .*{re.escape(file)}: no column '{column}'", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("file", "change", "what"),
    [
        (
            "score",
            lambda entry: entry["task_categorized_scores"].pop(MATH),
            f"score.json has no number 'task_categorized_scores / {MATH}'",
        ),
        ("score", lambda entry: entry.update(score="-"), "score.json has no number 'score'"),
        (
            "pairwise_gpt4t_K500",
            lambda entry: entry.update(reward=math.nan),
            "pairwise_gpt4t_K500.json has no number 'reward'",
        ),
        (
            "all_stat_K500",
            lambda entry: entry.pop("RewardScore_Avg"),
            "all_stat_K500.json has no number 'RewardScore_Avg'",
        ),
    ],
)
def test_what_a_missing_figure_is_needed_for_is_left_out(folder, file, change, what):
    edit_json(folder / f"wildbench/{file}.json", change)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert what in done.stdout.split("left out:")[1]


def test_weights_that_are_empty_are_none(folder):
    edit_csv(folder / "alpacaeval/lc_weights.csv", "whole", check_golden.WEIGHT_COLUMNS[0], lambda _: None)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert "1  LC from published weights: no weights are published (whole)" in done.stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"m": 1}'])
def test_broken_json_is_named(folder, text):
    (folder / "wildbench/score.json").write_text(text)
    error = check(folder).stderr
    assert re.search(r"error: .*score\.json cannot be read", error), error


# --------------------------------------------------------------------------------------------------- published figures

needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published figures are not on this machine")


@needs_golden
def test_published_figures_are_met():
    done = check(GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    for metric in golden.TOLERANCES:
        assert row_of(done.stdout, metric)[3] == "ok", metric
    assert int(row_of(done.stdout, "preference")[0]) > 20_000
    assert [row_of(done.stdout, name)[0] for name in ("win_rate", golden.LC_OWN, golden.LC_CV)] == [
        "29",
        "28",
        "29",
    ]


@needs_golden
def test_figure_planted_among_published_ones_is_found(tmp_path):
    copied = shutil.copytree(GOLDEN, tmp_path / "golden", copy_function=shutil.copyfile)
    for path in copied.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    copied.chmod(0o755)
    edit_csv(copied / "alpacaeval/leaderboard.csv", "claude-2.1", "length_controlled_winrate", lambda x: x + 0.05)
    done = check(copied)
    assert done.returncode == 1
    assert f"{golden.LC_OWN} is off by 0.054 (claude-2.1; tolerance 0.02)" in done.stderr
    assert f"{golden.LC_WEIGHTS} is off by 0.05 (claude-2.1" in done.stderr
