"""Files from the future are named before snakemake would remove what is made of them."""

import os
import time

import pytest

from drift.workflow.clocks import ClockError, refuse_times_ahead


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with a log, a folder of logs and a finished run."""
    monkeypatch.chdir(tmp_path)
    for name in ("chats.jsonl", "logs/a.jsonl", "results/r/data/turns.parquet", "results/r/state/x", "results/r/logs/y.log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def look() -> None:
    refuse_times_ahead(["chats.jsonl", "logs", "not/there"], "results/r")


@pytest.mark.parametrize("name", ["chats.jsonl", "logs/a.jsonl", "results/r/data/turns.parquet", "results/r/data"])
def test_an_input_or_a_table_that_is_ahead_of_the_clock_is_named_with_the_cure(run, name):
    look()
    os.utime(run / name, (time.time() + 60,) * 2)
    with pytest.raises(ClockError, match=rf"{name}: (59|60) s ahead(.|\n)*touch FILE"):
        look()


def test_what_nothing_is_made_of_may_have_any_time_and_so_may_a_second(run):
    for name in ("results/r/state/x", "results/r/logs/y.log"):
        os.utime(run / name, (time.time() + 3600,) * 2)
    os.utime(run / "chats.jsonl", (time.time() + 1,) * 2)
    look()


def test_of_many_files_the_worst_are_named(run):
    for number in range(9):
        path = run / f"logs/{number}.jsonl"
        path.touch()
        os.utime(path, (time.time() + 100 * (number + 1),) * 2)
    with pytest.raises(ClockError, match=r"9 files have(.|\n)*8\.jsonl(.|\n)*and 4 more") as refused:
        look()
    assert "0.jsonl" not in str(refused.value)
