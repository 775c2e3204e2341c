"""The report's correctness gates: how many passed, which failed, and all of them by policy."""

from dataclasses import dataclass

from drift.config import Config
from drift.report.reading import Catalog, Policy, configured


@dataclass(frozen=True)
class Gate:
    """A check of a trained policy and its outcome."""

    policy: Policy
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class GateSummary:
    """All gates of a run."""

    gates: list[Gate]

    @property
    def total(self) -> int:
        """How many gates there are."""
        return len(self.gates)

    @property
    def failed(self) -> list[Gate]:
        """The gates that did not pass."""
        return [gate for gate in self.gates if not gate.passed]

    @property
    def by_policy(self) -> dict[Policy, list[Gate]]:
        """The gates of every trained policy."""
        groups: dict[Policy, list[Gate]] = {}
        for gate in self.gates:
            groups.setdefault(gate.policy, []).append(gate)
        return groups


def gate_summary(catalog: Catalog, config: Config) -> GateSummary:
    """The gates of the configured policies, in their order."""
    rows = configured(catalog.query("SELECT * FROM gates"), config)
    return GateSummary([Gate(Policy.of(row), row["gate"], row["passed"], row["detail"]) for row in rows])
