"""The timings that Snakemake has recorded of a run's jobs. Needs the standard library alone: the
driver reads them as well."""

import json
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timing:
    """What Snakemake measured of one job; None where it could not."""

    rule: str
    seconds: float | None
    memory: float | None  # peak, MiB
    cpu: float | None  # seconds


def read_timings(folder: Path) -> list[Timing]:
    """Every record in the timings of a run: files RULE/.../NAME.jsonl, an attempt a line."""
    timings = []
    for file in sorted(folder.rglob("*.jsonl")):
        rule = file.relative_to(folder).parts[0].removesuffix(".jsonl")
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue  # the job was killed while it wrote; its next attempt has a record of its own
            if isinstance(record, dict):
                measured = (_finite(record.get(key)) for key in ("s", "max_rss", "cpu_time"))
                timings.append(Timing(rule, *measured))
    return timings


def _finite(value: object) -> float | None:
    """A number of a timing; None where Snakemake wrote NA or nothing."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
