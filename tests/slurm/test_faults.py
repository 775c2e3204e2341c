"""Faults in the middle of real work: what is lost, what it takes to go on, and that the result is that of an undisturbed run.

Each test starts from the undisturbed run without its warm-up policy, or without its samples, and makes them again through a
fault. `record_property` keeps how long it took.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.slurm.conftest import profile_run, queue, site, wait_for

WARMUP = "results/tiny/tiny/warmup"
POLICY = f"{WARMUP}/policy.json"
PAIRS = "results/tiny/tiny/drift/iter1/pairs.parquet"


@pytest.fixture
def run(reference, tmp_path):
    """A copy of the undisturbed run, and its configuration with a checkpoint after every step."""
    folder = tmp_path / "run"
    shutil.copytree(reference.folder, folder)
    training = reference.config["training"] | {"checkpoint_steps": 1}
    return folder, reference.config | {"training": training}


def without_policy(folder):
    shutil.rmtree(folder / WARMUP / "policy")
    (folder / POLICY).unlink()


def assert_same(reference, folder):
    """The policy and its tables are those of the undisturbed run."""
    ours, theirs = (json.loads((root / POLICY).read_text()) for root in (folder, reference.folder))
    assert ours["weights_sha256"] == theirs["weights_sha256"]
    for table in ("pairs", "reference"):
        path = f"{WARMUP}/{table}.parquet"
        assert (folder / path).read_bytes() == (reference.folder / path).read_bytes(), table
    state = folder / "results/tiny/state"
    assert {path.name for path in state.glob("*")} <= {"driver.lock"}, "checkpoints and locks are gone"


def process(folder: Path, program: str, job: str | None = None) -> int | None:
    """Id of the process that runs a stage's program in this folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\0")
            mine = len(words) > 1 and words[1].endswith(program) and Path(os.readlink(entry / "cwd")) == folder
            if mine and (job is None or f"SLURM_JOB_ID={job}\0" in (entry / "environ").read_text()):
                return int(entry.name)
        except OSError:
            continue
    return None


def command_lines() -> list[str]:
    """The command lines of all processes."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(entry.read_text())
    return lines


def checkpoint(folder: Path) -> int:
    """Steps of the newest complete checkpoint of the warm-up; 0 for none."""
    written = folder.glob("results/tiny/state/train-*/checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.split("-")[1]) for path in written), default=0)


def after_steps(folder: Path, steps: int) -> int:
    """Wait until the training has a checkpoint of that many steps or more, and freeze its process; that one's id.

    Slurm sends SIGCONT before it ends a job, so that only what is to go on undisturbed has to be woken by the test.
    """
    pid = wait_for(
        lambda: checkpoint(folder) >= steps and process(folder, "scripts/train.py"), 180, f"a training with {steps} steps"
    )
    os.kill(pid, signal.SIGSTOP)
    return pid


def began_at(folder: Path) -> int:
    """The step from which the last training of the warm-up went on, from its log."""
    return int(re.search(r"train: .*?\| (\d+)/\d+", (folder / "results/tiny/logs/train/tiny/warmup.log").read_text())[1])


def test_one_training_through_many_faults(cluster, reference, run, tmp_path, record_property):
    """Too little memory, SIGKILL, scancel, preemption, a lost node, the time limit: each costs the steps since a checkpoint."""
    folder, config = run
    without_policy(folder)
    # More attempts than the profile has; and a first one without enough memory.
    little = site(tmp_path, lambda text: text.replace("mem_mb: 128000 * attempt", "mem_mb: 600 * attempt"))
    driver = profile_run(cluster, folder, config, "--retries", "6", POLICY, profile=little)
    lost = {}

    def fault(name: str, steps: int, strike) -> None:
        pid = after_steps(folder, steps)
        began, reached = time.monotonic(), checkpoint(folder)
        strike(pid)
        wait_for(lambda: release() or process(folder, "scripts/train.py") not in (None, pid), 180, "another attempt")
        wait_for(lambda: checkpoint(folder) > reached, 180, "progress")
        lost[name] = f"{time.monotonic() - began:.0f} s"

    def release() -> None:
        """Started earlier than Slurm would have it, a job may meet its old self on the node and is held."""
        for row in queue(cluster):
            if "held" in row["reason"]:
                cluster.run("scontrol", "release", row["id"])

    def start_now(job: str) -> None:
        """A requeued job waits two minutes, in which its old step ends; an administrator's word spares the test that."""
        steps = f"slurmstepd: [{job}."
        wait_for(lambda: not any(words.startswith(steps) for words in command_lines()), 60, "the old step's end")
        wait_for(lambda: [row for row in queue(cluster) if row["id"] == job and row["state"] == "PENDING"], 60, "a requeue")
        cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")

    def preempt(_):
        (job,) = [row["id"] for row in queue(cluster)]
        cluster.run("sbatch", "-p", "gpu-high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
        start_now(job)

    def lose_node(_):
        ((job, node),) = [(row["id"], row["node"]) for row in queue(cluster)]
        cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        start_now(job)

    def reach_limit(_):
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 2))
        cluster.run("scontrol", "update", f"jobid={queue(cluster)[0]['id']}", f"EndTime={end}")

    fault("SIGKILL", 1, lambda pid: os.kill(pid, signal.SIGKILL))
    fault("scancel", 2, lambda _: cluster.run("scancel", queue(cluster)[0]["id"]))
    fault("preemption", 3, preempt)
    fault("node lost", 4, lose_node)
    fault("time limit", 5, reach_limit)
    printed = driver.succeeds(400)
    record_property("lost", lost)
    print(lost)
    assert "OUT_OF_MEMORY" in printed or "Exceeded job memory limit" in printed
    assert "CANCELLED: somebody cancelled it" in printed
    assert "TIMEOUT: it reached the time limit" in printed
    assert "as the job was asked to end (SIGTERM); a checkpoint is in" in printed
    assert began_at(folder) >= 5
    assert_same(reference, folder)


