"""A lock file on shared storage: who works on something, and whether that process is alive.

Not every cluster's file system has working fcntl locks between nodes, so a lock is a file that is
created exclusively and into which its holder writes a higher number every few seconds. On the
holder's own machine the process table tells whether it is alive; elsewhere the file is watched, so
that clocks need not agree.
"""

import atexit
import contextlib
import getpass
import json
import os
import socket
import sys
import threading
import time
import uuid
from pathlib import Path

from drift.cli import StageError

BEAT = 15.0  # seconds between two signs of life
MISSED = 4  # beats without one until a holder on another machine counts as dead


def hold(path: Path, work: str) -> None:
    """Take the lock `path` until this process ends; `work` names in messages what it is for.

    The lock of a dead holder is taken over: at once on the same machine, after MISSED beats
    elsewhere. Raises StageError where the holder lives, and where another user's lock or folder
    forbids it. A process whose lock was taken over while it could not run (a suspended machine)
    ends itself. A lock that is deleted with the folder that it guards is given up.
    """
    path = path.absolute()  # it is released from wherever the process is by then
    holder = {
        "id": uuid.uuid4().hex,
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "job": os.environ.get("SLURM_JOB_ID"),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _take(path, work, holder):
            return
    except PermissionError as error:
        raise StageError(_forbidden(path, work)) from error
    done = threading.Event()
    threading.Thread(target=_beat, args=(path, holder, done, work), daemon=True).start()
    atexit.register(_release, path, holder, done)


def _take(path: Path, work: str, holder: dict) -> bool:
    """Create the lock; False where this process has it already."""
    while not _create(path, _text(holder, 0)):
        seen = _read(path)
        if seen is None:
            continue  # released in this moment
        if _same_process(seen, holder):
            return False
        if _lives(path, seen):
            raise StageError(_refusal(path, work, seen))
        _remove(path, seen)
    return True


def _text(holder: dict, beat: int) -> str:
    # Of one length always: a sign of life is written over the last one and needs no space on a full
    # disk.
    return json.dumps(holder | {"beat": f"{beat:09d}"})


def _create(path: Path, text: str) -> bool:
    try:
        with open(path, "x") as file:
            # Who holds it, others have to read, whatever the umask.
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> str | None:
    """The lock's text; empty where its holder has not written it yet, or died before it did or on a
    full disk; None where there is no lock."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _is(text: str, holder: dict) -> bool:
    return holder["id"] in text


def _same_process(text: str, holder: dict) -> bool:
    with contextlib.suppress(json.JSONDecodeError):
        other = json.loads(text)
        return all(other[key] == holder[key] for key in ("machine", "pid", "started"))
    return False


def _lives(path: Path, seen: str) -> bool:
    with contextlib.suppress(json.JSONDecodeError):
        holder = json.loads(seen)
        if holder["machine"] == _machine():
            return _started(holder["pid"]) == holder["started"]
    for _ in range(MISSED):
        time.sleep(BEAT)
        if (now := _read(path)) != seen:
            return now is not None
    return False


def _remove(path: Path, seen: str) -> None:
    """Take a dead holder's lock away, unless somebody else was faster."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if (text := aside.read_text()) != seen:
            _create(path, text)
        aside.unlink()


def _beat(path: Path, holder: dict, done: threading.Event, work: str) -> None:
    beat = 0
    while not done.wait(BEAT):
        beat += 1
        # Storage that does not answer for a moment costs a beat, no more.
        with contextlib.suppress(OSError):
            text = _read(path)
            if not text:
                continue
            if not _is(text, holder):
                print(
                    f"error: the lock {path} on {work} was taken over by another process; ending", file=sys.stderr, flush=True
                )
                os._exit(1)
            with open(path, "r+") as file:
                file.write(_text(holder, beat))


def _release(path: Path, holder: dict, done: threading.Event) -> None:
    done.set()
    if _is(_read(path) or "", holder):
        path.unlink(missing_ok=True)


def _refusal(path: Path, work: str, seen: str) -> str:
    try:
        holder = json.loads(seen)
    except json.JSONDecodeError:
        return f"{work}: another process works on it ({path}); try again in a minute"
    job = f", Slurm job {holder['job']}" if holder["job"] else ""
    cure = f"scancel {holder['job']}" if holder["job"] else f"kill {holder['pid']} on {holder['host']}"
    return (
        f"{work}: already done by {holder['user']}, process {holder['pid']} on {holder['host']}{job} (lock {path}). "
        f"Wait until it ends, or end it ({cure}), and run again"
    )


def _forbidden(path: Path, work: str) -> str:
    # pathlib raises where a folder may not be entered; for os.path what is in it is not there.
    folder = next(folder for folder in path.parents if os.path.exists(folder))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return (
            f"{work}: no permission to write to {folder}, which belongs to {_owner(folder)}. Users who share a folder need to "
            f"write to it (chgrp -R GROUP {folder}; chmod -R g+rwX {folder}), or each has results of their own (--directory FOLDER)"
        )
    return (
        f"{work}: no permission to read or replace the lock {path}, which belongs to {_owner(path)}. Ask them whether it is at "
        "work, and to delete the lock if it is not"
    )


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"


def _machine() -> str:
    """This boot of this machine, and its process ids' namespace: where a process id means the same
    process."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")


def _started(pid: int) -> str | None:
    """When a process of this machine started, in clock ticks since boot; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] == "Z" else fields[19]
