"""What the programs of perf/ share: they run others one after the other, with their time and peak
memory, and rules of the pipeline."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path("results/bench")
FOLDER = RESULTS / "smollm2-135m"


def measured(*command: object) -> dict:
    """Run a program to its end: seconds, the peak memory of its largest process in GiB, and the
    JSON object of its last line."""
    started = time.monotonic()
    # A program of perf/ imports drift, whether `make` or a person started this one.
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "scripts")}
    words = [str(word) for word in command]
    child = subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"error: {command[0]} failed with {child.returncode}:\n{output[-4000:]}")
    last = output.strip().rpartition("\n")[2]
    report = json.loads(last) if last.startswith("{") else {}
    return {"seconds": time.monotonic() - started, "memory": usage.ru_maxrss / 2**20} | report


def rule(target: Path) -> dict:
    """Run the rule that makes `target`, as the pipeline does, but with both cores; as
    `measured`."""
    options = ("--profile", "demo", "--configfile", "perf/run.yaml", "--set-threads", "sample=2", "--force", "--", target)
    return measured(REPOSITORY / ".venv/snakemake/bin/snakemake", *options)


def rule_seconds(record: Path) -> float:
    """Seconds that the latest job of a rule took, by Snakemake's record of it (below
    results/RUN/timings)."""
    return json.loads((REPOSITORY / RESULTS / "timings" / record).read_text().splitlines()[-1])["s"]
