"""The locked environments: what pip may install, what the GPU one must have, and what its programs
find in it."""

import os
import re
import shutil
import subprocess

import pytest

import check_gpu_environment
import lock_hashes
from drift.cli import StageError
from drift.workflow.environments import with_tools
from tests.conftest import REPOSITORY

LOCKS = sorted((REPOSITORY / "envs").glob("*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_locked_package_has_the_hashes_of_its_files(lock):
    text = lock.read_text()
    names = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    hashed = re.findall(r"^([\w.-]+)==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert names == hashed, "run make hashes"


def test_hashes_are_written_into_a_lock_and_again_into_it_and_its_comments_stay():
    lock = "# made by a program\nfirst==1.0\n    # via -r a.in\nsecond-part==2.0.post1\n"
    hashed = "first==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nsecond-part==2.0.post1 \\\n    --hash=sha256:cc\n"
    assert lock_hashes.pins(lock) == ["first==1.0", "second-part==2.0.post1"]
    once = lock_hashes.with_hashes(lock, hashed)
    assert once == (
        "# made by a program\nfirst==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via -r a.in\n"
        "second-part==2.0.post1 \\\n    --hash=sha256:cc\n"
    )
    assert lock_hashes.with_hashes(once, hashed) == once


def test_a_cpu_build_in_the_gpu_environment_is_refused_with_where_it_came_from():
    with pytest.raises(StageError, match=r"2\.13\.0\+cpu is a CPU build.*PIP_EXTRA_INDEX_URL.*make envs-gpu"):
        check_gpu_environment.check(None, "2.13.0+cpu")
    assert check_gpu_environment.check("13.0", "2.13.0").endswith("CUDA 13.0: nodes need driver 580.65.06 or newer")


def test_packages_that_cannot_be_imported_are_all_named(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_kernel.py").write_text("raise OSError('libcudart.so.13: cannot open')")
    with pytest.raises(StageError) as error:
        check_gpu_environment.imported(("yaml", "broken_kernel", "nowhere_at_all"))
    assert "broken_kernel: OSError: libcudart.so.13: cannot open" in str(error.value)
    assert "nowhere_at_all: ModuleNotFoundError" in str(error.value)


def test_stages_find_the_compilers_of_their_environment_before_those_of_modules(tmp_path):
    python = tmp_path / "gpu/bin/python"
    assert with_tools(python, {"PATH": "/usr/bin"}) == {"PATH": f"{tmp_path}/gpu/bin:/usr/bin"}
    nvcc = tmp_path / "gpu/lib/python3.11/site-packages/nvidia/cu13/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.touch()
    found = with_tools(python, {"PATH": "/opt/cuda-12.4/bin"})
    assert found["CUDA_HOME"] == str(nvcc.parents[1])
    assert found["PATH"].split(":") == [str(nvcc.parent), str(python.parent), "/opt/cuda-12.4/bin"]


def test_an_environment_is_built_again_where_its_lock_changed_and_not_where_it_only_looks_newer(tmp_path):
    """Jobs may be running in it."""
    python, lock = tmp_path / "python", tmp_path / "envs/snakemake.lock"
    made = 'mkdir -p .venv/snakemake/bin && cp -f "$0" .venv/snakemake/bin/python'
    python.write_text(f'#!/bin/sh\necho "$@" >> calls\n[ "$2" != venv ] || {{ {made}; }}\n')
    python.chmod(0o755)
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    lock.parent.mkdir()
    lock.write_text("a==1\n")

    def builds() -> int:
        command = ["make", f"PYTHON={python}", ".venv/snakemake/installed"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return (tmp_path / "calls").read_text().count("-m venv --clear")

    assert (builds(), builds()) == (1, 1)
    later = (tmp_path / ".venv/snakemake/installed").stat().st_mtime + 60
    os.utime(lock, (later, later))
    assert builds() == 1
    lock.write_text("a==2\n")
    os.utime(lock, (later, later))
    assert builds() == 2
