"""The cases in which the Slurm plugin by itself waits for ever: each ends, with the right result or
with an error."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import REPOSITORY
from tests.slurm.cluster import NODES, Cluster
from tests.slurm.conftest import Driver, queue, wait_for

WORK = ["--snakefile", "tests/slurm/guard.smk", "--executor", "slurm", "--jobs", "4", "--nolock", "--rerun-incomplete"]


def work(cluster, folder, *arguments, seconds=4, targets=("a.txt",)):
    """Run jobs that last `seconds`."""
    config = [f"scripts={REPOSITORY / 'scripts'}", f"seconds={seconds}"]
    return Driver(cluster, folder, *WORK, *arguments, "--config", *config, "--", *targets)


def forget_jobs(cluster):
    """Slurm loses every record of jobs, as a purge after MinJobAge does."""
    cluster.stop("slurmctld")
    for path in cluster.folder.glob("state/job_state*"):
        path.unlink()
    cluster.start("slurmctld")
    # Ids begin anew, and a node takes no job whose id it has just ended.
    for node in NODES:
        cluster.stop(node)
        cluster.start(node)


@pytest.fixture(scope="module", autouse=True)
def outage(cluster, tmp_path_factory):
    """A minute without a controller, on a Slurm of its own, beside the other tests: what came of
    it."""

    def happens(private, folder):
        driver = work(private, folder, seconds=75)
        driver.running()
        started = time.monotonic()
        # A controller saves jobs up to 6 s late; killed before that, it starts this one anew.
        time.sleep(8)
        private.stop("slurmctld")
        time.sleep(60)
        assert driver.process.poll() is None
        private.start("slurmctld")
        return driver.succeeds(120), time.monotonic() - started - 75

    with Cluster() as private, ThreadPoolExecutor(1) as pool:
        yield pool.submit(happens, private, tmp_path_factory.mktemp("outage"))


def test_accounting_switched_off(cluster, tmp_path):
    driver = work(cluster, tmp_path, seconds=1)
    driver.succeeds(60)
    assert (tmp_path / "a.txt").exists()


def test_cancelled_under_accounting_is_an_error_and_is_submitted_again(accounting_cluster, tmp_path, survived):
    driver = work(accounting_cluster, tmp_path, "--retries", "1")
    first = driver.running()
    began = time.monotonic()
    accounting_cluster.run("scancel", first)
    printed = driver.succeeds(90)
    survived("scancel under accounting, a 4 s job", time.monotonic() - began, "that job")
    assert f"Slurm job {first} is CANCELLED: somebody cancelled it" in printed
    assert (tmp_path / "a.txt").read_text().strip() != first


def test_preempted_where_preemption_cancels(cluster, tmp_path, survived):
    driver = work(cluster, tmp_path, "--retries", "1", "--default-resources", "slurm_partition=gpu-spot", "gpu=2")
    first = driver.running()
    began = time.monotonic()
    cluster.run("sbatch", "-p", "gpu-high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    printed = driver.succeeds(120)
    survived("preemption that cancels, patience cut to 5 s", time.monotonic() - began, "that job")
    assert f"Slurm job {first} is PREEMPTED" in printed


def test_database_away_while_jobs_run(accounting_cluster, tmp_path, survived):
    driver = work(accounting_cluster, tmp_path, seconds=8)
    driver.running()
    began = time.monotonic()
    accounting_cluster.stop("slurmdbd")
    driver.succeeds(90)
    survived("accounting database down, an 8 s job", time.monotonic() - began, "nothing")
    accounting_cluster.start("slurmdbd")


def test_record_gone_without_accounting_is_an_error(cluster, tmp_path, survived):
    driver = work(cluster, tmp_path, "--retries", "1")
    first = driver.running()
    began = time.monotonic()
    forget_jobs(cluster)
    printed = driver.succeeds(120)
    survived("job forgotten, no database, patience 5 s", time.monotonic() - began, "that job")
    assert f"Slurm job {first} is UNKNOWN" in printed


def test_record_gone_from_the_controller_is_found_in_the_database(accounting_cluster, tmp_path):
    driver = work(accounting_cluster, tmp_path, seconds=2)
    driver.running()
    driver.kill(signal.SIGSTOP)
    wait_for(lambda: not queue(accounting_cluster), what="the job's end")
    wait_for(lambda: "COMPLETED" in accounting_cluster.run("sacct", "-X", "-n", "-o", "state").split()[-1:], what="its record")
    forget_jobs(accounting_cluster)
    driver.kill(signal.SIGCONT)
    assert "UNKNOWN" not in driver.succeeds(60)


def test_a_held_job_is_told_of(cluster, tmp_path):
    driver = work(cluster, tmp_path, "--default-resources", "slurm_extra='--hold'", seconds=0)
    printed = wait_for(lambda: "scontrol release" in driver.printed() and driver.printed(), what="a warning")
    (held,) = queue(cluster)
    assert f"Slurm job {held['id']} will not start by itself: JobHeldUser" in printed
    cluster.run("scontrol", "release", held["id"])
    driver.succeeds(60)


def test_interrupting_the_driver_cancels_every_job(cluster, tmp_path):
    driver = work(cluster, tmp_path, seconds=100, targets=("a.txt", "b.txt", "c.txt"))
    driver.running()
    driver.kill(signal.SIGINT)
    driver.fails(60)
    wait_for(lambda: not queue(cluster), 20, "the jobs' end")


def test_a_second_driver_and_one_after_a_killed_driver_submit_nothing(cluster, tmp_path, survived):
    driver = work(cluster, tmp_path, seconds=20)
    first = driver.running()
    began = time.monotonic()
    printed = work(cluster, tmp_path).fails(60)
    survived("two drivers: the second is refused", time.monotonic() - began, "nothing")
    assert f"process {driver.process.pid} on" in printed
    assert len(queue(cluster)) == 1

    driver.kill()
    printed = work(cluster, tmp_path).fails(60)
    assert f"{first}  RUNNING  rule_work" in printed
    assert f"scancel {first}" in printed
    assert len(queue(cluster)) == 1

    cluster.run("scancel", first)
    wait_for(lambda: not queue(cluster), 20, "the job's end")
    work(cluster, tmp_path, seconds=0).succeeds(60)
    assert (tmp_path / "a.txt").read_text().strip() != first


def test_controller_away_for_a_minute(outage, survived):
    printed, late = outage.result()
    assert "Slurm does not answer" in printed
    assert "Slurm answers again" in printed
    survived("controller down for a minute: how late", late, "nothing")
