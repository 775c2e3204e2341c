"""Faults in the middle of real work: what is lost, what it takes to go on, and that the result is
that of an undisturbed run.

Each test starts from the undisturbed run without its warm-up policy, or without its samples, and
makes them again through a fault.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.conftest import profile_run, queue, site, wait_for

WARMUP = "results/tiny/tiny/warmup"
POLICY = f"{WARMUP}/policy.json"
PAIRS = "results/tiny/tiny/drift/seed42/iter1/pairs.parquet"


def copy_of(reference, folder: Path) -> tuple[Path, dict]:
    """A copy of the undisturbed run, and its configuration with a checkpoint after every step."""
    shutil.copytree(reference.folder, folder)
    return folder, reference.config | {"training": reference.config["training"] | {"checkpoint_steps": 1}}


@pytest.fixture
def run(reference, tmp_path):
    return copy_of(reference, tmp_path / "run")


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
    assert not list(state.glob("*")), "checkpoints and locks are gone"


def process(folder: Path, program: str, *shard: str) -> int | None:
    """Id of the process that runs a stage's program in this folder, on the shard `I`, `N` if
    given."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\0")
            mine = len(words) > 1 and words[1].endswith(program) and Path(os.readlink(entry / "cwd")) == folder
            if mine and "\0".join(("", "--shard", *shard, "")) in "\0".join(words) if shard else mine:
                return int(entry.name)
        except OSError:
            continue
    return None


def checkpoint(folder: Path) -> int:
    """Steps of the newest complete checkpoint of the warm-up; 0 for none."""
    written = folder.glob("results/tiny/state/train-*/checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.split("-")[1]) for path in written), default=0)


def began_at(folder: Path) -> int | None:
    """The step from which the last training of the warm-up went on, as its log says; None where it
    has not come to that."""
    log = folder / "results/tiny/logs/train/tiny/warmup.log"
    found = re.search(r"train: .*?\| (\d+)/\d+", log.read_text() if log.exists() else "")
    return found and int(found[1])


def frozen(folder: Path, before: int | None = None) -> int:
    """Wait until a training, another one than the process `before`, has added a checkpoint, and
    freeze it there; its id.

    Slurm sends SIGCONT before it ends a job, so that only what is to go on undisturbed has to be
    woken.
    """

    def another():
        return (pid := process(folder, "scripts/train.py")) != before and pid

    def stepping():
        return (began := began_at(folder)) is not None and checkpoint(folder) > began and another()

    wait_for(another, 180, "another attempt")
    time.sleep(1)  # by now its log is its own
    pid = wait_for(stepping, 180, "a training that makes progress", look=0.02)
    os.kill(pid, signal.SIGSTOP)
    return pid


def strike(folder: Path, fault: str, survived, pid: int, action) -> int:
    """Let a fault hit the frozen training `pid`, and freeze the next one once it has added a
    checkpoint; its id."""
    reached, began = checkpoint(folder), time.monotonic()
    action(pid)
    pid = frozen(folder, pid)
    lost = max(0, reached - began_at(folder))
    survived(fault, time.monotonic() - began, f"{lost} finished steps")
    assert lost == 0, f"{fault}: {reached} steps had a checkpoint, the next attempt began at {began_at(folder)}"
    return pid


def this_job(cluster) -> dict:
    """The one job in the queue."""
    (row,) = [row for row in queue(cluster) if row["partition"] == "gpu"]
    return row


def test_a_training_goes_on_in_another_job(cluster, reference, run, tmp_path, survived):
    """Too little memory, SIGKILL, scancel, Slurm's time limit: the profile's retries submit it
    again."""
    folder, config = run
    without_policy(folder)
    # More attempts than the profile has; and a first one without enough memory.
    little = site(tmp_path, lambda text: text.replace("mem_mb: 128000 * attempt", "mem_mb: 600 * attempt ** 2"))
    began = time.monotonic()
    driver = profile_run(cluster, folder, config, "--retries", "6", POLICY, profile=little)

    def reach_limit(_):
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 2))
        cluster.run("scontrol", "update", f"jobid={this_job(cluster)['id']}", f"EndTime={end}")

    wait_for(lambda: "Trying to restart job" in driver.printed(), 180, "an end for want of memory")
    pid = frozen(folder)
    survived("out of memory, then with more", time.monotonic() - began, "the first attempt")
    pid = strike(folder, "SIGKILL in mid-training", survived, pid, lambda pid: os.kill(pid, signal.SIGKILL))
    pid = strike(folder, "scancel", survived, pid, lambda _: cluster.run("scancel", this_job(cluster)["id"]))
    pid = strike(folder, "Slurm's time limit in training", survived, pid, reach_limit)
    os.kill(pid, signal.SIGCONT)
    printed = driver.succeeds(300)
    assert "OUT_OF_MEMORY: it used more memory than mem_mb" in printed
    assert "CANCELLED: somebody cancelled it" in printed
    assert "TIMEOUT: it reached the time limit" in printed
    assert "as the job was asked to end (SIGTERM); a checkpoint is in" in printed
    assert_same(reference, folder)


def requeued(cluster, reference, folder: Path, survived) -> None:
    """A preemption and a lost node: the same job starts anew, once its old credential has
    expired."""
    run, config = copy_of(reference, folder / "run")
    without_policy(run)
    driver = profile_run(cluster, run, config, POLICY)

    def preempt(_):
        cluster.run("sbatch", "-p", "gpu-high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")

    def lose_node(_):
        cluster.run("scontrol", "update", f"nodename={this_job(cluster)['node']}", "state=down", "reason=test")

    pid = frozen(run)
    job = this_job(cluster)["id"]
    pid = strike(run, "preemption that requeues (15 s of them Slurm's)", survived, pid, preempt)
    pid = strike(run, "node lost (15 s of them Slurm's)", survived, pid, lose_node)
    assert this_job(cluster)["id"] == job
    os.kill(pid, signal.SIGCONT)
    driver.succeeds(300)
    assert_same(reference, run)


