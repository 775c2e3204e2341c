"""The Slurm profile and the rules fit together."""

import re
from types import SimpleNamespace

import pytest
import yaml

from drift.workflow.plan.queue import NEVER_SUBMITTED
from drift.workflow.resources import run_light_stages_here
from tests.conftest import REPOSITORY
from tests.dag.rules import BLOCKS, LIGHT, directive

LOCAL, DEMO = (yaml.safe_load((REPOSITORY / f"{name}/config.yaml").read_text()) for name in ("local", "demo"))
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


def test_the_stages_between_the_gpu_jobs_of_an_iteration_are_light():
    between = {"requests", "pairs", "responses", "checks", "behaviour", "judge_requests", "judgments", "ranks", "candidates"}
    assert between <= LIGHT


@pytest.mark.parametrize("rule", sorted(LIGHT))
def test_a_light_stage_is_small_enough_for_where_snakemake_runs(rule):
    assert "{CPU:q}" in directive(rule, "shell")
    asked = dict(re.findall(r"(mem_mb|runtime)=grows\((\d+)\)", directive(rule, "resources")))
    assert int(asked["mem_mb"]) <= 4000
    assert int(asked["runtime"]) <= 30


@pytest.mark.parametrize("limits", [{"light": 4}, {}])
def test_light_stages_stay_where_snakemake_runs_if_the_profile_says_how_many_at_once(limits):
    local = []
    rules = [SimpleNamespace(name="pairs", resources={"light": 1}), SimpleNamespace(name="train", resources={"gpu": 1})]
    workflow = SimpleNamespace(global_resources=limits, rules=rules, localrules=lambda *names: local.extend(names))
    run_light_stages_here(workflow)
    assert local == (["pairs"] if limits else [])
    assert PROFILE["resources"]["light"] >= 1, "the shipped profile says so"


def test_the_plan_knows_which_rules_are_never_submitted():
    always = {rule for rule in BLOCKS if "True" in directive(rule, "localrule")}
    assert always - {"preflight", "preflight_login"} == NEVER_SUBMITTED


def test_the_local_profile_runs_one_stage_with_a_model_at_a_time():
    assert LOCAL["resources"] == ["engines=1"]
    assert {rule: asked.get("engines") for rule, asked in LOCAL["set-resources"].items()} == {
        rule: 1 for rule in BLOCKS if on_gpu(rule)
    }


@pytest.mark.parametrize("profile", [LOCAL, DEMO], ids=["local", "demo"])
def test_a_training_on_this_machine_does_not_stop_itself_for_a_time_limit(profile):
    month = 30 * 24 * 60
    assert profile["set-resources"]["train"]["runtime"] > month


def test_the_profiles_of_this_machine_go_on_after_a_kill_and_count_code_by_its_meaning():
    for key in ("rerun-triggers", "nolock", "rerun-incomplete", "show-failed-logs"):
        assert LOCAL[key] == DEMO[key] == PROFILE[key], key
