"""Snakemake's own lint of the workflow."""

import json
import subprocess

from tests.conftest import REPOSITORY, SNAKEMAKE

# Software comes from pip locks (envs/), each stage with its own interpreter: there is no conda environment to name.
ACCEPTED = {"Specify a conda environment or container for each rule."}


def test_snakemake_lint_finds_nothing_but_missing_conda_environments():
    done = subprocess.run([str(SNAKEMAKE), "--lint", "json"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    found = [(rule["name"], lint["title"]) for rule in report["rules"] for lint in rule["lints"]]
    found += [(snakefile["snakefile"], lint["title"]) for snakefile in report["snakefiles"] for lint in snakefile["lints"]]
    assert [lint for lint in found if lint[1] not in ACCEPTED] == []
