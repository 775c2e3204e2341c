"""What runs have done, do and wait for: how far each is, which jobs run and how far they are, which
wait in a queue, what failed and where its log is, and about how long it may still take.

    .venv/snakemake/bin/python tools/status.py [results/mine ...]

Reads what a run writes down of itself (logs/run.jsonl in its folder, of its last start), the logs
of the jobs that run, and the timings of those that are done. Without folders: all runs in results/.
The exit code is 1 where the last start of one of them failed or was killed. Whether a run that was
started on another machine still lives can only be seen there.
"""

import _path  # noqa: F401 - must come before drift
import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from drift import layout
from drift.workflow import job_logs
from drift.workflow.time_left import TimeLeft, duration


@dataclass
class Start:
    """The last start of a run, as its record tells it."""

    root: Path
    planned: Counter  # jobs by rule
    began: float
    pid: int
    host: str
    running: dict[int, dict] = field(default_factory=dict)  # events by job
    failed: dict[int, dict] = field(default_factory=dict)
    done: list[tuple[str, float]] = field(default_factory=list)  # rule and seconds
    ended: dict | None = None
    last: float = 0.0

    def add(self, event: dict) -> None:
        """Take up the next event of the record."""
        self.last = event["time"]
        match event["event"]:
            case "job":
                self.running[event["id"]] = event
                self.failed.pop(event["id"], None)  # tried again
            case "done":
                job = self.running.pop(event["id"], None)
                if job:
                    self.done.append((job["rule"], event["time"] - job["time"]))
            case "failed":
                self.running.pop(event["id"], None)
                self.failed[event["id"]] = event
            case "end":
                self.ended = event

    def logs(self, job: dict) -> list[Path]:
        """The logs of a job, from wherever this program runs: their names begin where results/
        is."""
        results = Path(os.path.abspath(self.root)).parent  # of "..", too
        return [results.parent / log for log in job["logs"]]

    @property
    def state(self) -> str:
        """running, done, failed or killed."""
        if self.ended:
            return "done" if self.ended["good"] else "failed"
        # Of another machine it cannot be known whether the driver lives.
        return "running" if self.host != platform.node() or _alive(self.pid) else "killed"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True


def last_start(root: Path) -> Start | None:
    """The last start of the run in a folder; None where it has no record. Raises OSError where that
    cannot be read."""
    start = None
    try:
        record = (root / layout.PATTERNS["run_log"]).read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    for line in record.split("\n"):  # only a line feed ends a line: messages may hold U+2028 and its like
        try:
            event = json.loads(line)
        except ValueError:
            continue  # being written, or cut by a full disk
        if event["event"] == "start":
            start = Start(root, Counter(event["jobs"]), event["time"], event["pid"], event["host"])
        if start:
            start.add(event)
    return start


def describe(start: Start, now: float) -> str:
    """A few lines on a run."""
    total, done = sum(start.planned.values()), len(start.done)
    until = now if start.state == "running" else start.last
    lines = [f"{start.root}: {start.state}, {done} of {total} jobs done in {duration(until - start.began)}"]
    if start.state == "running":
        if start.host != platform.node():
            lines.append(f"  started on {start.host}: whether it still lives can be seen there")
        left = TimeLeft(start.root / layout.PATTERNS["timings"])
        left.expect(start.planned, began=start.began)
        for rule, seconds in start.done:
            left.finished(rule, seconds)
        working, waiting = [], []
        for job in start.running.values():
            (working if job_logs.begun(start.logs(job), job["time"]) else waiting).append(job)
        lines[0] += left.text([(job["rule"], now - job["time"]) for job in working])
        for job in working:
            progress = next(filter(None, map(job_logs.progress, start.logs(job))), None)
            lines.append(f"  running {_name(job)} for {duration(now - job['time'])}" + (f": {progress}" if progress else ""))
        lines += [f"  waiting to start: {_name(job)}, for {duration(now - job['time'])}" for job in waiting]
    if start.state == "killed":
        lines += [f"  half-made: {_name(job)}" for job in start.running.values()]
        lines.append("  The same command goes on where it was.")
    for job in start.failed.values():
        lines += [f"  failed {_name(job)}", *(f"      {line}" for line in job["message"].splitlines())]
        lines += [f"      its log: {log}" for log in job["logs"]]
    if (report := start.root / layout.PATTERNS["report"]).is_file() and start.state == "done":
        lines.append(f"  report: {report}")
    return "\n".join(lines)


def _name(job: dict) -> str:
    return f"{job['rule']} {job['name']}".strip()


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run; default: all in results/")
    arguments = command.parse_args()
    roots = arguments.runs or sorted(path for path in Path("results").glob("*") if path.is_dir())
    stopped = False
    for root in roots:
        try:
            start = last_start(root)
        except OSError as error:  # somebody else's: the other runs are told all the same
            print(f"{root}: its record cannot be read ({error.strerror}: {error.filename})")
            continue
        print(describe(start, time.time()) if start else f"{root}: no record of a run ({layout.PATTERNS['run_log']})")
        stopped |= start is not None and start.state in ("failed", "killed")
    if not roots:
        print("no runs: results/ is empty, or this is not the folder where they were started")
    if stopped:
        sys.exit(1)


if __name__ == "__main__":
    main()
