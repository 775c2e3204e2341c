"""What a run says of itself: lines on the terminal, the record for programs, and `status` that
reads it."""

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import status
from drift.workflow import job_logs, run_log
from drift.workflow.time_left import TimeLeft, duration
from tests.conftest import REPOSITORY

BARS = """INFO loading
Processed prompts:  30%| | 54/180 [00:42<01:04,  1.96it/s, est. speed input: 57.09 toks/s, output: 39.20 toks/
Processed prompts:  42%| | 76/180 [00:48<00:40,  2.56it/s, est. speed input: 71.88 toks/s, output: 61.53 toks/
"""


class Run:
    """A run log in a folder that is told events as snakemake logs them; `lines` are what it
    shows."""

    def __init__(self, folder):
        self.folder, self.lines = folder, []
        self.root = folder / "results/mine"
        purposes = {"train": "Train a policy.", "turns": "Read every source."}
        self.log = run_log.RunLog(self.root / "logs/run.jsonl", self.root / "timings", purposes, self.lines.append)

    def tell(self, event: str, **values) -> None:
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", (), None)
        record.__dict__ |= {"event": event, **values}
        self.log.handle(record)

    def plan(self, **jobs: int) -> None:
        self.tell("run_info", stats=jobs | {"total": sum(jobs.values())})
        self.log.begin()

    def start(self, number: int, rule: str, name: str, text: str = "") -> None:
        log = self.root / f"logs/{rule}/{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
        self.tell("job_info", jobid=number, rule_name=rule, log=[str(log)])

    def error(self, number: int, rule: str, name: str, message: str | None = None) -> None:
        self.tell("job_error", jobid=number, rule_name=rule, log=[str(self.root / f"logs/{rule}/{name}.log")], rule_msg=message)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "_LONG", 0.0)
    monkeypatch.setattr(run_log, "_BETWEEN", 0.0)
    monkeypatch.setattr(run_log, "_EACH", 0.0)
    return Run(tmp_path)


def wait_for(lines, text):
    deadline = time.monotonic() + 20
    while not any(text in line for line in lines):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)


def test_a_long_job_says_what_it_does_for_whom_how_far_it_is_and_when_it_is_done(run):
    run.plan(train=2)
    run.start(1, "train", "qwen/drift/seed42/iter1", BARS)
    wait_for(run.lines, "[0/2] train qwen/drift/seed42/iter1: Train a policy.")
    wait_for(run.lines, "[0/2] train qwen/drift/seed42/iter1: Processed prompts 76 of 180, 00:40 left")
    run.tell("job_finished", job_id=1)
    assert "[1/2] train qwen/drift/seed42/iter1: done in" in run.lines[-1]


def test_a_job_that_waits_in_a_queue_is_not_said_to_have_started(run):
    run.plan(train=1)
    run.start(1, "train", "qwen/warmup", BARS)
    log = run.root / "logs/train/qwen/warmup.log"
    os.utime(log, (0, 0))  # of an attempt before
    time.sleep(2.5)
    assert run.lines == []
    log.write_text("loading")
    wait_for(run.lines, "train qwen/warmup: Train a policy.")


def test_what_a_job_warns_of_is_shown_when_it_is_done(run):
    run.plan(turns=1)
    run.start(1, "turns", "all", "reading\nwarning: 2 of 3 files are not read\n")
    run.tell("job_finished", job_id=1)
    assert run.lines[-1] == "warning: 2 of 3 files are not read"


def test_a_failed_job_shows_its_own_message_and_its_log(run):
    run.plan(turns=1)
    run.start(1, "turns", "all", "reading\nerror: chats.jsonl: record 3 has no messages\nkeys: id\n")
    run.error(1, "turns", "all", "SLURM job 7 is OUT_OF_MEMORY")
    told = run.lines[-1]
    assert "Error in rule turns: Read every source." in told
    assert "SLURM job 7 is OUT_OF_MEMORY" in told
    assert "error: chats.jsonl: record 3 has no messages\n    keys: id\n" in told
    assert told.endswith(f"its log: {run.root / 'logs/turns/all.log'}")
    assert "reading" not in told


