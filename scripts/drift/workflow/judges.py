"""Who judges what and how: what the rules ask of the configuration about benchmarks and judges."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from drift import layout, plugins, verdicts
from drift.config import ConfigError
from drift.judging import protocols
from drift.settings.judging import JudgmentSettings, Protocol, QuestionSettings


class Validation(NamedTuple):
    """A judge that is validated for a benchmark, and the files that are compared."""

    judge: str
    benchmark: str
    judgments: str
    published: str


class Benchmarks:
    """What policies are asked. Methods take the wildcards of a rule."""

    def __init__(self, config: dict, paths: SimpleNamespace):
        self.rows = config["evaluation"]["benchmarks"]
        self._sampling_context = config["sampling"]["context"]
        self._paths = paths

    def row(self, wildcards) -> dict[str, Any]:
        """The configuration's row of a benchmark."""
        return self.rows[wildcards.benchmark]

    def context(self, wildcards) -> int:
        """Tokens of a prompt and its answer together."""
        return self.row(wildcards)["context"] or self._sampling_context

    def completions(self, wildcards) -> list[str]:
        """A policy's answers, by shard."""
        return layout.shards(
            self._paths.answers_completions,
            self.row(wildcards)["shards"],
            model=wildcards.model,
            policy=wildcards.policy,
            benchmark=wildcards.benchmark,
        )


class Judges:
    """Who judges a benchmark and how. Methods take the wildcards of a rule, except where rows of the
    configuration stand for them: candidates are ranked without a benchmark."""

    def __init__(self, config: dict, paths: SimpleNamespace, templates: Path):
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

    def protocol(self, wildcards) -> Protocol:
        """How a judge judges a benchmark."""
        return protocols.protocol_of(self._config, wildcards.benchmark, wildcards.judge)

    def prompts_of(self, benchmark: str) -> dict[str, str]:
        """A benchmark's judges, each with the SHA-256 of the prompt that it judges with."""
        return {
            judge: _sha256(self.template_of(self.rows[judge], protocols.protocol_of(self._config, benchmark, judge)))
            for judge in protocols.judges_of(self._config, benchmark)
        }

    # ------------------------------------------------------------------------------------ questions

    def template(self, wildcards) -> Path:
        """The file with a judge's prompt."""
        return self.template_of(self.row(wildcards), self.protocol(wildcards))

    def template_of(self, row: dict[str, Any], protocol: Protocol) -> Path:
        """The file with the prompt of the judge of `row`: its own, or the one for the verdict."""
        return Path(row["template"] or self._templates / verdicts.load(protocol.verdict).TEMPLATE)

    def questions(self, wildcards) -> str:
        """Settings of judge_requests.py."""
        return self.questions_of(self.row(wildcards), self.protocol(wildcards))

    def questions_of(self, row: dict[str, Any], protocol: Protocol) -> str:
        """Settings of judge_requests.py for the judge of `row`."""
        return QuestionSettings.of(
            row,
            seed=self._config["seed"],
            max_tokens=protocols.max_tokens(protocol, row["decoding"]),
            judging=protocol,
            template_sha256=_sha256(self.template_of(row, protocol)),
        ).canonical()

    def asked(self, wildcards) -> dict[str, Any]:
        """What `generate` is told of a judge's questions: context, endpoint, choices, schema, decoding."""
        return self.asked_of(self.row(wildcards), self.protocol(wildcards))

    def asked_of(self, row: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
        """The same for the judge of `row`."""
        shared = {"context": row["context"], "endpoint": row["endpoint"]}
        return shared | protocols.generation(protocol, row["decoding"])

    def endpoint(self, wildcards) -> dict[str, Any] | None:
        """The endpoint behind which a judge is; None for a model that runs here."""
        return self.row(wildcards)["endpoint"]

    # ------------------------------------------------------------------------------------- verdicts

    def completions(self, wildcards) -> list[str]:
        """A judge's replies about a policy's answers, by shard."""
        return layout.shards(
            self._paths.verdicts_completions,
            self._config["evaluation"]["benchmarks"][wildcards.benchmark]["shards"],
            model=wildcards.model,
            policy=wildcards.policy,
            benchmark=wildcards.benchmark,
            judge=wildcards.judge,
        )

    def reading(self, wildcards) -> str:
        """Settings of judgments.py."""
        return self.reading_of(self.protocol(wildcards))

    def reading_of(self, protocol: Protocol) -> str:
        """Settings of judgments.py for judging by `protocol`."""
        return JudgmentSettings.of(seed=self._config["seed"], judging=protocol).canonical()

    def min_verdicts(self, wildcards) -> float:
        """Share of a judge's questions that must get a verdict."""
        return self.row(wildcards)["min_verdicts"]

    # ----------------------------------------------------------------------------------- validation

    def validations(self) -> list[Validation]:
        """Every benchmark with each of its judges, and what says how far that judge can be trusted;
        none where the run has no published answers.

        A judge that judges several benchmarks in the same way is asked once, under the name of the
        first of them.
        """
        if self._config["evaluation"]["validation"] is None:
            return []
        judged = protocols.judged(self._config)
        # The first benchmark of each judge and way of judging.
        first: dict[tuple[str, Protocol], str] = {}
        for benchmark, judge in judged:
            first.setdefault((judge, protocols.protocol_of(self._config, benchmark, judge)), benchmark)
        found = []
        for benchmark, judge in judged:
            protocol = protocols.protocol_of(self._config, benchmark, judge)
            judgments = self._paths.published_judgments.format(judge=judge, benchmark=first[judge, protocol])
            found.append(Validation(judge, benchmark, judgments, self._paths.published.format(kind=_kind(protocol))))
        return found

    def published_tasks(self, wildcards) -> str:
        """The tasks of the published answers about which a judge is asked as about a benchmark's."""
        return self._paths.published_tasks.format(kind=_kind(self.protocol(wildcards)))

    def published_responses(self, wildcards) -> str:
        """The published answers themselves."""
        return self._paths.published_responses.format(kind=_kind(self.protocol(wildcards)))


def verdict_file(name: str) -> Path:
    """The file that reads verdicts of that name: part of the fingerprint of judgments.py."""
    return plugins.source_of(plugins.VERDICTS, name)


def _kind(protocol: Protocol) -> str:
    """The kind of published answers that fit a protocol; a wildcard of `published`."""
    return "pairwise" if protocol.pairwise else "score"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