def test_a_driver_that_is_interrupted_or_killed_goes_on_with_the_same_command(cluster, reference, run):
    folder, config = run
    without_policy(folder)
    driver = profile_run(cluster, folder, config, POLICY)
    after_steps(folder, 1)
    driver.kill(signal.SIGINT)
    driver.fails(60)
    wait_for(lambda: not queue(cluster), 30, "the jobs' end")

    driver = profile_run(cluster, folder, config, POLICY)
    pid = after_steps(folder, 2)
    driver.kill()
    (job,) = [row["id"] for row in queue(cluster)]
    printed = profile_run(cluster, folder, config, POLICY).fails()
    assert f"{job}  RUNNING  rule_train_wildcards_tiny_warmup" in printed
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not queue(cluster), 180, "the job's end")
    assert began_at(folder) >= 1
    assert "Nothing to be done" in profile_run(cluster, folder, config, POLICY).succeeds()
    assert_same(reference, folder)


def test_results_that_were_moved_are_still_done(cluster, reference, run, tmp_path):
    folder, _ = run
    moved = folder.rename(tmp_path / "moved")
    assert "Nothing to be done" in profile_run(cluster, moved, reference.config).succeeds()


def test_a_twin_of_a_training_is_refused(cluster, reference, run):
    """As after a node's slurmd died and Slurm requeued the job, while its old step still runs."""
    folder, config = run
    without_policy(folder)
    driver = profile_run(cluster, folder, config, POLICY)
    pid = after_steps(folder, 1)
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    twin = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert twin.returncode != 0
    assert "training tiny/warmup: already done by root" in twin.stderr
    os.kill(pid, signal.SIGCONT)
    driver.succeeds(200)
    assert_same(reference, folder)


def test_killed_sampling_loses_its_shard_alone(cluster, reference, run):
    folder, config = run
    shutil.rmtree((folder / PAIRS).parent / "completions")
    (folder / PAIRS).unlink()
    driver = profile_run(cluster, folder, config, PAIRS)
    both = wait_for(lambda: len([row for row in queue(cluster) if row["state"] == "RUNNING"]) == 2, 60, "both shards")
    assert both
    pid = wait_for(lambda: process(folder, "scripts/generate.py"), 60, "sampling")
    log = "results/tiny/logs/sample/tiny/drift/iter1"
    wait_for(lambda: any("Engine" in path.read_text() for path in (folder / log).glob("*.log")), 180, "an engine")
    os.kill(pid, signal.SIGKILL)
    printed = driver.succeeds(400)
    assert len(re.findall(r"submitted with SLURM jobid", printed)) == 4, "two shards, one of them again, and the pairs"
    for path in [PAIRS, *(f"results/tiny/tiny/drift/iter1/completions/{i}-of-2.parquet" for i in (1, 2))]:
        assert (folder / path).read_bytes() == (reference.folder / path).read_bytes(), path


@pytest.fixture
def small_disk(tmp_path):
    """A file system that a checkpoint does not fit on, and how to make it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "drift", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    mount("size=40m")
    yield folder, lambda: mount("remount,size=400m")
    subprocess.run(["umount", folder], check=False)


def test_a_full_disk_is_named_and_the_same_command_goes_on(cluster, reference, run, small_disk):
    folder, config = run
    without_policy(folder)
    disk, enlarge = small_disk
    (folder / "results/tiny/state").rmdir()
    (folder / "results/tiny/state").symlink_to(disk)
    printed = profile_run(cluster, folder, config, "--retries", "0", POLICY).fails(200)
    assert "the disk is full" in printed
    enlarge()
    profile_run(cluster, folder, config, POLICY).succeeds(200)
    assert_same(reference, folder)
