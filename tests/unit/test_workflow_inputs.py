"""What rules read from outside of the run, what jobs are given, and what the preflight checks."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from drift.config import load
from drift.downloads import folder_name
from drift.layout import paths
from drift.workflow.inputs import Inputs, addresses_of, located, shipped
from drift.workflow.iterations import Iterations
from drift.workflow.preflight import Preflight, endpoints_of
from drift.workflow.resources import gpus, grows, placement
from tests.builders.configurations import minimal

HUB = "hf-dataset:org/tasks@abc/tasks.jsonl"
ENDPOINT = {"url": "http://localhost:1/v1", "model": "x"}


@pytest.fixture
def config():
    """A configuration with inputs of every kind, local and remote."""
    return load(
        minimal(
            models={"llama": {"path": "hf:org/llama@abc"}},
            evaluation={
                "benchmarks": {
                    "heldout": {"kind": "heldout"},
                    "wild": {"kind": "wildbench", "path": HUB, "references": {"gpt": "gpt.jsonl"}},
                    "late": {"kind": "prompts", "path": "mine.jsonl", "keep_out": False},
                },
                "judge": "far",
                "judges": {"far": {"endpoint": ENDPOINT}, "near": {"path": "/models/near"}},
            },
        )
    )


@pytest.fixture
def inputs(config):
    """The inputs of that configuration; those that are pinned are marked."""
    return Inputs(config, paths("results/small"), pinned=lambda path: f"pinned:{path}")


def test_every_address_is_found_wherever_it_is_and_the_remote_ones_are_fetched(config, inputs):
    every = ["hf:org/llama@abc", "/logs.jsonl", HUB, "gpt.jsonl", "mine.jsonl", "/models/near"]
    assert sorted(addresses_of(config)) == sorted(every)
    assert sorted(inputs.addresses.values()) == sorted(["hf:org/llama@abc", HUB])
    assert inputs.address(SimpleNamespace(address=folder_name(HUB))) == HUB


def test_what_is_fetched_is_pinned_and_what_is_local_may_change(inputs):
    assert inputs.file(HUB) == f"pinned:{located(HUB)}"
    assert located(HUB) == f"downloads/{folder_name(HUB)}"
    assert inputs.file("gpt.jsonl") == located("gpt.jsonl") == "gpt.jsonl"


def test_tasks_are_made_of_a_benchmarks_files_or_of_the_pool_of_the_run(inputs):
    files = inputs.task_files(SimpleNamespace(benchmark="wild"))
    assert files == {"source": f"pinned:{located(HUB)}", "references": ["gpt.jsonl"]}
    assert inputs.task_options("wild", SimpleNamespace(**files)) == ["--reference", "gpt=gpt.jsonl"]
    assert inputs.task_files(SimpleNamespace(benchmark="heldout")) == {"source": "results/small/data/dsat.parquet"}


def test_training_rows_are_kept_apart_from_published_benchmarks_unless_they_come_late(inputs):
    assert inputs.kept_out == {"wild": "results/small/data/benchmarks/wild.parquet"}


def test_a_further_attempt_gets_as_much_again():
    assert [grows(4000)(None, attempt) for attempt in (1, 2, 3)] == [4000, 8000, 12000]


@pytest.mark.parametrize(
    ("resources", "count"),
    [({"gpu": 2}, 2), ({"gres": "gpu"}, 1), ({"gres": "gpu:4"}, 4), ({"gres": "gpu:h100:8"}, 8), ({}, None)],
)
def test_gpus_are_counted_in_either_form_of_the_profile(resources, count):
    assert gpus(resources) == count


def test_a_preflight_job_runs_where_the_rule_runs_and_asks_for_no_more():
    resources = {"slurm_partition": SimpleNamespace(raw="gpu"), "mem_mb": SimpleNamespace(raw=1)}
    assert placement(resources) == {"slurm_partition": "gpu"}


def preflight_of(config):
    places = paths("results/small")
    return Preflight(config, places, Path("/repository"), Iterations(config, places))


def test_the_preflight_counts_what_is_as_large_as_a_policy(config):
    config["training"]["carry"] = "bf16"
    (planned,) = json.loads(preflight_of(config).login([]))["models"].values()
    assert (planned["policies"], planned["remainders"]) == (4, 0)


def test_the_preflight_looks_at_every_address_and_in_jobs_at_local_paths_and_endpoints(config):
    preflight = preflight_of(config)
    login = json.loads(preflight.login(["gpu", "cpu", "gpu,long"]))
    assert login["partitions"] == ["cpu", "gpu", "long"], "one of several, as sbatch takes them, is still one"
    assert login["models"] == {"llama": {"path": "hf:org/llama@abc", "policies": 4, "remainders": 3}}
    assert HUB in login["addresses"]
    assert login["related_judges"] == []
    node = json.loads(preflight.node("gpu")(None, {"gres": "gpu:2"}))
    assert (node["gpus"], node["results"]) == (2, "results/small")
    assert node["lock"] == "/repository/envs/gpu.lock"
    assert "/models/near" in node["paths"]
    assert not any("hf:" in path for path in node["paths"])
    assert node["endpoints"] == {"far": ENDPOINT | {"key": "OPENAI_API_KEY"}}
    assert endpoints_of(config).keys() == {"far"}


def test_without_a_gpu_environment_of_its_own_a_job_is_held_to_the_other_lock(config):
    config["environments"]["gpu"] = config["environments"]["cpu"]
    preflight = preflight_of(config)
    assert json.loads(preflight.node("gpu")(None, {}))["lock"] == "/repository/envs/cpu.lock"


def test_the_repositorys_own_files_count_where_the_working_directory_has_none(tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    for file in (repository / "examples/both.jsonl", repository / "examples/own.jsonl", tmp_path / "run/examples/both.jsonl"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path / "run")
    rows = {
        "path": "examples/own.jsonl",
        "references": {"x": "examples/both.jsonl"},
        "examples": "nowhere.jsonl",
        "kind": "examples",
    }
    placed = {**rows, "path": str(repository / "examples/own.jsonl")}
    assert shipped({"benchmarks": {"b": rows}}, repository) == {"benchmarks": {"b": placed}}
    assert shipped({"path": HUB}, repository) == {"path": HUB}
