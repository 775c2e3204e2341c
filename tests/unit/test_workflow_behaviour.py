"""Which answers say how a policy writes, and which table a training waits for."""

import json
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import load
from drift.workflow.behaviour import Behaviour
from drift.workflow.iterations import Iterations
from tests.builders.configurations import minimal, refusal

PATHS = layout.paths("results/small")
ROWS = {"mine": {"kind": "prompts", "path": "mine.jsonl"}, "kept": {"kind": "heldout"}}
SPIN = {"prompts": "sat", "chosen": "logged", "rejected": "plain", "start": "base"}


def behaviour(benchmarks: dict | None = None, **section) -> Behaviour:
    """The comparison of a run of DRIFT and of SPIN, which starts from the base model."""
    values = minimal(methods=["drift", "spin"], training={"behaviour": section})
    values["recipes"]["spin"] = SPIN
    values["evaluation"]["benchmarks"] = benchmarks or ROWS
    config = load(values)
    return Behaviour(config, PATHS, Iterations(config, PATHS))


def job(trained: str) -> SimpleNamespace:
    return SimpleNamespace(model="llama", trained=trained)


def test_the_benchmark_is_the_held_out_one_or_the_first_or_the_one_that_is_named():
    assert behaviour().benchmark == "kept"
    assert behaviour({"first": ROWS["mine"], "mine": ROWS["mine"]}).benchmark == "first"
    assert behaviour(benchmark="mine").benchmark == "mine"
    values = minimal(training={"behaviour": {"benchmark": "heldot"}})
    assert "training.behaviour.benchmark: there is no 'heldot', did you mean 'heldout'?" in refusal(values)


@pytest.mark.parametrize(
    ("trained", "before"),
    [
        ("warmup", "base"),
        ("drift/seed42/iter1", "warmup"),
        ("spin/seed42/iter1", "base"),
        ("spin/seed42/iter2", "spin/seed42/iter1"),
    ],
)
def test_a_policy_is_compared_with_the_one_before_it_and_the_base_model_and_its_table_is_waited_for(trained, before):
    run = behaviour()
    answers = "results/small/llama/{}/eval/kept/responses.parquet"
    assert run.answers(job(trained)) == {
        "responses": answers.format(trained),
        "before": answers.format(before),
        "base": answers.format("base"),
        "tasks": "results/small/data/benchmarks/kept.parquet",
    }
    assert json.loads(run.settings(job(trained)))["before"] == f"llama/{before}"
    assert run.of_start(job(trained)) == ([] if before == "base" else f"results/small/llama/{before}/behaviour.parquet")


def test_without_a_comparison_there_are_no_answers_and_trainings_have_the_same_inputs():
    off = behaviour(outcome="off")
    assert off.answers(job("warmup")) == {"responses": [], "before": [], "base": [], "tasks": []}
    assert off.of_start(job("drift/seed42/iter1")) == behaviour().of_start(job("drift/seed42/iter1"))
