"""A finished run, played: every output exists and snakemake has recorded how it was made, but the
files are empty.

What would run after a change does not depend on what is in the tables, so planning needs no engine
and no trainer. The end-to-end tests check some of the same changes on a run that was really made.
"""

import copy
import json
import os
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from tests.conftest import REPOSITORY
from tests.dag.planning import Planner, warm_planner

PLAN = ("--list-changes", "params")
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
        (planned,) = warm_planner().call({"arguments": [*self.arguments(self.config), *PLAN]}, rehearse=True)
        for job in printed_json(planned):
            for path in map(self.folder.joinpath, job["outputs"]):
                path.parent.mkdir(parents=True, exist_ok=True)
                # The outputs that are folders are policies and downloads.
                path.touch() if path.suffix else path.mkdir(exist_ok=True)
        done = self.snakemake("--touch", "--forceall")
        assert done.returncode == 0, done.stderr
        return self

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Call snakemake for the run."""
        (done,) = self._called([{"arguments": [*self.arguments(self.config), *arguments]}])
        return done

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
        if edit is None:
            (plan,) = self.plans([config or self.config])
        else:
            path, text = edit
            before = path.read_text(encoding="utf-8")
            path.write_text(text, encoding="utf-8")
            try:
                plan = self.plan(config)
            finally:
                path.write_text(before, encoding="utf-8")
        assert isinstance(plan, Plan), plan
        return plan

    def plans(self, configs: list[dict]) -> list[Plan | str]:
        """What would run with each configuration, or what snakemake printed where it refused."""
        cases = [{"arguments": [*self.arguments(config, f"case{number}"), *PLAN]} for number, config in enumerate(configs)]
        return [
            done.stdout + done.stderr if (jobs := printed_json(done)) is None else Plan(jobs) for done in self._called(cases)
        ]

    def changed_code(self) -> dict[str, set[str]]:
        """The rules whose code is another one after a module of scripts/ did something more, by
        module (relative to scripts/)."""
        scripts = self.workflow / "scripts"
        modules = [str(path) for path in sorted(scripts.rglob("*.py"))]
        (done,) = self._called([{"arguments": [*self.arguments(self.config, "modules"), *PLAN], "modules": modules}])
        changes = printed_json(done)
        assert changes is not None, done.stdout + done.stderr
        return {os.path.relpath(change["module"], scripts): set(change["rules"]) for change in changes}

    def _called(self, cases: list[dict]) -> list[subprocess.CompletedProcess]:
        if self.workflow == REPOSITORY:
            return warm_planner().call(*cases)
        # What is edited has to be read again.
        with Planner(self.workflow) as planner:
            return planner.call(*cases)


def printed_json(done: subprocess.CompletedProcess) -> list[dict] | None:
    """The answer of planner.py; None where snakemake did not come to it."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    return json.loads(lines[0]) if lines else None


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
