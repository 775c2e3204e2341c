"""The recomputation of published figures passes on figures that are right, and counts what it
leaves out."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from drift.metrics.wildbench import CODING
from golden.report import LC_CV, LC_ERROR, LC_OWN, LC_WEIGHTS, TOLERANCES
from tests.builders.published import GROUPS, N, check, edit_csv, edit_json, planted, row_of, write_alpacaeval, write_wildbench
from tests.conftest import REPOSITORY


@pytest.fixture
def folder(tmp_path) -> Path:
    write_alpacaeval(tmp_path / "alpacaeval")
    write_wildbench(tmp_path / "wildbench")
    return tmp_path


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
    for metric in TOLERANCES:
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


def test_model_without_weights_is_still_fitted(folder):
    path = folder / "alpacaeval/lc_weights.csv"
    pl.read_csv(path).filter(pl.col("") != "whole").write_csv(path)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert [row_of(done.stdout, metric)[0] for metric in (LC_WEIGHTS, LC_CV)] == ["1", "2"]
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


def test_files_elsewhere_are_taken_by_option(folder, tmp_path):
    for name in ("instruction_difficulty.csv", "df_gamed.csv"):
        shutil.move(folder / "alpacaeval" / name, tmp_path / name)
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
    checked = {metric for metric in TOLERANCES if row_of(done.stdout, metric)[3] == "ok"}
    assert checked == {name for name in TOLERANCES if name.startswith(("WB", "Wild")) == (part == "wildbench")}


WB_ITEMS = {"WB-Score raw", "WB-Score tasks", "WB-Score average length"}


@pytest.mark.parametrize(
    ("file", "unchecked", "reason"),
    [
        (
            "alpacaeval/items.csv.gz",
            {name for name in TOLERANCES if not name.startswith(("WB", "Wild"))},
            "1  AlpacaEval: no such file",
        ),
        (
            "alpacaeval/leaderboard.csv",
            {name for name in TOLERANCES if not name.startswith(("WB", "Wild"))} - {"preference"},
            "1  AlpacaEval leaderboard row: no such file",
        ),
        (
            "alpacaeval/lc_weights.csv",
            {LC_WEIGHTS, LC_ERROR, LC_OWN},
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
    assert {metric for metric in TOLERANCES if row_of(done.stdout, metric)[3] == "not checked"} == unchecked
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
