"""Whether the pairs of an iteration teach what users want: by which benchmark, and by whose ratings
of the pairs.

Methods take the wildcards {model} and {trained} of a job.
"""

from types import SimpleNamespace
from typing import Any

from drift import benchmarks
from drift.judging import protocols
from drift.settings.training import ImprovementSettings
from drift.workflow.iterations import Iterations

# The kind of rankers that check replies by code.
CHECKS = "checks"


def checked_benchmark(config: dict[str, Any]) -> str | None:
    """The first benchmark whose answers code checks; None where a run has none, and nothing is said
    of its iterations' improvement."""
    return next((name for name, row in config["evaluation"]["benchmarks"].items() if benchmarks.checked(row["kind"])), None)


class Improvement:
    """What improvement.py reads, by the configuration of a run that has a `checked_benchmark`, and
    its `paths` (drift.layout.paths)."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace, iterations: Iterations):
        self._config, self._paths, self._iterations = config, paths, iterations
        self._benchmark = checked_benchmark(config)

    def tables(self, wildcards) -> dict[str, str]:
        """The answers of the policy that an iteration starts from, and what code found in them and
        in the answers of the one that it makes."""
        named = {"model": wildcards.model, "benchmark": self._benchmark}
        before = named | {"policy": self._iterations.previous(wildcards.trained)}
        return {
            "requests": self._paths.benchmark_requests.format(**named),
            "responses": self._paths.responses.format(**before),
            "checks": self._paths.checks.format(**before),
            "checks_after": self._paths.checks.format(**named, policy=wildcards.trained),
        }

    def ratings(self, wildcards) -> list[str]:
        """How many checks each side of a pair keeps, where a ranker that checks rates pairs."""
        rankers = self._config["rankers"]
        raters = [name for name in protocols.raters_of(self._config) if name in rankers and rankers[name]["kind"] == CHECKS]
        named = {"model": wildcards.model, "trained": wildcards.trained}
        return [self._paths.pair_scores.format(rater=rater, **named) for rater in raters[:1]]

    def policies(self, wildcards) -> list[str]:
        """The folders of the policy that an iteration makes, and of the one that it starts from."""
        return self._iterations.ancestor_policies(wildcards)[:2]

    def settings(self, wildcards) -> str:
        """Of rule improvement."""
        return ImprovementSettings.of(
            self._config["training"]["diagnostics"],
            seed=self._config["data"]["seed"],
            temperature=self._config["evaluation"]["benchmarks"][self._benchmark]["decoding"]["temperature"],
        ).canonical()
