"""The whole DAG through the shipped profile, on a real Slurm, with real vLLM and TRL: where and as
what its jobs run."""

import json
import re
import time

import pytest

from tests.conftest import tiny_config
from tests.dag.rules import LIGHT
from tests.slurm.conftest import profile_run, site

GPU_STAGES = {"sample", "respond", "judge", "logps", "diagnostics", "train"}


def test_every_policy_is_made_and_scored(reference):
    root = reference.folder / "results/tiny"
    manifests = [json.loads((root / f"tiny/{policy}/policy.json").read_text()) for policy in ("warmup", "drift/seed42/iter1")]
    assert all(manifest["steps_done"] == manifest["steps_planned"] > 0 for manifest in manifests)
    assert (root / "eval/scores.parquet").exists()
    assert (root / "report.html").exists()


def test_stages_run_in_the_partition_that_the_profile_says_and_are_named(reference):
    jobs = {row["id"]: row for look in reference.looks for row in look if row["state"] == "RUNNING"}.values()
    partitions = {row["comment"].removeprefix("rule_").split("_wildcards_")[0]: row["partition"] for row in jobs}
    assert {rule for rule, partition in partitions.items() if partition == "gpu"} == GPU_STAGES
    assert {"turns", "pools"} <= {rule for rule, partition in partitions.items() if partition == "cpu"}
    assert not set(partitions) & LIGHT, "light stages run where snakemake runs"
    assert {row["name"].split("-")[0] for row in jobs} == {"tiny"}, "a job's name begins with the run's"
    assert "rule_train_wildcards_tiny_drift_seed42_iter1" in {row["comment"] for row in jobs}


def test_shards_run_at_once_and_work_spreads_over_two_nodes(reference):
    """Which node a shard gets depends on what else runs: the one with the least to do."""
    running = [[row for row in look if row["state"] == "RUNNING"] for look in reference.looks]
    together = [
        look for look in running if len({row["comment"] for row in look if row["comment"].startswith("rule_sample")}) == 2
    ]
    assert together, "two shards never ran at once"
    assert any({"g1", "g2"} <= {row["node"] for row in look} for look in together)


@pytest.fixture
def small(tmp_path):
    """A configuration with a model and logs that are only there to be looked at."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").write_bytes(b"0" * 1000)
    (tmp_path / "logs.jsonl").write_text("")
    return tiny_config(tmp_path / "model", tmp_path / "logs.jsonl")


def with_gres(text: str) -> str:
    """The profile with the other block of GPU stages: the one in use goes, the one in comments
    comes."""
    text = re.sub(r"  gpu: &gpu .*\n(    .*\n)+", "", text, count=1)
    return re.sub(r"^  # (gpu: &gpu|  \S)", r"  \1", text, flags=re.MULTILINE)


@pytest.mark.parametrize("form", ["gpu", "gres"])
def test_preflight_finds_as_many_gpus_as_asked(cluster, small, tmp_path, form):
    edits = {
        "gpu": lambda text: text.replace("    cpus_per_task: 16\n", "    cpus_per_task: 16\n    gpu: 2\n"),
        "gres": lambda text: with_gres(text).replace(
            "    cpus_per_task: 16\n", "    cpus_per_task: 16\n    gres: gpu:h100:2\n"
        ),
    }
    driver = profile_run(cluster, tmp_path, small, "preflight", profile=site(tmp_path, edits[form]))
    printed = driver.succeeds()
    assert "\nready\n" in printed
    lines = printed[printed.index("\nlogin\n") :]
    assert re.search(r"^generate\n(.+\n)*?  ok +GPUs given: 1 \([01]\)$", lines, re.MULTILINE), lines
    assert re.search(r"^train\n(.+\n)*?  ok +GPUs given: 2 \(0,1\)$", lines, re.MULTILINE), lines
    assert "FAIL" not in lines


def test_preflight_submits_nothing_to_a_partition_that_is_not_there(cluster, small, tmp_path):
    profile = site(tmp_path, lambda text: text.replace("slurm_partition: gpu\n", "slurm_partition: gpus\n", 1))
    printed = profile_run(cluster, tmp_path, small, "preflight", profile=profile).fails()
    assert "FAIL  partitions: there is no partition gpus; there are: cpu, gpu, gpu-spot, gpu-high" in printed
    assert "has been submitted" not in printed


def test_preflight_names_what_nodes_lack(cluster, small, tmp_path):
    small["environments"]["gpu"] = str(tmp_path / "nowhere/python")
    small["data"]["sources"]["chats"]["path"] = str(tmp_path / "moved.jsonl")
    printed = profile_run(cluster, tmp_path, small, "preflight").fails()
    assert f"{tmp_path}/nowhere/python does not run here" in printed
    assert f"{tmp_path}/moved.jsonl does not exist: fix its path" in printed
    assert f"this node does not see {tmp_path}/moved.jsonl" in printed


def test_a_stage_that_raises_is_tried_thrice_with_more_and_its_log_is_shown(cluster, small, tmp_path, survived):
    (tmp_path / "logs.jsonl").write_text("no JSON\n")
    began = time.monotonic()
    driver = profile_run(cluster, tmp_path, small, "results/tiny/data/turns.parquet")
    printed = driver.fails()
    survived("stage raises: its third log is shown", time.monotonic() - began, "that job")
    jobs = re.findall(r"submitted with SLURM jobid (\d+)", printed)
    fields = [cluster.run("scontrol", "show", "job", job) for job in jobs]
    asked = [[re.search(rf"{name}=(\S+)", text)[1] for name in ("MinMemoryNode", "TimeLimit")] for text in fields]
    assert asked == [["8000M", "01:00:00"], ["16000M", "02:00:00"], ["24000M", "03:00:00"]]
    assert printed.count("Slurm job") == 3
    assert "no exchange in 1 records" in printed, "the stage's own words"
