"""Which answers say how a policy writes, and what stands before the training that starts from it.

Methods take the wildcards {model} and {trained} of a job.
"""

from types import SimpleNamespace
from typing import Any

from drift import benchmarks
from drift.layout import BASE
from drift.settings.training import BehaviourLimits, BehaviourSettings
from drift.workflow.iterations import Iterations


class Behaviour:
    """The comparison of a run's policies, by its configuration and its `paths`
    (drift.layout.paths)."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace, iterations: Iterations):
        self._section, self._paths, self._iterations = config["training"]["behaviour"], paths, iterations
        self._benchmarks: dict[str, dict] = config["evaluation"]["benchmarks"]

    @property
    def benchmark(self) -> str:
        """The benchmark whose answers are compared."""
        heldout = (name for name, row in self._benchmarks.items() if row["kind"] == "heldout")
        in_words = (name for name, row in self._benchmarks.items() if not benchmarks.choices(row["kind"]))
        # With outcome off nothing is compared, whichever it is.
        return self._section["benchmark"] or next(heldout, next(in_words, next(iter(self._benchmarks))))

    def answers(self, wildcards) -> dict[str, str | list[str]]:
        """The answers of a policy, of the policy before it and of the base model, and the tasks
        that these answer; none where nothing is compared."""
        policies = {"responses": wildcards.trained, "before": self._iterations.previous(wildcards.trained), "base": BASE}
        if self._section["outcome"] == "off":
            return {name: [] for name in (*policies, "tasks")}
        pattern, named = self._paths.responses, {"model": wildcards.model, "benchmark": self.benchmark}
        answers = {name: pattern.format(policy=policy, **named) for name, policy in policies.items()}
        return answers | {"tasks": self._paths.tasks.format(benchmark=self.benchmark)}

    def of_start(self, wildcards) -> str | list[str]:
        """The table of the policy that a training starts from, whatever the outcome is: an input
        that comes or goes would train again. A base model has none."""
        start = self._iterations.previous(wildcards.trained)
        return self._paths.behaviour.format(model=wildcards.model, trained=start) if start != BASE else []

    def settings(self, wildcards) -> str:
        """Of rule behaviour."""
        return BehaviourSettings(
            before=f"{wildcards.model}/{self._iterations.previous(wildcards.trained)}",
            benchmark=self.benchmark,
            outcome=self._section["outcome"],
            limits=BehaviourLimits.of(self._section),
        ).canonical()
