"""When a job has to stop by itself: before its scheduler's time limit, and when it is asked to
(SIGTERM).

A job that stops in time leaves a checkpoint; one that is killed loses what it did since the last
one.
"""

import signal
import time

# Seconds of a job's limit, at most a tenth of it, that pass before the program's first line and
# after its last: the scheduler, the nested driver, imports, slow file systems.
ALLOWANCE = 120


class Deadline:
    """`minutes` from now (None: no limit) less an allowance; the first SIGTERM brings it forward to
    that moment. Raises ValueError outside the main thread, where Python allows no signal handlers.
    """

    def __init__(self, minutes: float | None):
        seconds = float("inf") if minutes is None else 60 * minutes
        self._end = time.monotonic() + seconds - min(ALLOWANCE, seconds / 10)
        self.reason = "the job's time limit is near"
        signal.signal(signal.SIGTERM, self._terminated)

    def _terminated(self, *_) -> None:
        self._end, self.reason = time.monotonic(), "the job was asked to end (SIGTERM)"
        # A second one ends the program at once, which is Python's default.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def near(self, seconds: float) -> bool:
        """Whether `seconds` more of work would end too late."""
        return time.monotonic() + seconds > self._end
