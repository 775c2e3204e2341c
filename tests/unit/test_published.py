"""Published figures are met by the code that scores a run: WildBench's from this repository,
AlpacaEval's where they are on this machine."""

import shutil

import pytest

from drift.metrics import wildbench
from golden.report import LC_CV, LC_OWN, LC_WEIGHTS, TOLERANCES
from tests.builders.published import check, edit_csv, edit_json, planted, row_of
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "tests/golden"
GOLDEN = REPOSITORY.parent / "shared/golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published figures are not on this machine")
WILDBENCH = [name for name in TOLERANCES if name.startswith(("WB", "Wild"))]


def test_wildbench_s_published_figures_are_met():
    done = check(SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr
    for metric in WILDBENCH:
        assert row_of(done.stdout, metric)[3] == "ok", metric
    assert [row_of(done.stdout, name)[0] for name in ("WB-Score raw", "WB-Reward")] == ["4", "5"]


def test_figure_planted_among_wildbench_s_is_found(tmp_path):
    shutil.copytree(SHIPPED / "wildbench", tmp_path / "wildbench")
    edit_json(tmp_path / "wildbench/score.json", planted("avg_len"), "reka-edge")
    error = check(tmp_path).stderr
    assert "WB-Score average length is off by 1e-05 (reka-edge v2.0625, from items" in error


@pytest.mark.parametrize(
    ("name", "broken", "metric"),
    [
        ("adjusted", lambda score: (score - 5) * 2.001, "WB-Score adjusted"),
        ("macro", lambda values, weights=None: values.mean(axis=-1), "WB-Score task macro"),
        ("group_means", lambda sums: sums[..., :5] / (sums[..., 5:] + 1), "WB-Reward task macro"),
        ("penalised", lambda outcomes, *lengths_and_k: outcomes + 1, "WB-Reward"),
    ],
)
def test_scoring_that_is_broken_does_not_meet_them(monkeypatch, name, broken, metric):
    monkeypatch.setattr(wildbench, name, broken)
    done = check(SHIPPED)
    assert done.returncode == 1
    assert row_of(done.stdout, metric)[3] == "FAILED"


@needs_golden
def test_published_figures_are_met():
    done = check(GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    for metric in TOLERANCES:
        assert row_of(done.stdout, metric)[3] == "ok", metric
    assert int(row_of(done.stdout, "preference")[0]) > 20_000
    assert [row_of(done.stdout, name)[0] for name in ("win_rate", LC_OWN, LC_CV)] == [
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
    assert f"{LC_OWN} is off by 0.054 (claude-2.1; tolerance 0.02)" in done.stderr
    assert f"{LC_WEIGHTS} is off by 0.05 (claude-2.1" in done.stderr
