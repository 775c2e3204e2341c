"""What jobs asked for and used: the figures of a run that is done, beside those of the profile."""

import json
import shutil
import subprocess

import pytest
import yaml

import usage
from drift.workflow.dry_run import Job
from tests.conftest import REPOSITORY, SNAKEMAKE


def measure(folder, rule, *rows):
    path = folder / rule / "tiny/all.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(dict(zip(("s", "max_rss", "cpu_time"), row, strict=True))) + "\n" for row in rows))


def job(rule, resources, threads=1):
    return Job(rule, {"output": rule, "resources": resources, "threads": str(threads)})


@pytest.fixture
def found(tmp_path):
    measure(tmp_path, "train", (3000, 30_000, 5000), (600, 20_000, 600))
    measure(tmp_path, "pools", (30, 7_500, 30), (40, 7_000, 45))
    measure(tmp_path, "respond", (1200, 20_000, 300))
    measure(tmp_path, "pairs", (5, 200, 2))
    measure(tmp_path, "tasks", (0.1, "NA", 0.1))
    (tmp_path / "pools/killed.jsonl").write_text('{"s": 4.0, "max_')
    jobs = [
        job("train", "mem_mb=128000, runtime=480, gpu=1, cpus_per_task=16", 8),
        job("pools", "mem_mb=8000, runtime=60", 2),
        job("respond", "mem_mb=64000, runtime=40, cpus_per_task=8", 8),
        job("respond", "mem_mb=32000, runtime=20, cpus_per_task=8", 8),
        job("pairs", "mem_mb=4000, runtime=30, light=1"),
    ]
    return {one.rule: one for one in usage.usages(usage.used(tmp_path), jobs)}


def test_the_most_that_jobs_of_a_rule_used_stands_beside_what_the_profile_gives(found):
    assert list(found) == ["train", "respond", "pools"], "the longest first; a light stage is not submitted"
    train, pools = found["train"], found["pools"]
    assert (train.jobs, train.asked_mb, train.used_mb) == (2, 128_000, 30_000)
    assert (train.asked_minutes, train.used_minutes) == (480, 50)
    assert (train.asked_cpus, train.used_cpus) == (16, 5600 / 3600)
    assert (pools.jobs, pools.asked_cpus) == (2, 2), "what a killed job left is passed over"


def test_what_was_far_too_much_or_hardly_enough_is_asked_for_otherwise_next_time(found):
    assert found["train"].wanted == {"mem_mb": 46_000}, "a training stops itself before its time"
    assert found["pools"].wanted == {"mem_mb": 12_000, "runtime": 10}, "97 % of the memory, 1 % of the time"
    assert found["respond"].wanted == {}, "between a quarter and four fifths of both"
    lines = usage.text(list(found.values())).splitlines()
    assert "  pools: {mem_mb: 12000 * attempt, runtime: 10 * attempt}" in lines
    assert not any(line.startswith("  respond:") for line in lines)


def test_the_lines_for_the_profile_can_be_put_into_it(found):
    lines = usage.text(list(found.values())).split("for set-resources of the profile:\n")[1]
    assert yaml.safe_load(lines) == {
        "train": {"mem_mb": "46000 * attempt"},
        "pools": {"mem_mb": "12000 * attempt", "runtime": "10 * attempt"},
    }


def test_the_program_reads_what_the_profile_gives(tmp_path):
    measure(tmp_path / "timings", "train", (3000, 30_000, 5000))
    command = [SNAKEMAKE.parent / "python", REPOSITORY / "tools/usage.py", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    asked = yaml.safe_load((REPOSITORY / "slurm/config.yaml").read_text())["set-resources"]["train"]
    (row,) = [line.split() for line in done.stdout.splitlines() if line.startswith("train ")]
    assert row[:3] == ["train", "1", f"{int(asked['mem_mb'].split()[0]):,}"]
    shutil.rmtree(tmp_path / "timings")
    failed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "has nothing that was measured" in failed.stderr
