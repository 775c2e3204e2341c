"""How the rules evaluate a run: which tables its scores are made of."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from drift import benchmarks, plugins
from drift.benchmarks import primary
from drift.judging import protocols
from drift.layout import PolicyName
from drift.settings.evaluation import ChecksSettings, JudgedBenchmark, ScoresSettings, TasksSettings
from drift.workflow.iterations import Iterations


class Evaluation:
    """The evaluation of a run, by its configuration and its `paths` (drift.layout.paths).

    Raises ConfigError where the primary family names a metric that its benchmark does not have.

    Tables are named as scores.py wants them: with the policy (MODEL/base, MODEL/warmup or
    MODEL/METHOD/seedS/iterK), the benchmark and the judge that they are of.
    """

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace):
        self._config, self._paths = config, paths
        self._rows: dict[str, dict] = config["evaluation"]["benchmarks"]
        self._primary = primary.family(config)
        self._heldout_pairs: bool = config["data"]["test_correction_conversations"] > 0
        iterations = Iterations(config, paths)
        self._policies = [policy for model in config["models"] for policy in iterations.policies(model)]

    # --------------------------------------------------------------------------------------- tables

    @property
    def tasks(self) -> list[str]:
        """The Tasks table of every benchmark."""
        return [self._paths.tasks.format(benchmark=benchmark) for benchmark in self._rows]

    @property
    def responses(self) -> list[str]:
        """Every policy's answers to every benchmark."""
        return [
            self._paths.responses.format(benchmark=benchmark, **_wildcards(policy)) for policy, benchmark in self._answered()
        ]

    @property
    def checks(self) -> list[str]:
        """What code found in those answers that it checks."""
        return [
            self._paths.checks.format(benchmark=benchmark, **_wildcards(policy))
            for policy, benchmark in self._answered()
            if benchmarks.checked(self._rows[benchmark]["kind"])
        ]

    @property
    def judgments(self) -> list[str]:
        """Every judge's verdicts on these."""
        return [
            self._paths.judgments.format(benchmark=benchmark, judge=judge, **_wildcards(policy))
            for policy, benchmark, judge in self._judged()
        ]

    @property
    def logps(self) -> list[str]:
        """Every policy's log-probabilities of the held-out corrections, where these are kept."""
        if not self._heldout_pairs:
            return []
        return [self._paths.logps.format(**_wildcards(policy)) for policy in self._policies]

    @property
    def file_addresses(self) -> list[str]:
        """The addresses of the files that the metrics of benchmarks need."""
        return [self._rows[benchmark][name] for benchmark, name in self._files()]

    def options(self, wildcards: Any, input: Any) -> list[str]:
        """The options of scores.py for the policies, for the `files` among its inputs, and for the
        places of the tables that its rule declares."""
        named: list[tuple] = []
        for policy in self._policies:
            model, folder = policy.split("/", 1)
            name = PolicyName.parse(folder)
            named.append(("--policy", policy, model, name.method, name.iteration, name.seed))
        named += [("--file", *key, path) for key, path in zip(self._files(), input.files, strict=True)]
        for table in ("tasks", "responses", "checks", "judgments", "logps"):
            pattern = getattr(self._paths, table).replace("{model}/{policy}", "{policy}")
            named.append((f"--{table}", pattern))
        return [str(part) for option in named for part in option]

    def _answered(self) -> Iterator[tuple[str, str]]:
        """Every policy with every benchmark."""
        return ((policy, benchmark) for policy in self._policies for benchmark in self._rows)

    def _judged(self) -> Iterator[tuple[str, str, str]]:
        """The same with every judge of the benchmark."""
        for policy, benchmark in self._answered():
            for judge in protocols.judges_of(self._config, benchmark):
                yield policy, benchmark, judge

    def _files(self) -> Iterator[tuple[str, str]]:
        """Every benchmark with each file that its metrics need and that is configured."""
        for benchmark, row in self._rows.items():
            for name in benchmarks.score_files(row["kind"]):
                if row[name]:
                    yield benchmark, name

    # ------------------------------------------------------------------------------------- settings

    def task_settings(self, wildcards: Any) -> str:
        """Settings of tasks.py."""
        return TasksSettings.of(self._rows[wildcards.benchmark], seed=self._config["data"]["seed"]).canonical()

    def check_settings(self, wildcards: Any) -> str:
        """Settings of checks.py."""
        return ChecksSettings.of(self._rows[wildcards.benchmark]).canonical()

    def score_settings(self, prompts_of: Callable[[str], dict[str, str]]) -> str:
        """Settings of scores.py; `prompts_of`: a benchmark's judges, each with the SHA-256 of its
        prompt."""
        return ScoresSettings.of(
            self._config["evaluation"],
            seed=self._config["data"]["seed"],
            beta=self._config["training"]["beta"],
            primary=self._primary,
            heldout_pairs=self._heldout_pairs,
            starts={method: self._config["recipes"][method]["start"] for method in self._config["methods"]},
            benchmarks={name: JudgedBenchmark(kind=row["kind"], judges=prompts_of(name)) for name, row in self._rows.items()},
        ).canonical()

    # ----------------------------------------------------------------------------------------- code

    def module(self, wildcards: Any):
        """The file of a benchmark's kind: part of the fingerprint of tasks.py."""
        return plugins.source_of(plugins.BENCHMARKS, self._rows[wildcards.benchmark]["kind"])

    def check_modules(self, wildcards: Any) -> tuple:
        """What checks.py loads by name: the file of a benchmark's kind, and the checks."""
        return self.module(wildcards), *(plugins.source_of(plugins.CHECKS, name) for name in sorted(plugins.CHECKS))

    @property
    def modules(self) -> list:
        """The files of the kinds of benchmarks that there are: part of the fingerprint of
        scores.py."""
        return [plugins.source_of(plugins.BENCHMARKS, kind) for kind in sorted({row["kind"] for row in self._rows.values()})]


def _wildcards(policy: str) -> dict[str, str]:
    model, _, rest = policy.partition("/")
    return {"model": model, "policy": rest}
