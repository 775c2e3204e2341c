"""What policies are asked by benchmarks, and who judges their answers and how.

Methods that take `wildcards` are input functions, params or settings of rules.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from drift import benchmarks, plugins, verdicts
from drift.config import ConfigError
from drift.files import sha256
from drift.judging import protocols
from drift.layout import shards
from drift.settings.judging import JudgmentSettings, Protocol, QuestionSettings, ValidationSettings
from drift.settings.sampling import RequestsSettings
from drift.settings.training import PromptsSettings

# The side that samples from the prompt alone.
PLAIN = "plain"


class Benchmarks:
    """What policies are asked, by the configuration and its `paths` (drift.layout.paths)."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace):
        self._config, self._paths = config, paths

    def row(self, wildcards) -> dict[str, Any]:
        """The configuration's row of a benchmark."""
        return self._config["evaluation"]["benchmarks"][wildcards.benchmark]

    def context(self, wildcards) -> int:
        """Tokens of a prompt and its answer together."""
        return self.row(wildcards)["context"] or self._config["sampling"]["context"]

    def prompts_settings(self, wildcards) -> str:
        """Of rule benchmark_prompts."""
        return PromptsSettings(
            lineage=f"{wildcards.model}/eval/{wildcards.benchmark}",
            context=self.context(wildcards),
            max_tokens=1 if self._choices(wildcards) else self.row(wildcards)["decoding"]["max_tokens"],
        ).canonical()

    def requests_settings(self, wildcards) -> str:
        """Of rule benchmark_requests: tasks are asked as they are."""
        return RequestsSettings(
            seed=self._config["data"]["seed"],
            unit=f"eval/{wildcards.benchmark}",
            split="test",
            samples={PLAIN: self.row(wildcards)["samples"]},
        ).canonical()

    def side_file(self, wildcards) -> Path:
        """The plug-in that policy_requests.py loads."""
        return plugins.source_of(plugins.SIDES, PLAIN)

    def asked(self, wildcards) -> dict[str, Any]:
        """What is asked for a policy's answers: arguments of `generation_settings`."""
        choices = self._choices(wildcards)
        answered = {"choices": choices} if choices else {"decoding": self.row(wildcards)["decoding"]}
        return {"context": self.context(wildcards)} | answered

    def _choices(self, wildcards) -> tuple[str, ...] | None:
        """What answers to the benchmark are one of; None where they are in words."""
        return benchmarks.choices(self.row(wildcards)["kind"])

    def completions(self, wildcards) -> list[str]:
        """A policy's answers, by shard."""
        names = {name: getattr(wildcards, name) for name in ("model", "policy", "benchmark")}
        return shards(self._paths.answers_completions, self.row(wildcards)["shards"], **names)


