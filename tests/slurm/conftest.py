"""A Slurm for the tests, and a snakemake that submits to it."""

import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.conftest import REPOSITORY, SNAKEMAKE, tiny_config
from tests.slurm.cluster import Cluster, missing_packages

_CLUSTERS: list[Cluster] = []
_DRIVERS: list["Driver"] = []


@pytest.fixture(autouse=True)
def _no_jobs_left():
    """What a failed test left, a driver or jobs, must not fail the next."""
    yield
    for driver in [driver for driver in _DRIVERS if driver.cluster in _CLUSTERS]:
        _DRIVERS.remove(driver)
        if driver.process.poll() is None:
            driver.kill()
    for cluster in _CLUSTERS:
        if jobs := [row["id"] for row in queue(cluster)]:
            cluster.run("scancel", *jobs)


def _cluster(*, accounting: bool):
    if os.geteuid() != 0:
        pytest.skip("a private Slurm needs root")
    if missing := missing_packages(accounting=accounting):
        pytest.skip(f"not installed: {' '.join(missing)} (make test-slurm installs them in a container)")
    with Cluster(accounting=accounting) as cluster:
        _CLUSTERS.append(cluster)
        yield cluster
        _CLUSTERS.remove(cluster)


@pytest.fixture(scope="session")
def cluster():
    """A Slurm without an accounting database, where sacct exists but cannot answer."""
    yield from _cluster(accounting=False)


@pytest.fixture(scope="module")
def accounting_cluster():
    """A Slurm with slurmdbd and MariaDB."""
    yield from _cluster(accounting=True)


@pytest.fixture
def survived(record_property):
    """Say of a fault how many seconds passed until work had gone on past it, and what was lost;
    printed at the end."""
    return lambda fault, seconds, lost: record_property("fault", f"{fault:<45} {seconds:>4.0f} s   {lost}")


def pytest_terminal_summary(terminalreporter):
    """The table of faults, as docs/faults.md has it."""
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    if lines := [line for report in passed for name, line in report.user_properties if name == "fault"]:
        terminalreporter.section("faults: seconds until work had gone on past it, and what was lost")
        for line in lines:
            terminalreporter.write_line(line)


def wait_for(condition, seconds: float = 60, what: str = "it", look: float = 0.2):
    """The first true value of `condition()`, asked each `look` seconds; fails where none comes in
    time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds} s"
        time.sleep(look)
    return value


class Driver:
    """A running `snakemake` that submits to a cluster."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str):
        self.cluster, self.log = cluster, folder / f"driver-{time.monotonic_ns()}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [str(SNAKEMAKE), "--directory", str(folder), "--slurm-init-seconds-before-status-checks", "1", *arguments],
                cwd=REPOSITORY,
                env=cluster.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A shell starts what it puts into the background with Ctrl-C ignored, which every
                # child inherits.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        _DRIVERS.append(self)

    def printed(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, once it has ended. Fails, and kills it, where it does not end in
        time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"snakemake did not end in {seconds} s:\n{self.printed()[-4000:]}")

    def succeeds(self, seconds: float = 120) -> str:
        """What it printed, once it has ended well."""
        status = self.wait(seconds)
        assert status == 0, self.printed()[-8000:]
        return self.printed()

    def fails(self, seconds: float = 120) -> str:
        """What it printed, once it has ended with an error."""
        assert self.wait(seconds) != 0, self.printed()[-4000:]
        return self.printed()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, SIGKILL by default."""
        os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()

    def running(self, seconds: float = 60) -> str:
        """Id of its job, once one runs."""
        return self._first("RUNNING", seconds)

    def held(self, seconds: float = 60) -> str:
        """Id of its job, once one waits for its release."""
        return self._first("PENDING", seconds)

    def _first(self, state: str, seconds: float) -> str:
        return wait_for(lambda: [row["id"] for row in queue(self.cluster) if row["state"] == state], seconds, state)[0]


def queue(cluster: Cluster) -> list[dict]:
    """The jobs that wait or run."""
    columns = {"id": "%i", "state": "%T", "node": "%N", "comment": "%k", "name": "%j", "partition": "%P", "reason": "%r"}
    lines = cluster.run("squeue", "--noheader", f"--format={'|'.join(columns.values())}").splitlines()
    return [dict(zip(columns, line.split("|"), strict=True)) for line in lines]


def profile_run(cluster: Cluster, folder: Path, config: dict, *arguments: str, profile: str = "slurm") -> Driver:
    """`snakemake --profile slurm` as a user starts it, with another folder for the results."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    configuration = [f"--configfile={folder / 'config.yaml'}"]
    return Driver(cluster, folder, "--profile", profile, *configuration, *arguments)


def site(tmp_path: Path, edit) -> str:
    """A copy of the shipped profile with its block of site values edited, as a user does."""
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (REPOSITORY / "slurm/config.yaml").read_text()
    edited = edit(text)
    assert edited != text, "the shipped profile reads otherwise"
    (folder / "config.yaml").write_text(edited)
    return str(folder)


@pytest.fixture(scope="session")
def reference(cluster, tiny_model, logs_file, tmp_path_factory):
    """An undisturbed run of the whole DAG through the shipped profile: its folder, its
    configuration, and what the queue showed each second."""
    folder = tmp_path_factory.mktemp("reference")
    config = tiny_config(tiny_model, logs_file) | {"methods": ["drift"], "iterations": 1}
    config["engine"] = {"backend": "vllm", "cpu_cache_gib": 1}
    config["sampling"] |= {"shards": 2}
    # Steps enough for a training to be hit several times; and no more gradients than it takes to
    # see that they are measured.
    config["training"] |= {"warmup_epochs": 2, "diagnostics": {"pairs": 2, "prompts": 2}, "pair_quality": {"pairs": 0}}
    driver = profile_run(cluster, folder, config)
    looks = []
    while driver.process.poll() is None:
        looks.append(queue(cluster))
        time.sleep(1)
    driver.succeeds(1)
    return SimpleNamespace(folder=folder, config=config, looks=looks)
