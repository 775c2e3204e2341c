"""How a program ends, and what it says then."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drift import cli
from tests.conftest import REPOSITORY


def test_a_full_disk_is_named_whoever_wrote():
    import torch

    def python():
        Path("/dev/full").write_text("x")

    for write in (python, lambda: torch.save({"weights": torch.zeros(500_000)}, "/dev/full")):
        with pytest.raises(SystemExit, match="the disk is full"):
            cli.run(write)


@pytest.mark.parametrize(
    ("program", "python"),
    [
        ("scripts/pairs.py", ".venv/cpu/bin/python"),
        ("tools/check_labels.py", ".venv/cpu/bin/python"),
        ("tools/plan.py", ".venv/snakemake/bin/python"),
    ],
)
def test_a_python_without_the_packages_of_a_program_is_told_which_one_has_them(program, python):
    # -S: without site-packages.
    command = [sys.executable, "-S", REPOSITORY / program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: \S+ has no module \w+: start \S+ with {re.escape(python)} of .*\n", done.stderr), done.stderr


PROGRAMS = [path for folder in ("scripts", "tools") for path in (REPOSITORY / folder).glob("*.py")]


def imported(program: Path) -> list[str]:
    """The packages that a program imports at its top, in their order."""
    statements = [node for node in ast.parse(program.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0] for node in statements]


@pytest.mark.parametrize("program", [path for path in PROGRAMS if "__main__" in path.read_text()], ids=lambda path: path.name)
def test_a_program_looks_at_its_python_before_it_imports_what_may_be_missing(program):
    others = [name for name in imported(program) if name not in sys.stdlib_module_names]
    assert others[:1] in ([], [{"scripts": "_python", "tools": "_path"}[program.parent.name]])
