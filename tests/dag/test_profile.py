"""The Slurm profile and the rules fit together."""

import re

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.dag.rules import BLOCKS, directive

PROFILE = yaml.safe_load((REPOSITORY / "slurm/config.yaml").read_text())
CONFIG = yaml.safe_load((REPOSITORY / "config.yaml").read_text())


def on_gpu(rule: str) -> bool:
    """Whether a rule's command, its own or its parent's, starts the GPU stages' interpreter."""
    return "{GPU:q}" in directive(rule, "shell")


@pytest.mark.parametrize("rule", [rule for rule in BLOCKS if on_gpu(rule)])
def test_the_profile_gives_a_gpu_to_every_stage_that_uses_one(rule):
    asked = PROFILE["set-resources"].get(rule)
    assert asked, f"add `{rule}: *generate` to set-resources in slurm/config.yaml"
    assert asked["slurm_partition"] == "gpu"
    # Only a training spreads over several, where its launcher does.
    assert asked["gpu"] == 1 or (rule == "train" and CONFIG["training"]["launcher"] != "single")


def test_the_profile_names_no_rule_that_is_not_there():
    assert set(PROFILE["set-resources"]) == {rule for rule in BLOCKS if on_gpu(rule)}


@pytest.mark.parametrize("rule", [rule for rule in BLOCKS if "resources:" in BLOCKS[rule] and "preflight" not in rule])
def test_a_second_attempt_gets_more_memory_and_time(rule):
    asked = re.findall(r"^        (mem_mb|runtime)=(.+),$", BLOCKS[rule], re.MULTILINE)
    fixed = {name for name, value in asked if not value.startswith("grows(")}
    assert fixed == ({"runtime"} if rule == "train" else set()), "a training continues, all else starts again"