def stopped_by_itself(cluster, reference, folder: Path, survived) -> None:
    """A training whose profile gives it two minutes ends before that, with a checkpoint, and goes
    on in the next job. On a busy machine it needs most of the first one to start."""
    run, config = copy_of(reference, folder / "run")
    without_policy(run)
    short = site(folder, lambda text: text.replace("runtime: 480 ", "runtime: 2 "))
    driver = profile_run(cluster, run, config, "--retries", "6", POLICY, profile=short)

    def oversleep(pid):
        # Slurm's own limit is not to come first, as it may where a job has but two minutes.
        cluster.run("scontrol", "update", f"jobid={this_job(cluster)['id']}", "TimeLimit=30")
        time.sleep(114)
        os.kill(pid, signal.SIGCONT)

    pid = strike(run, "its own deadline (114 s of them waiting for it)", survived, frozen(run), oversleep)
    os.kill(pid, signal.SIGCONT)
    assert "as the job's time limit is near; a checkpoint is in" in driver.succeeds(300)
    assert_same(reference, run)


@pytest.fixture(scope="module", autouse=True)
def beside(reference, tmp_path_factory):
    """Faults that mostly wait, on a Slurm of their own beside the other tests: what came of them,
    by name."""

    def outcome(cluster, scenario):
        rows = []
        scenario(cluster, reference, tmp_path_factory.mktemp(scenario.__name__), lambda *row: rows.append(row))
        return rows

    with Cluster() as cluster, ThreadPoolExecutor(1) as pool:
        yield {scenario.__name__: pool.submit(outcome, cluster, scenario) for scenario in (stopped_by_itself, requeued)}


def test_a_driver_that_is_interrupted_or_killed_goes_on_with_the_same_command(cluster, reference, run, survived):
    folder, config = run
    without_policy(folder)
    driver = profile_run(cluster, folder, config, POLICY)

    def interrupt(_):
        driver.kill(signal.SIGINT)
        driver.fails(60)
        wait_for(lambda: not queue(cluster), 60, "the jobs' end")
        again.append(profile_run(cluster, folder, config, POLICY))

    again = []
    pid = strike(folder, "Ctrl-C, same command", survived, frozen(folder), interrupt)

    began, reached = time.monotonic(), checkpoint(folder)
    again[0].kill()
    job = this_job(cluster)["id"]
    printed = profile_run(cluster, folder, config, POLICY).fails()
    assert f"{job}  RUNNING  rule_train_wildcards_tiny_warmup" in printed
    # Nor may a twin that is no driver's: Slurm requeues a job whose node's slurmd died, while its
    # old step still runs.
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    twin = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert twin.returncode != 0
    assert "training tiny/warmup: already done by root" in twin.stderr
    assert checkpoint(folder) == reached
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not queue(cluster), 180, "the job's end")
    assert "Nothing to be done" in profile_run(cluster, folder, config, POLICY).succeeds()
    survived("driver killed; refused until its job ended", time.monotonic() - began, "nothing")
    assert_same(reference, folder)


def test_results_that_were_moved_are_still_done(cluster, reference, run, tmp_path, survived):
    folder, _ = run
    moved = folder.rename(tmp_path / "moved")
    began = time.monotonic()
    assert "Nothing to be done" in profile_run(cluster, moved, reference.config).succeeds()
    survived("results folder moved, same command there", time.monotonic() - began, "nothing")


def test_killed_sampling_loses_its_shard_alone(cluster, reference, run, survived):
    folder, config = run
    shutil.rmtree((folder / PAIRS).parent / "completions")
    (folder / PAIRS).unlink()
    log = folder / "results/tiny/logs/sample/tiny/drift/seed42/iter1/1-of-2.log"
    log.unlink()
    driver = profile_run(cluster, folder, config, PAIRS)
    wait_for(lambda: log.exists() and "Processed prompts" in log.read_text(), 180, "sampling", look=0.02)
    began = time.monotonic()
    os.kill(process(folder, "scripts/generate.py", "1", "2"), signal.SIGKILL)
    printed = driver.succeeds(400)
    assert len(re.findall(r"submitted with SLURM jobid", printed)) == 3, "two shards, one of them again; pairs are made here"
    survived("SIGKILL in mid-sampling", time.monotonic() - began, "1 of 2 shards")
    for path in [PAIRS, *(f"results/tiny/tiny/drift/seed42/iter1/completions/{i}-of-2.parquet" for i in (1, 2))]:
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


def test_a_full_disk_is_named_and_the_same_command_goes_on(cluster, reference, run, small_disk, survived):
    folder, config = run
    without_policy(folder)
    disk, enlarge = small_disk
    (folder / "results/tiny/state").rmdir()
    (folder / "results/tiny/state").symlink_to(disk)
    printed = profile_run(cluster, folder, config, "--retries", "0", POLICY).fails(200)
    assert "the disk is full" in printed
    enlarge()
    began = time.monotonic()
    profile_run(cluster, folder, config, POLICY).succeeds(200)
    survived("disk full; freed, same command", time.monotonic() - began, "steps since the last checkpoint that fitted")
    assert_same(reference, folder)


@pytest.mark.parametrize("scenario", [stopped_by_itself, requeued])
def test_a_training_goes_on(beside, survived, scenario):
    for row in beside[scenario.__name__].result():
        survived(*row)
