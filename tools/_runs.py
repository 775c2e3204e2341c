"""What the programs on finished runs share: a policy by its folder, and tables of a run."""

import _path  # noqa: F401 - must come before drift
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import polars as pl
import yaml

from drift import layout
from drift.cli import StageError
from drift.tables import Scores, read_table


@dataclass(frozen=True)
class PolicyFolder:
    """A policy of a run: RUN/MODEL/NAME, where NAME is base, warmup or METHOD/seedS/iterK."""

    run: Path
    model: str
    name: layout.PolicyName

    @classmethod
    def parse(cls, folder: Path) -> Self:
        """The policy in a folder. Raises StageError that lists what is near it where it is none."""
        folder = Path(os.path.abspath(folder))  # without "..", which no name of a policy has
        for depth in (1, 3):
            parts = folder.parts[-depth:]
            try:
                name = layout.PolicyName.parse("/".join(parts))
            except ValueError:
                continue
            if depth + 1 > len(folder.parents):
                continue
            found = cls(folder.parents[depth], folder.parents[depth - 1].name, name)
            if Path(found.paths.manifest).is_file():
                return found
        # The one that it is in, next to it and below it; not all below its parent, which may be any
        # folder.
        places = [(folder.parent, "."), (folder.parent, "*")] + [(folder, "/".join("*" * depth)) for depth in (1, 2, 3, 4)]
        near = sorted({str(path.parent) for place, depth in places for path in place.glob(f"{depth}/policy.json")})[:12]
        listed = "; there are: " + ", ".join(near) if near else ""
        raise StageError(f"{folder} is no finished policy: give results/RUN/MODEL/METHOD/seedS/iterK, or .../base{listed}")

    @property
    def paths(self) -> SimpleNamespace:
        """Its files, by the names of drift.layout; other wildcards stay."""
        values = {"model": self.model, "policy": str(self.name), "trained": str(self.name)}
        patterns = vars(layout.paths(str(self.run)))
        return SimpleNamespace(**{name: _filled(pattern, values) for name, pattern in patterns.items()})

    def __str__(self) -> str:
        return f"{self.model}/{self.name}"


def _filled(pattern: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        pattern = pattern.replace(f"{{{name}}}", value)
    return pattern


def read_config(run: Path) -> dict:
    """The configuration of a run as it was resolved. Raises StageError where there is none."""
    path = layout.paths(str(run)).config
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StageError(f"{path}: not the configuration of a run ({error}): give its folder, results/RUN") from error
    if not isinstance(config, dict):
        raise StageError(f"{path}: not the configuration of a run (no keys): give its folder, results/RUN")
    return config


def read_scores(run: Path, *, details: bool) -> pl.DataFrame:
    """The scores of a run: means over seeds, and of a metric as a whole; with `details` those of
    each seed, group, check and reference (NAME:X) as well."""
    scores = read_table(Scores, layout.paths(str(run)).scores)
    return scores if details else scores.filter(~pl.col("metric").str.contains(":", literal=True), seed=0)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A value and its 95 % interval, as tables show them."""
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")
