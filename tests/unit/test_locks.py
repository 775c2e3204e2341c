"""Who may work on what: a lock is refused while its holder lives and taken over when it is dead."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from drift import locks
from drift.cli import StageError
from tests.conftest import REPOSITORY

HOLDER = """
import sys, time
sys.path.insert(0, {scripts!r})
from drift import locks
from drift.cli import StageError
locks.BEAT = {beat}
try:
    locks.hold(locks.Path({path!r}), "training a/b")
except StageError as error:
    sys.exit(str(error))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Start processes that take the lock and hold it until their standard input closes."""
    started = []

    def start(beat: float = 15.0, path: Path = tmp_path / "lock") -> subprocess.Popen:
        program = HOLDER.format(scripts=str(REPOSITORY / "scripts"), path=str(path), beat=beat)
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def held(process: subprocess.Popen) -> bool:
    return process.stdout.readline() == "held\n"


def test_a_living_holder_is_named_with_what_to_do(holder, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    process = holder()
    assert held(process)
    with pytest.raises(
        StageError, match=rf"training c: already done by .*, process {process.pid} on .*Slurm job 77.*scancel 77"
    ):
        locks.hold(tmp_path / "lock", "training c")


def test_a_lock_is_gone_when_its_holder_ends(holder, tmp_path):
    process = holder()
    assert held(process)
    process.communicate("")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holders_lock_is_taken_over_at_once(holder, tmp_path):
    first = holder()
    assert held(first)
    first.kill()
    first.wait()
    assert (tmp_path / "lock").exists()
    began = time.monotonic()
    assert held(holder())
    assert time.monotonic() - began < 5


def test_of_many_that_take_over_a_dead_holders_lock_one_gets_it(holder):
    first = holder()
    assert held(first)
    first.kill()
    first.wait()
    assert sorted(held(process) for process in [holder() for _ in range(8)]) == [False] * 7 + [True]


def elsewhere(path):
    """Make a lock look as if its holder were on another machine."""
    holder = json.loads(path.read_text())
    path.write_text(json.dumps(holder | {"machine": "another"}))


def test_a_holder_on_another_machine_lives_as_long_as_it_counts(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.2)
    process = holder(beat=0.2)
    assert held(process)
    monkeypatch.setattr(locks, "_machine", lambda: "another")
    with pytest.raises(StageError, match="already done by"):
        locks.hold(tmp_path / "lock", "training c")


def test_a_holder_on_another_machine_that_stopped_counting_is_dead(holder, tmp_path, monkeypatch):
    process = holder()
    assert held(process)
    process.kill()
    process.wait()
    elsewhere(tmp_path / "lock")
    monkeypatch.setattr(locks, "BEAT", 0.2)
    began = time.monotonic()
    assert held(holder(beat=0.2))
    assert time.monotonic() - began > 0.2 * locks.MISSED


def test_a_lock_that_its_holder_died_before_writing_is_taken_over(holder, tmp_path):
    """Or could not write, on a full disk: the file is there and has nothing in it."""
    (tmp_path / "lock").touch()
    began = time.monotonic()
    assert held(holder(beat=0.2))
    assert time.monotonic() - began > 0.2 * locks.MISSED, "it may be about to be written"


def test_a_holder_whose_lock_was_taken_over_ends(holder, tmp_path):
    process = holder(beat=0.2)
    assert held(process)
    (tmp_path / "lock").unlink()
    assert held(holder())
    assert process.wait(10) == 1
    assert "was taken over by another process" in process.stderr.read()


def test_a_process_may_take_its_own_lock_again(tmp_path):
    locks.hold(tmp_path / "lock", "training a")
    locks.hold(tmp_path / "lock", "training a")


@pytest.fixture
def theirs():
    """A folder of this user that others may enter, as those of pytest are not."""
    if os.geteuid() != 0:
        pytest.skip("to be another user, one has to be root")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_another_user(path: Path) -> None:
    """Take a lock as a user with no rights of their own."""
    os.seteuid(65534)
    try:
        locks.hold(path, "training c")
    finally:
        os.seteuid(0)


def test_another_user_is_told_who_works_on_it_whatever_the_umask(holder, theirs):
    before = os.umask(0o077)
    try:
        process = holder(path=theirs / "lock")
        assert held(process)
    finally:
        os.umask(before)
    with pytest.raises(StageError, match=f"training c: already done by .*, process {process.pid} "):
        as_another_user(theirs / "lock")


def test_a_lock_that_cannot_be_read_is_named_with_its_owner(theirs):
    (theirs / "shared").mkdir()
    (theirs / "shared").chmod(0o777)
    (theirs / "shared/lock").touch(mode=0o600)
    with pytest.raises(StageError, match=r"training c: no permission .*/shared/lock, which belongs to root\. Ask them"):
        as_another_user(theirs / "shared/lock")


def test_a_folder_that_cannot_be_written_to_is_named_with_what_to_do(theirs):
    with pytest.raises(StageError, match=rf"no permission to write to {theirs}, which belongs to root\..*chmod -R g\+rwX"):
        as_another_user(theirs / "state/lock")


def test_a_folder_that_cannot_be_entered_is_named_too(theirs):
    (theirs / "private/state").mkdir(parents=True)
    (theirs / "private").chmod(0o700)
    with pytest.raises(StageError, match=rf"no permission to write to {theirs}/private, which belongs to "):
        as_another_user(theirs / "private/state/lock")
