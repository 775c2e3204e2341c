"""A snakemake that starts once and plans many times."""

import json
import subprocess
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY, SNAKEMAKE, snakemake_command

PROGRAM = Path(__file__).parent / "planner.py"


class Planner:
    """A process that makes calls of snakemake by the workflow in a folder, until its `with` block
    ends."""

    def __init__(self, workflow: Path):
        command = [str(SNAKEMAKE.parent / "python"), str(PROGRAM), str(workflow / "scripts")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Planner":
        return self

    def __exit__(self, *_) -> None:
        with self._process:
            self._process.stdin.close()

    def call(self, *cases: dict, rehearse: bool = False) -> list[subprocess.CompletedProcess]:
        """What snakemake answers to each case, which planner.py describes."""
        print(json.dumps({"cases": cases, "rehearse": rehearse}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the planner ended; what it printed says why"
        return [
            subprocess.CompletedProcess(case["arguments"], done["code"], done["stdout"], done["stderr"])
            for case, done in zip(cases, json.loads(answer), strict=True)
        ]


@cache
def warm_planner() -> Planner:
    """The one of this repository's workflow, which no test edits; it ends with this process."""
    return Planner(REPOSITORY)


def snakemake(
    folder: Path, config: dict, *arguments: str, check: bool = True, rehearse: bool = False
) -> subprocess.CompletedProcess:
    """Call snakemake as `tests.conftest.snakemake` does, without its start. Rehearse a dry run if
    many like it follow."""
    (done,) = warm_planner().call({"arguments": snakemake_command(folder, config, *arguments)[1:]}, rehearse=rehearse)
    if check:
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-12000:]
    return done
