"""Programs that ask snakemake what it would do."""

import subprocess

import pytest

from tests.conftest import REPOSITORY, SNAKEMAKE


def asked(program: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [SNAKEMAKE.parent / "python", REPOSITORY / f"tools/{program}.py", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [["why", "--profile=local"], ["prune", "--profile=local"], ["plan"]], ids=lambda row: row[0]
)
def test_where_there_is_no_plan_the_reason_is_shown(tmp_path, arguments):
    (tmp_path / "x.yaml").write_text("run: x\nmodles: {}\n")
    done = asked(*arguments, "--configfile", tmp_path / "x.yaml")
    assert done.returncode == 1
    assert "did you mean 'models'" in done.stderr


def test_targets_may_stand_at_the_end():
    done = asked("why", "--profile=local", "--configfile", "examples/logs.yaml", "--", "labels")
    assert done.returncode == 0, done.stderr
