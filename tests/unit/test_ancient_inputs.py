"""The change to snakemake's planning leans on its internals: this fails when they change."""

import subprocess

from tests.conftest import REPOSITORY

# Hash of the source of what is changed. Where it differs, read what changed in snakemake before
# changing the hash; tests/dag/test_rerun.py has to pass.
KNOWN = "2cc7fc071416"


def test_snakemakes_planning_is_the_one_that_was_changed():
    program = """
import hashlib, inspect
import snakemake.cli
from snakemake.dag import DAG
print(hashlib.sha256(inspect.getsource(DAG.update_needrun).encode()).hexdigest()[:12])
"""
    python = REPOSITORY / ".venv/snakemake/bin/python"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == KNOWN