def test_a_failure_without_a_sentence_shows_the_end_of_its_log(tmp_path):
    (tmp_path / "a.log").write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert job_logs.failure(tmp_path / "a.log").splitlines() == [f"line {number}" for number in range(9_960, 10_000)]
    assert job_logs.failure(tmp_path / "missing.log") == ""
    (tmp_path / "b.log").write_text("WARNING much\n[rank0]: error: no module x: start y\n")
    assert job_logs.failure(tmp_path / "b.log") == "error: no module x: start y"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train:   7%|####     | 1/15 [00:06<01:33,  6.65s/step]", "train 1 of 15, 01:33 left"),
        ("reference:   0%|      | 0/30 [00:00<?, ?batch/s]", "reference 0 of 30"),
        ("train: 100%|#########| 15/15 [01:24<00:00,  5.63s/step, loss=0.691]", "train 15 of 15"),
        ("nothing of the kind", "None"),
    ],
)
def test_progress_is_the_last_bar_of_a_log(tmp_path, line, said):
    (tmp_path / "a.log").write_text(f"first:   5%|#  | 1/20 [00:06<01:33,  6.65s/step]\n{line}\n" if said != "None" else line)
    assert str(job_logs.progress(tmp_path / "a.log")) == said


def test_time_left_is_by_what_rules_took_and_a_lower_bound_where_one_was_never_timed(tmp_path):
    (tmp_path / "train/qwen").mkdir(parents=True)
    (tmp_path / "train/qwen/iter1.jsonl").write_text(json.dumps({"s": 100.0}) + "\n")
    (tmp_path / "train/qwen/iter2.jsonl").write_text(json.dumps({"s": 200.0}) + "\n")
    (tmp_path / "train/qwen/iter3.jsonl").write_text("")  # of a job that was killed
    left = TimeLeft(tmp_path)
    left.expect({"train": 2})
    assert left.text([("train", 30.0)]) == "; about 4 min 30 s left"
    left.expect({"train": 1, "judge": 3})
    assert left.text([]) == "; at least 2 min 30 s left"
    left.expect({"judge": 3})
    assert left.text([]) == ""
    assert [duration(seconds) for seconds in (4.4, 88, 5400)] == ["4 s", "1 min 28 s", "1 h 30 min"]


