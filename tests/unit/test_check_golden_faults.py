"""The recomputation of published figures names every figure that is planted wrong, and every broken
file."""

import math
import re
from pathlib import Path

import polars as pl
import pytest

from drift.metrics.wildbench import CODING, MATH
from golden.alpacaeval import WEIGHT_COLUMNS
from golden.report import LC_CV, LC_ERROR, LC_OWN, LC_WEIGHTS, TOLERANCES
from tests.builders.published import check, edit_csv, edit_json, planted, row_of, write_alpacaeval, write_wildbench


@pytest.fixture
def folder(tmp_path) -> Path:
    write_alpacaeval(tmp_path / "alpacaeval")
    write_wildbench(tmp_path / "wildbench")
    return tmp_path


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
        ("leaderboard.csv", "whole", "lc_standard_error", lambda x: x + 1e-5, {LC_ERROR}),
        ("leaderboard.csv", "short", "length_controlled_winrate", lambda x: x + 0.001, {LC_WEIGHTS}),
        (
            "leaderboard.csv",
            "short",
            "length_controlled_winrate",
            lambda x: x + 0.3,
            {LC_WEIGHTS, LC_OWN, LC_CV},
        ),
        (
            "lc_weights.csv",
            "whole",
            WEIGHT_COLUMNS[1],
            lambda x: x + 1e-3,
            {LC_WEIGHTS, LC_ERROR},
        ),
    ],
)
def test_planted_alpacaeval_figure_is_named(folder, file, model, column, change, metrics):
    edit_csv(folder / "alpacaeval" / file, model, column, change)
    done = check(folder)
    assert done.returncode == 1
    failed = {metric for metric in TOLERANCES if row_of(done.stdout, metric)[3] == "FAILED"}
    assert failed == metrics
    for metric in metrics:
        assert re.search(rf"error: published figures are not met: .*{re.escape(metric)} is off by [^;]* \({model}", done.stderr)


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
    assert {metric for metric in TOLERANCES if row_of(done.stdout, metric)[3] == "FAILED"} == metrics
    for metric in metrics:
        assert f"{metric} is off by" in done.stderr


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
    edit_csv(folder / "alpacaeval/lc_weights.csv", "whole", WEIGHT_COLUMNS[0], lambda _: None)
    done = check(folder)
    assert done.returncode == 0, done.stderr
    assert "1  LC from published weights: no weights are published (whole)" in done.stdout


@pytest.mark.parametrize("text", ["{", "[]", '{"m": 1}'])
def test_broken_json_is_named(folder, text):
    (folder / "wildbench/score.json").write_text(text)
    error = check(folder).stderr
    assert re.search(r"error: .*score\.json cannot be read", error), error
