"""Which data an iteration learns from: those of the start, or those with what came since.

Data that come after the start make no earlier iteration run again, as they lie beside what that was
made of: each has all sources that count by then, and is made by the rules that made the first. A
job of theirs has the wildcard {later}, their folder.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from drift import plugins
from drift.config import pools_of
from drift.layout import FUTURE_SUFFIX, WARMUP, LaterData, PolicyName
from drift.settings.data import FreshSettings


def said_before(source: str, iteration: int) -> str:
    """The name of what a source's users said to policy K-1, which iteration K learns from. No
    source of a configuration has such a name."""
    return f"{source}@{iteration}"


@dataclass(frozen=True)
class Arrival:
    """A source as it is read, and the iteration from which it counts."""

    name: str  # of its conversations: ROW@K where users talked to policy K-1, else ROW
    row_name: str  # in the configuration
    row: dict[str, Any]
    iteration: int
    later: str | None  # where users talked to policy K-1, the folder of these data


def later_of(wildcards: Any) -> str | None:
    """The folder of the data that a job is about; None: those of the start."""
    return getattr(wildcards, "later", None)


class Arrivals:
    """What comes when, by a run's configuration and its `paths` (drift.layout.paths)."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace):
        self._config, self._paths = config, paths
        self._rows: dict[str, dict[str, Any]] = config["data"]["sources"]

    def newest(self, iteration: int) -> int:
        """The last iteration up to this one from which more data count; 1: those of the start."""
        numbers = {row["from_iteration"] for row in self._rows.values()}
        if any(map(_talks_to_policies, self._rows.values())):
            first = min(row["from_iteration"] for row in self._rows.values() if _talks_to_policies(row))
            numbers |= set(range(first, iteration + 1))
        return max(number for number in numbers | {1} if number <= max(1, iteration))

    def of(self, model: str, trained: str) -> LaterData | None:
        """The data that a policy's pairs are made of; None: those of the start."""
        name = PolicyName.parse(trained)
        method, newest = name.method.removesuffix(FUTURE_SUFFIX), self.newest(name.iteration)
        if trained == WARMUP or newest == 1 or self._config["recipes"][method]["fresh"] == 0:
            return None
        if not any(map(_talks_to_policies, self._rows.values())):
            return LaterData(newest)
        return LaterData(newest, model, replace(name, method=method, iteration=newest))

    def learned_from(self, model: str) -> list[tuple[LaterData, str]]:
        """The data after the start that the policies of a model are trained on, each with the pool
        whose prompts they are."""
        config, numbers = self._config, range(1, self._config["iterations"] + 1)
        found = [
            (self.of(model, str(PolicyName(method, k, seed))), table)
            for method in config["methods"]
            for table in pools_of(config["recipes"][method])
            for seed in config["seeds"]
            for k in numbers
        ]
        return list(dict.fromkeys((data, table) for data, table in found if data))

    def sources(self, later: str | None) -> list[Arrival]:
        """The sources of the data in a folder; None: those of the start."""
        data = LaterData.parse(later) if later else LaterData(1)
        found = []
        for name, row in self._rows.items():
            first = row["from_iteration"]
            numbers = range(first, data.iteration + 1) if _talks_to_policies(row) else [first]
            found += [self._arrival(name, row, number, data) for number in numbers if number <= data.iteration]
        return found

    def _arrival(self, name: str, row: dict[str, Any], number: int, data: LaterData) -> Arrival:
        if number == 1 or not _talks_to_policies(row):
            return Arrival(name, name, row, number, None)
        told = replace(data, iteration=number, policy=replace(data.policy, iteration=number))
        return Arrival(said_before(name, number), name, row, number, str(told))

    def prompts(self, model: str, trained: str, table: str) -> str:
        """The fitted prompts of a pool that a policy's pairs are made of."""
        if data := self.of(model, trained):
            return self._paths.later_prompts.format(later=data, model=model, table=table)
        return self._paths.prompts.format(model=model, table=table)

    def fresh(self, model: str, trained: str, share: float | None) -> FreshSettings | None:
        """How many of a policy's pairs are of the newest data, where some came after the start."""
        data = self.of(model, trained)
        if share is None or data is None:
            return None
        newest = [source.name for source in self.sources(str(data)) if source.iteration == data.iteration]
        return FreshSettings(share=share, sources=newest, seed=self._config["data"]["seed"])


def _talks_to_policies(row: dict[str, Any]) -> bool:
    return row["kind"] == plugins.SIMULATED and row["simulation"]["deployed"] == "previous"
