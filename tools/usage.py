"""What the jobs of a run asked Slurm for and used, by rule; and what to ask for next time.

    .venv/snakemake/bin/python tools/usage.py --profile slurm results/paper

Asked is what the profile gives a first attempt, by a dry run; used is what Snakemake measured of
the jobs that are done (timings/ in the run's folder). Prints a table, and lines for set-resources
of the profile where a rule asks for far more than it used, or for hardly enough. GPU memory is not
measured. Runs with the driver's Python.
"""

import _path  # noqa: F401 - must come before drift
import math
from dataclasses import dataclass
from pathlib import Path

from drift import cli, layout
from drift.report.timings import read_timings
from drift.workflow.dry_run import DryRunError, Job, dry_run, parse
from drift.workflow.plan.queue import NEVER_SUBMITTED, is_light

# What is asked for beyond what was used: half as much memory again, and twice the time. Each job
# runs Snakemake twice beside its command, 110 MB each.
MEMORY_SHARE, TIME_SHARE, SNAKEMAKE_MB = 1.5, 2.0, 250
SHORTEST = 10  # minutes
# A share of what was asked for, below which a rule asks for far too much and above which for hardly
# enough.
LITTLE, NEARLY_ALL = 0.25, 0.8


@dataclass(frozen=True)
class Usage:
    """The most that jobs of a rule asked for and used; asked None where the profile says
    nothing."""

    rule: str
    jobs: int
    asked_mb: float | None
    used_mb: float
    asked_minutes: float | None
    used_minutes: float
    asked_cpus: float | None
    used_cpus: float  # CPU seconds by seconds

    @property
    def wanted(self) -> dict[str, int]:
        """What to ask for instead, by resource; empty where what was asked for fits."""
        used_mb = self.used_mb + SNAKEMAKE_MB
        wanted = {}
        if _misfits(self.asked_mb, used_mb):
            wanted["mem_mb"] = math.ceil(MEMORY_SHARE * used_mb / 1000) * 1000
        minutes = max(SHORTEST, math.ceil(TIME_SHARE * self.used_minutes))
        # A training stops itself before its time and goes on in the next job.
        if self.rule != "train" and _misfits(self.asked_minutes, max(self.used_minutes, LITTLE * SHORTEST)):
            wanted["runtime"] = minutes
        return {name: value for name, value in wanted.items() if value != getattr(self, _ASKED[name])}


_ASKED = {"mem_mb": "asked_mb", "runtime": "asked_minutes"}


def _misfits(asked: float | None, used: float) -> bool:
    return asked is not None and not LITTLE * asked <= used <= NEARLY_ALL * asked


def used(timings: Path) -> dict[str, list[dict[str, float]]]:
    """What was measured of the jobs of each rule: files RULE/.../NAME.jsonl, an attempt a line."""
    found: dict[str, list[dict[str, float]]] = {}
    for one in read_timings(timings):
        if None not in (one.seconds, one.memory, one.cpu):  # too short to be measured
            found.setdefault(one.rule, []).append({"s": one.seconds, "max_rss": one.memory, "cpu_time": one.cpu})
    return found


def asked(jobs: list[Job]) -> dict[str, dict[str, float]]:
    """The most of each numeric resource that jobs of a rule ask for."""
    found: dict[str, dict[str, float]] = {}
    for job in jobs:
        most = found.setdefault(job.rule, {})
        fields = [f"_threads={job.fields.get('threads', 1)}", *job.fields.get("resources", "").split(", ")]
        for name, _, value in (field.partition("=") for field in fields):
            if value.isdecimal():
                most[name] = max(most.get(name, 0), float(value))
    return found


def usages(measured: dict[str, list[dict[str, float]]], jobs: list[Job]) -> list[Usage]:
    """By rule, the longest first; without stages that are not submitted."""
    by_rule, here = asked(jobs), NEVER_SUBMITTED | {job.rule for job in jobs if is_light(job)}
    found = []
    for rule, rows in measured.items():
        wanted = by_rule.get(rule, {})
        if rule in here:
            continue
        found.append(
            Usage(
                rule=rule,
                jobs=len(rows),
                asked_mb=wanted.get("mem_mb"),
                used_mb=max(row["max_rss"] for row in rows),
                asked_minutes=wanted.get("runtime"),
                used_minutes=max(row["s"] for row in rows) / 60,
                asked_cpus=wanted.get("cpus_per_task", wanted.get("_threads")),
                used_cpus=sum(row["cpu_time"] for row in rows) / max(sum(row["s"] for row in rows), 1e-9),
            )
        )
    return sorted(found, key=lambda usage: usage.used_minutes, reverse=True)


def text(found: list[Usage]) -> str:
    """The table, and the lines for the profile."""
    lines = [f"{'':<18}{'':>6}{'memory, MB':>18}{'minutes':>18}{'cores':>14}"]
    lines.append(f"{'rule':<18}{'jobs':>6}{'asked':>10}{'used':>8}{'asked':>10}{'used':>8}{'asked':>8}{'used':>6}")
    for one in found:
        figures = [(one.asked_mb, 10), (one.used_mb, 8), (one.asked_minutes, 10)]
        shown = "".join(f"{'-' if value is None else format(value, ',.0f'):>{width}}" for value, width in figures)
        cpus = "-" if one.asked_cpus is None else f"{one.asked_cpus:.0f}"
        lines.append(f"{one.rule:<18}{one.jobs:>6}{shown}{one.used_minutes:>8.1f}{cpus:>8}{one.used_cpus:>6.1f}")
    if changes := [one for one in found if one.wanted]:
        lines += ["", "for set-resources of the profile:"]
        for one in changes:
            inner = ", ".join(f"{name}: {value} * attempt" for name, value in one.wanted.items())
            lines.append(f"  {one.rule}: {{{inner}}}")
    return "\n".join(lines)


def main() -> None:
    """Print what a run asked for and used."""
    command = cli.parser(__doc__)
    command.add_argument("results", type=Path, help="folder of the run, such as results/paper")
    command.add_argument("--profile", default="slurm", help="Snakemake's profile (default: slurm)")
    command.add_argument("--configfile", help="the run's configuration, unless it is the profile's or config.yaml")
    arguments = command.parse_args()
    measured = used(arguments.results / layout.PATTERNS["timings"])
    if not measured:
        raise cli.StageError(
            f"{arguments.results}/timings has nothing that was measured; name the folder of a run that has done jobs"
        )
    options = ["--profile", arguments.profile, "--forceall", "--nolock"]
    if arguments.configfile:
        options += ["--configfile", arguments.configfile]
    try:
        jobs = parse(dry_run(*options))
    except DryRunError as error:
        raise cli.StageError(f"Snakemake cannot plan the run:\n{str(error).strip()[-2000:]}") from error
    print(text(usages(measured, jobs)))


if __name__ == "__main__":
    cli.run(main)