@dataclass(frozen=True)
class Assignment:
    """A judge, by its row of the configuration, and how it judges."""

    row: dict[str, Any]
    protocol: Protocol
    # Of the order of two answers and of the sampling of verdicts.
    seed: int
    # Folder of the judge prompts of judges that have none of their own.
    templates: Path

    @property
    def template(self) -> Path:
        """The file with the judge prompt."""
        return Path(self.row["template"] or self.templates / verdicts.load(self.protocol.verdict).TEMPLATE)

    @property
    def template_sha256(self) -> str:
        """The hash of the judge prompt."""
        return sha256(self.template)

    @property
    def verdict_file(self) -> Path:
        """The plug-in that judgments.py loads."""
        return plugins.source_of(plugins.VERDICTS, self.protocol.verdict)

    @property
    def question_settings(self) -> str:
        """Of judge_requests.py."""
        return QuestionSettings.of(
            self.row,
            seed=self.seed,
            max_tokens=protocols.max_tokens(self.protocol, self.row["decoding"]),
            judging=self.protocol,
            template_sha256=self.template_sha256,
        ).canonical()

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked for the verdicts: arguments of `generation_settings`."""
        answerer = {"context": self.row["context"], "endpoint": self.row["endpoint"]}
        return answerer | protocols.generation(self.protocol, self.row["decoding"])

    @property
    def judgment_settings(self) -> str:
        """Of judgments.py."""
        return JudgmentSettings(seed=self.seed, judging=self.protocol, least_mass=self.row["least_mass"]).canonical()


class Validation(NamedTuple):
    """A judge that is validated for a benchmark, and the files that are compared."""

    judge: str
    benchmark: str
    judgments: str
    published: str


class Asking:
    """Params of rules that ask a judge; a subclass says who is asked, and how."""

    def row(self, wildcards) -> dict[str, Any]:
        """The judge, as a row of evaluation.judges."""
        raise NotImplementedError

    def assignment(self, wildcards) -> Assignment:
        """The judge, and how it judges."""
        raise NotImplementedError

    def template(self, wildcards, resources) -> Path:
        """The file with the judge prompt. The settings hold its hash, so that its place changes
        nothing: Snakemake does not compare params that depend on resources."""
        return self.assignment(wildcards).template

    def question_settings(self, wildcards) -> str:
        """Of judge_requests.py."""
        return self.assignment(wildcards).question_settings

    def asked(self, wildcards) -> dict[str, Any]:
        """What is asked for the verdicts: arguments of `generation_settings`."""
        return self.assignment(wildcards).asked

    def judgment_settings(self, wildcards) -> str:
        """Of judgments.py."""
        return self.assignment(wildcards).judgment_settings

    def verdict_file(self, wildcards) -> Path:
        """The plug-in that judgments.py loads."""
        return self.assignment(wildcards).verdict_file

    def min_verdicts(self, wildcards, resources) -> float:
        """Share of the questions that must get a verdict, 0 to 1. It decides whether there is a
        table, not what the table holds: Snakemake does not compare params that depend on
        resources."""
        return self.row(wildcards)["min_verdicts"]


class Judges(Asking):
    """Who judges a benchmark and how, by the configuration and its `paths`."""

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace, templates: Path):
        """templates: the folder of the judge prompts of judges that have none of their own.

        Raises ConfigError where a judge's own prompt cannot be read.
        """
        self._config, self._paths, self._templates = config, paths, templates
        self.rows = config["evaluation"]["judges"]
        for name, row in self.rows.items():
            try:
                if row["template"]:
                    Path(row["template"]).read_bytes()
            except OSError as error:
                raise ConfigError(
                    f"evaluation.judges.{name}.template: {row['template']} cannot be read ({error.strerror})"
                ) from None

    def row(self, wildcards) -> dict[str, Any]:
        """The configuration's row of a judge."""
        return self.rows[wildcards.judge]

    def assignment(self, wildcards) -> Assignment:
        """A judge, and how it judges a benchmark."""
        return self._assignment(wildcards.benchmark, wildcards.judge)

    def _assignment(self, benchmark: str, judge: str) -> Assignment:
        protocol = protocols.protocol_of(self._config, benchmark, judge)
        return Assignment(self.rows[judge], protocol, self._config["data"]["seed"], self._templates)

    def ranking(self, row: dict[str, Any], seed: int) -> Assignment:
        """Who ranks the candidates of a policy with this `seed`, and how. row: of a judge, or as of
        one."""
        return Assignment(row, protocols.ranking_protocol(row["votes"]), seed, self._templates)

    def comparing(self, row: dict[str, Any]) -> Assignment:
        """Who compares both sides of pairs, and how. row: of a judge, whose own prompt is used
        where it was written for two answers."""
        template = row["template"] if protocols.compares(row) else None
        return Assignment(
            row | {"template": template}, protocols.comparing_protocol(row), self._config["data"]["seed"], self._templates
        )

    def prompts_of(self, benchmark: str) -> dict[str, str]:
        """A benchmark's judges, each with the hash of its judge prompt."""
        names = protocols.judges_of(self._config, benchmark)
        return {judge: self._assignment(benchmark, judge).template_sha256 for judge in names}

    def completions(self, wildcards) -> list[str]:
        """A judge's replies to the questions about a policy's answers, by shard."""
        names = {name: getattr(wildcards, name) for name in ("model", "policy", "benchmark", "judge")}
        count = self._config["evaluation"]["benchmarks"][wildcards.benchmark]["shards"]
        return shards(self._paths.verdicts_completions, count, **names)

    # The validation of judges

    def published_tasks(self, wildcards) -> str:
        """Tasks of the published answers about which a judge is asked as about a benchmark's."""
        return self._paths.published_tasks.format(kind=_kind(self.assignment(wildcards).protocol))

    def published_responses(self, wildcards) -> str:
        """Those answers."""
        return self._paths.published_responses.format(kind=_kind(self.assignment(wildcards).protocol))

    def validations(self) -> list[Validation]:
        """Every benchmark with each of its judges, and what says how far that judge can be trusted;
        none where the run has no published answers.

        A judge that judges several benchmarks in the same way is asked once, under the name of the
        first of them.
        """
        if self._config["evaluation"]["validation"] is None:
            return []
        first: dict[tuple[str, Protocol], str] = {}
        found = []
        for benchmark, judge in protocols.judged(self._config):
            protocol = self._assignment(benchmark, judge).protocol
            asked_as = first.setdefault((judge, protocol), benchmark)
            judgments = self._paths.published_judgments.format(judge=judge, benchmark=asked_as)
            published = self._paths.published.format(kind=_kind(protocol))
            found.append(Validation(judge, benchmark, judgments, published))
        return found

    def validation_options(self) -> list[str]:
        """The options of validation.py, a --judge for each of `validations`."""
        return [word for one in self.validations() for word in ("--judge", *one)]

    def validation_settings(self) -> str:
        """Of rule validation."""
        return ValidationSettings.of(self._config["evaluation"], seed=self._config["data"]["seed"]).canonical()


def _kind(protocol: Protocol) -> str:
    """The kind of published answers that fit a protocol: a wildcard of rule published_answers."""
    return "pairwise" if protocol.pairwise else "score"
