"""Configurations to be planned, and their budgets."""

import yaml

from drift.config import load
from drift.workflow.machines import read_machine
from drift.workflow.plan.budget import Budget, plan
from drift.workflow.plan.shapes import shape_finder
from drift.workflow.plan.work import ROWS, Lengths
from tests.conftest import REPOSITORY


def config(methods: list[str] | None = None, **change) -> dict:
    """The shipped configuration with SECTION__KEY=value."""
    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    for key, value in change.items():
        section, _, name = key.partition("__")
        values[section] |= {name: value}
    return load(values) | ({"methods": methods} if methods else {})


def planned(run: dict, name: str = "h100-80", **machine) -> Budget:
    """The budget of a run on a machine."""
    return plan(run, read_machine(name, **machine), ROWS, Lengths(), shape_finder(REPOSITORY, None))
