"""Snakemake's own lint of the workflow."""

import re
import subprocess

from tests.conftest import REPOSITORY, SNAKEMAKE

ACCEPTED = {
    # Software comes from pip locks (envs/), each stage with its own interpreter: there is no conda
    # environment to name.
    "Specify a conda environment or container for each rule.",
    # Where the interpreters and scripts are differs by machine. As params they would rerun
    # everything after a move.
    "Shell command directly uses variable CPU from outside of the rule",
    "Shell command directly uses variable GPU from outside of the rule",
    "Shell command directly uses variable SCRIPTS from outside of the rule",
}


def test_snakemake_lint_finds_nothing_but_what_is_accepted_with_a_reason():
    done = subprocess.run([str(SNAKEMAKE), "--lint"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    found = set(re.findall(r"^ +\* (.+):$", done.stderr, re.MULTILINE))
    assert found, "the lint printed nothing that this test understands"
    assert found - ACCEPTED == set()
