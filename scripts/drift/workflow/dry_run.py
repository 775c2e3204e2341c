"""What snakemake would do, read from what its dry run prints."""

import re
import subprocess
import sys
from dataclasses import dataclass

_BLOCK = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)+)", re.MULTILINE)


class DryRunError(Exception):
    """Snakemake could not plan; the message is what it printed."""


@dataclass(frozen=True)
class Job:
    """A job of a dry run, with what snakemake prints of it."""

    rule: str
    fields: dict[str, str]

    @property
    def files(self) -> list[str]:
        """What the job writes."""
        return self.fields.get("output", "").split(", ")

    @property
    def inputs(self) -> list[str]:
        """What the job reads."""
        return self.fields["input"].split(", ") if "input" in self.fields else []

    @property
    def reason(self) -> str:
        """Why snakemake would run it."""
        return self.fields.get("reason", "")

    @property
    def wildcards(self) -> dict[str, str]:
        """The values of its wildcards, by name."""
        parts = filter(None, self.fields.get("wildcards", "").split(", "))
        return dict(part.split("=", 1) for part in parts)

    @property
    def name(self) -> str:
        """The values of its wildcards, which tell it from the other jobs of its rule."""
        return "/".join(self.wildcards.values())


def parse(dry_run: str) -> list[Job]:
    """The jobs of what `snakemake -n` prints, without target rules (which write nothing)."""
    jobs = []
    for rule, text in _BLOCK.findall(dry_run):
        fields = dict(line.strip().partition(": ")[::2] for line in text.splitlines())
        if "output" in fields:
            jobs.append(Job(rule, fields))
    return jobs


def dry_run(*arguments: str) -> str:
    """What `snakemake ARGUMENTS --dry-run` prints, however quiet a profile asks it to be. Raises
    DryRunError where it fails."""
    # Ours come first: what follows a target is one.
    command = [sys.executable, "-m", "snakemake", "--quiet", "host", "--dry-run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # A dry run prints errors to stdout, and what it says of its profile to stderr.
        raise DryRunError((done.stdout + done.stderr).strip())
    return done.stdout