def test_status_tells_running_failed_and_killed_jobs_of_the_last_start(run):
    run.plan(turns=1)
    run.log.end(good=True)
    again = Run(run.folder)
    again.plan(turns=1, train=3)
    again.start(1, "turns", "all", "error: no such file\n")
    again.error(1, "turns", "all")
    again.start(2, "train", "qwen/warmup", BARS)
    told = status.describe(status.last_start(again.root), time.time() + 60)
    assert f"{again.root}: running, 0 of 4 jobs done in 1 min" in told
    assert "running train qwen/warmup for 1 min 00 s: Processed prompts 76 of 180, 00:40 left" in told
    assert "failed turns\n      error: no such file\n      its log: " in told

    again.start(1, "turns", "all")  # tried again
    again.tell("job_finished", job_id=1)
    record = again.root / "logs/run.jsonl"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    record.write_text(record.read_text().replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}') + '{"event": "do')
    told = status.describe(status.last_start(again.root), time.time())
    assert f"{again.root}: killed, 1 of 4 jobs done" in told
    assert "half-made: train qwen/warmup" in told
    assert "failed" not in told
    again.log.end(good=True)


def test_status_tells_jobs_that_wait_in_a_queue_from_those_that_work(run, monkeypatch):
    """Submitted both: the log of one is of an attempt before, and of the other not there yet."""
    run.plan(train=2)
    for number, name in enumerate(("qwen/warmup", "qwen/drift/seed42/iter1")):
        run.start(number, "train", name, BARS)
    old, absent = (run.root / f"logs/train/{name}.log" for name in ("qwen/warmup", "qwen/drift/seed42/iter1"))
    os.utime(old, (time.time() - 3600,) * 2)
    absent.unlink()
    told = status.describe(status.last_start(run.root), time.time() + 60)
    assert "  waiting to start: train qwen/warmup, for 1 min 00 s" in told
    assert "  waiting to start: train qwen/drift/seed42/iter1, for 1 min 00 s" in told
    assert "running train" not in told
    assert "of 180" not in told
    old.write_text("loading")
    record = run.root / "logs/run.jsonl"
    record.write_text(record.read_text().replace(f"{run.folder}/", ""))  # as snakemake names logs, run anywhere
    assert "running train qwen/warmup for" in status.describe(status.last_start(run.root), time.time() + 60)
    monkeypatch.chdir(run.root / "logs")
    assert "running train qwen/warmup for" in status.describe(status.last_start(Path("..")), time.time() + 60)


def test_status_reads_a_record_with_any_text_in_it_and_one_that_was_cut(run):
    run.plan(train=1)
    run.start(1, "train", "qwen/warmup", "error: a row is 'x\u2028y\x85z'\n")
    run.error(1, "train", "qwen/warmup")
    run.log.end(good=False)
    told = status.describe(status.last_start(run.root), time.time())
    assert "failed train qwen/warmup\n      error: a row is 'x\n" in told

    record = run.root / "logs/run.jsonl"
    whole = record.read_bytes()
    record.write_bytes(whole[: whole.index("\u2028".encode()) + 2])  # within a character
    Run(run.folder).plan(train=7)
    assert status.last_start(run.root).planned == {"train": 7}, "of the next start, whose line is its own"


def test_status_of_a_record_that_cannot_be_read_says_so_and_tells_the_other_runs(run, monkeypatch, capsys):
    run.plan(train=1)
    run.log.end(good=True)
    other = run.root.with_name("another")
    (other / "logs/run.jsonl").mkdir(parents=True)  # as unreadable as another user's, also for root
    monkeypatch.setattr(sys, "argv", ["status.py", str(other), str(run.root)])
    status.main()
    told = capsys.readouterr().out
    assert f"{other}: its record cannot be read (Is a directory: {other}/logs/run.jsonl)" in told
    assert f"{run.root}: done" in told


def test_status_of_no_run_and_of_a_folder_without_a_record(tmp_path):
    (tmp_path / "results/old").mkdir(parents=True)
    command = [REPOSITORY / ".venv/snakemake/bin/python", REPOSITORY / "tools/status.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "results/old: no record of a run" in done.stdout


@pytest.mark.parametrize(
    ("rule", "log", "name"),
    [
        ("judge", "results/mine/logs/judge/qwen/base/heldout/judge/1-of-2.log", "qwen/base/heldout/judge/1-of-2"),
        ("train", "results/logs/logs/train/qwen/warmup.log", "qwen/warmup"),
        ("fetch", "logs/fetch/org-model-1234.log", "org-model-1234"),
        ("scores", "results/mine/logs/scores/all.log", ""),
    ],
)
def test_a_job_is_named_by_all_of_its_wildcards_whatever_these_are_called(rule, log, name):
    assert run_log.name_of(rule, [log]) == name
    assert run_log.name_of(rule, []) == ""


def test_the_first_line_of_a_report_is_its_description(tmp_path):
    page = tmp_path / "report.html"
    page.write_text('<!doctype html><head><meta name="description" content="No difference can be claimed &amp; more"></head>')
    assert run_log.first_line(page) == "No difference can be claimed & more"
    many = " ".join(f"No difference can be claimed of method {number}." for number in range(200))
    page.write_text(f'<!doctype html><head><meta name="description" content="{many}"><style>p {{}}</style></head><p>text')
    assert run_log.first_line(page) == many, "however long it is"
    page.write_text("<!doctype html><h1>old</h1>")
    assert run_log.first_line(page) == ""
