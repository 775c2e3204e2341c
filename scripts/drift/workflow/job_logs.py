"""What the log of a job says: how far it is, and why it failed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from drift.workflow.clocks import TOLERANCE

# What is read of a log: its end.
_TAIL = 16_384
# A line of tqdm: what, per cent, bar, done/total, [elapsed<left.
_BAR = re.compile(r"(?P<what>[^:|\r\n]*):\s+\d+%\|[^|\r\n]*\|\s*(?P<done>\d+)/(?P<total>\d+) \[[\d:]+<(?P<left>[\d:]+|\?)")
# A sentence of ours. What no stage has caught, torch prints with the rank of its process.
_ERROR = re.compile(r"^(?:\[rank\d+\]: )?(?P<said>error: )", re.MULTILINE)
# Lines of a log without a sentence of ours that are shown: the end of a traceback, or a preflight.
_SHOWN = 40


@dataclass(frozen=True)
class Progress:
    """How far a step within a job is."""

    what: str
    done: int
    total: int
    left: str  # as tqdm has it, MM:SS or H:MM:SS; ? where it cannot say yet

    def __str__(self) -> str:
        left = "" if self.left == "?" or self.done == self.total else f", {self.left} left"
        return f"{self.what.strip()} {self.done} of {self.total}{left}"


def end_of(log: str | Path) -> str:
    """The end of a log, from the start of a line; empty where it cannot be read."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if size > _TAIL else text


def begun(logs: Iterable[str | Path], submitted: float) -> bool:
    """Whether a job works that was submitted then (seconds since the epoch), rather than waiting in
    a cluster's queue: its first act is to make its log anew, which may be there of an earlier
    attempt."""
    return any(Path(log).is_file() and Path(log).stat().st_mtime >= submitted - TOLERANCE for log in logs)


def progress(log: str | Path) -> Progress | None:
    """How far the job with this log is, by the last bar in it; None where it has none."""
    bars = list(_BAR.finditer(end_of(log)))
    if not bars:
        return None
    last = bars[-1]
    return Progress(last["what"], int(last["done"]), int(last["total"]), last["left"])


def warnings(log: str | Path) -> list[str]:
    """What the job with this log warns of: its lines that begin so."""
    return [line for line in end_of(log).splitlines() if line.startswith("warning: ")]


def failure(log: str | Path) -> str:
    """Why the job with this log failed: what it says from its last `error:` on, else its last
    lines; empty where it says nothing."""
    text = end_of(log).rstrip()
    found = list(_ERROR.finditer(text))
    return text[found[-1].start("said") :] if found else "\n".join(text.splitlines()[-_SHOWN:])
