"""How long a run may still take, by how long its rules took so far."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from drift.report.timings import read_timings


def duration(seconds: float) -> str:
    """Seconds in words that can be read at a glance.

    >>> duration(4.4), duration(88), duration(5400)
    ('4 s', '1 min 28 s', '1 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def timed(timings: Path) -> dict[str, float]:
    """Mean seconds of every rule with records in TIMINGS/RULE/."""
    seconds: dict[str, list[float]] = {}
    for one in read_timings(timings):
        if one.seconds is not None:
            seconds.setdefault(one.rule, []).append(one.seconds)
    return {rule: sum(values) / len(values) for rule, values in seconds.items()}


class TimeLeft:
    """An estimate from the run's earlier timings and from the jobs that have finished since.

    What runs at once is taken from how it was so far: seconds of finished jobs by second.
    """

    def __init__(self, timings: Path):
        self._timings = timings
        self._started = time.time()
        self._waiting: Counter[str] = Counter()
        self._earlier: dict[str, float] = {}
        self._finished: dict[str, list[float]] = {}

    def expect(self, jobs: Mapping[str, int], began: float | None = None) -> None:
        """Start with these jobs to do, by rule; `began`: seconds since the epoch, now where it is
        not given."""
        self._started = time.time() if began is None else began
        self._waiting, self._earlier = Counter(jobs), timed(self._timings)

    def finished(self, rule: str, seconds: float) -> None:
        """Count a job that is done."""
        self._waiting[rule] -= 1
        self._finished.setdefault(rule, []).append(seconds)

    def text(self, running: Iterable[tuple[str, float]]) -> str:
        """`; about 9 min left`, `; at least ...` where rules to come were never timed, or nothing
        where too little is known. `running`: rule and seconds so far of the jobs at work."""
        mean = self._earlier | {rule: sum(values) / len(values) for rule, values in self._finished.items()}
        waiting = +self._waiting
        unknown = [rule for rule in waiting if rule not in mean]
        work = sum(mean.get(rule, 0.0) * count for rule, count in waiting.items())
        work -= sum(min(seconds, mean.get(rule, 0.0)) for rule, seconds in running)
        spent, elapsed = sum(map(sum, self._finished.values())), time.time() - self._started
        left = work / max(1.0, spent / elapsed) if elapsed > 0 else work
        if left < 5:
            return ""
        return f"; {'at least' if unknown else 'about'} {duration(left)} left"
