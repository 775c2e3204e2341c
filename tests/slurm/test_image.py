"""An environment as one file: its Python in a Slurm job, and what is left when the job ends."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.slurm.conftest import queue, wait_for

RUN = REPOSITORY / "envs/python-of-image"
NEEDED = ("mksquashfs", "squashfuse", "unshare", "setpriv", "mountpoint")

# Says that it runs, where from, and when it is told to stop.
PROGRAM = """
import pathlib, signal, sys, time
said = pathlib.Path(sys.argv[1])
def stop(*_):
    said.write_text(said.read_text() + " stopped")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
said.write_text(sys.prefix)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A small environment as one file, and the empty folder where it was built."""
    if missing := [program for program in NEEDED if not shutil.which(program)]:
        pytest.skip(f"not installed: {' '.join(missing)} (make test-slurm installs them in a container)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("/dev/fuse cannot be opened here")
    folder = tmp_path_factory.mktemp("environments") / "tiny"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    subprocess.run(
        ["mksquashfs", folder, f"{folder}.squashfs", "-quiet", "-no-progress"], check=True, stdout=subprocess.DEVNULL
    )
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def left(environment: Path) -> bool:
    """Whether a process still serves the image."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{environment}.squashfs" in entry.read_text():
                return True
        except OSError:
            continue
    return False


def test_its_python_runs_where_it_was_built_and_nothing_is_left(environment):
    command = [RUN, environment, "-c", "import sys; print(sys.prefix); sys.exit(7)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, str(environment)), done.stderr
    wait_for(lambda: not left(environment), 10, "the end of what serves the image")
    assert not list(environment.iterdir()), "mounted for that process alone"


def test_two_processes_share_a_node_and_not_a_mount(environment):
    first = subprocess.Popen([RUN, environment, "-c", "import time; time.sleep(60)"])
    wait_for(lambda: left(environment), 10, "the first mount")
    command = [RUN, environment, "-c", "import json; print(json.dumps(1))"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
    assert first.poll() is None
    first.terminate()
    assert first.wait(10) == -15, "Python has no handler: the signal ended it"


def test_a_missing_image_is_named(tmp_path):
    done = subprocess.run([RUN, tmp_path / "gpu", "-c", ""], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/gpu.squashfs is not there: make image-gpu\n"


def test_a_cancelled_job_tells_its_program_to_stop(cluster, environment, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    said = tmp_path / "said"
    step = f"srun {RUN} {environment} {tmp_path}/program.py {said}"
    job = cluster.run("sbatch", "--parsable", f"--output={tmp_path}/log", f"--wrap={step}").strip()
    wait_for(said.exists, 60, "the program in the job")
    cluster.run("scancel", job)
    wait_for(lambda: job not in {row["id"] for row in queue(cluster)}, 60, "the end of the job")
    assert said.read_text() == f"{environment} stopped"
    wait_for(lambda: not left(environment), 10, "the end of what serves the image")
