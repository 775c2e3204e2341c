"""A finished run, played: every output exists and snakemake has recorded how it was made, but the
files are empty.

What would run after a change does not depend on what is in the tables, so planning needs no engine
and no trainer. The end-to-end tests check some of the same changes on a run that was really made.
"""

import copy
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY, SNAKEMAKE

PLANNER = Path(__file__).parent / "planner.py"
TRIGGERS = ("--rerun-triggers", "mtime", "params", "input")


@dataclass(frozen=True)
class Plan:
    """The jobs that snakemake plans."""

    jobs: list[dict]

    @property
    def running(self) -> set[str]:
        """First outputs of the jobs that would run."""
        return {job["outputs"][0] for job in self.jobs if job["runs"]}

    @property
    def rules(self) -> set[str]:
        """Rules of all jobs."""
        return {job["rule"] for job in self.jobs}

    @property
    def running_rules(self) -> set[str]:
        """Their rules."""
        return {job["rule"] for job in self.jobs if job["runs"]}

    @property
    def changed_rules(self) -> set[str]:
        """Rules of jobs that differ from what was recorded of them, or whose outputs are not
        there."""
        return {job["rule"] for job in self.jobs if job["changed"] or job["missing"]}

    @property
    def following(self) -> set[str]:
        """First outputs of the jobs that changed and of all that read what those write, directly or
        not."""
        readers = {}
        for job in self.jobs:
            for path in job["inputs"]:
                readers.setdefault(path, []).append(job)
        found, waiting = {}, [job for job in self.jobs if job["changed"] or job["missing"]]
        while waiting:
            job = waiting.pop()
            if found.setdefault(job["outputs"][0], job) is job:
                waiting += [
                    reader for path in job["outputs"] for reader in readers.get(path, []) if reader["outputs"][0] not in found
                ]
        return set(found)


@dataclass
class FinishedRun:
    """A folder with a run of `config` by the workflow in `workflow`."""

    folder: Path
    config: dict
    workflow: Path = REPOSITORY

    def play(self) -> "FinishedRun":
        """Have every output, and every record of how it was made."""
        for job in self.plan().jobs:
            for path in map(self.folder.joinpath, job["outputs"]):
                path.parent.mkdir(parents=True, exist_ok=True)
                # The outputs that are folders are policies and downloads.
                path.touch() if path.suffix else path.mkdir(exist_ok=True)
        command = [str(SNAKEMAKE), *self.arguments(self.config), "--touch", "--forceall"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return self

    def arguments(self, config: dict, name: str = "config") -> list[str]:
        """Command line for `config`, which is written to the run's folder."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return [
            f"--snakefile={self.workflow / 'Snakefile'}",
            f"--directory={self.folder}",
            f"--configfile={path}",
            "--cores=2",
            *TRIGGERS,
        ]

    def plan(self, config: dict | None = None, edit: tuple[Path, str] | None = None) -> Plan:
        """What would run with `config` (the run's own by default), with a file edited."""
        (plan,) = self.plans([(config or self.config, edit)])
        assert isinstance(plan, Plan), plan
        return plan

    def plans(self, cases: list[tuple[dict, tuple[Path, str] | None]]) -> list[Plan | str]:
        """What would run in each case, or what snakemake printed where it refused. Cases that edit
        a file wait for each other."""
        asked = [
            {"arguments": self.arguments(config, f"case{number}"), "edit": edit and [str(edit[0]), edit[1]]}
            for number, (config, edit) in enumerate(cases)
        ]
        workers = 1 if any(edit for _, edit in cases) else os.cpu_count()
        answers = [None] * len(asked)
        with ThreadPoolExecutor(workers) as pool:
            for worker, part in enumerate(pool.map(self._planned, [asked[worker::workers] for worker in range(workers)])):
                answers[worker::workers] = part
        return [Plan(answer) if isinstance(answer, list) else answer for answer in answers]

    def changed_code(self) -> dict[str, set[str]]:
        """The rules whose code is another one after a module of scripts/ did something more, by
        module (relative to scripts/)."""
        scripts = self.workflow / "scripts"
        modules = [str(path) for path in sorted(scripts.rglob("*.py"))]
        (changes,) = self._planned([{"arguments": self.arguments(self.config, "modules"), "modules": modules}])
        assert isinstance(changes, list), changes
        return {os.path.relpath(change["module"], scripts): set(change["rules"]) for change in changes}

    def _planned(self, cases: list[dict]) -> list:
        planner = [str(SNAKEMAKE.parent / "python"), str(PLANNER), str(self.workflow / "scripts")]
        done = subprocess.run(planner, input=json.dumps(cases), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def depth(row: dict, keys: list[str]) -> int:
    """How many of `keys`, one in the other, a row has."""
    if not keys or not isinstance(row, dict) or keys[0] not in row:
        return 0
    return 1 + depth(row[keys[0]], keys[1:])


def changed(run: FinishedRun, key: str, value) -> dict:
    """The run's configuration with `key` at `value`; * is the first row of its table that has most
    of what follows."""
    config = copy.deepcopy(run.config)
    *sections, last = key.split(".")
    place = config
    for number, name in enumerate(sections, start=1):
        if name == "*":
            place = max(place.values(), key=partial(depth, keys=[*sections[number:], last]))
        else:
            place = place.setdefault(name, {})
    place[last] = str(run.folder / value) if last == "path" and "benchmarks" not in sections else value
    return config
