"""Which answers are mapped, who says how good they are, and by which encoder they are compared.

Methods take the wildcards of a job: {model}, and {policy} and {benchmark} where it is about one
policy's answers, {explored} where it is about those of an iteration's policies.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import plugins
from drift.cli import StageError
from drift.config import ConfigError
from drift.engines import encoders
from drift.layout import BASE, PolicyName
from drift.settings.exploration import EmbedderSettings, EmbeddingCoverageSettings, EmbedSettings, LandscapeSettings
from drift.settings.sampling import RewardSettings
from drift.workflow.inputs import contents_of, located


class Exploration:
    """The exploration of a run, by its configuration and its `paths` (drift.layout.paths).

    `pinned` marks an input whose new time stamp means nothing: snakemake's `ancient`. Raises
    ConfigError where the embedder is on this machine and is no encoder.
    """

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace, pinned: Callable[[str], str]):
        self._config, self._paths, self._pinned = config, paths, pinned
        self._section: dict[str, Any] = config["exploration"] or {}
        if self._section and (file := Path(located(self._section["embedder"]["path"]), "config.json")).exists():
            try:
                encoders.check(file.parent, "exploration.embedder.path")
            except StageError as error:
                raise ConfigError(str(error)) from None

    # ------------------------------------------------------------------------------------ of a run

    @property
    def tables(self) -> list[str]:
        """What policies cover, of every model and iteration that is explored; none where nothing
        is."""
        patterns = (self._paths.embedding_coverage, self._paths.map_coverage)
        return [
            pattern.format(model=model, explored=iteration)
            for model in self._config["models"]
            for iteration in self._iterations
            for pattern in patterns
        ]

    @property
    def _iterations(self) -> list[int]:
        if not self._section:
            return []
        return sorted(set(self._section["iterations"] or [self._config["iterations"]]))

    # ------------------------------------------------------------------------------ of the encoder

    def tasks(self, wildcards: Any) -> str:
        """The tasks of the benchmark."""
        return self._paths.tasks.format(benchmark=self._section["benchmark"])

    def encoder(self, wildcards: Any) -> str:
        """The folder of the encoder."""
        return self._pinned(located(self._section["embedder"]["path"]))

    def encoder_contents(self, wildcards: Any) -> str:
        """What lies there, if it is local."""
        return contents_of([self._section["embedder"]["path"]])

    def embedder_settings(self, wildcards: Any) -> str:
        """Of rule embedder."""
        return EmbedderSettings.of(self._section).canonical()

    def embed_settings(self, wildcards: Any) -> str:
        """Of rule embed."""
        return EmbedSettings.of(self._section["embedder"]).canonical()

    # ------------------------------------------------------------------------------ of the rewards

    @property
    def _ranker(self) -> dict[str, Any]:
        return self._config["rankers"][self._section["reward"]]

    def ranker_path(self, wildcards: Any) -> str | list:
        """The folder or file that the ranker needs; nothing for a kind that needs none."""
        path = self._ranker["path"]
        return self._pinned(located(path)) if path else []

    def ranker_contents(self, wildcards: Any) -> str:
        """What lies there, if it is local."""
        path = self._ranker["path"]
        return contents_of([path] if path else [])

    def ranker_file(self, wildcards: Any) -> Path:
        """Its module, which is part of the fingerprint of answer_rewards.py."""
        return plugins.source_of(plugins.RANKERS, self._ranker["kind"])

    def ranker_settings(self, wildcards: Any) -> str:
        """Of rule answer_rewards. Every answer is scored, cut or not: as it is judged."""
        return RewardSettings.of(self._ranker, self._config["data"], cut="prefix").canonical()

    # ----------------------------------------------------------------------- of an iteration's maps

    def _policies(self, iteration: str) -> Iterator[PolicyName]:
        yield PolicyName.parse(BASE)
        for method in self._config["methods"]:
            for seed in self._config["seeds"]:
                yield PolicyName(method, int(iteration), seed)

    def _of_policies(self, pattern: str, wildcards: Any) -> list[str]:
        named = {"model": wildcards.model, "benchmark": self._section["benchmark"]}
        return [pattern.format(policy=policy, **named) for policy in self._policies(wildcards.explored)]

    def compared(self, wildcards: Any) -> dict[str, Any]:
        """The embeddings and the rewards of the base model's and every policy's answers, in one
        order, and the benchmark's tasks."""
        rewards = self._paths.answer_rewards if self._section["reward"] else self._paths.checked_rewards
        return {
            "embeddings": self._of_policies(self._paths.embeddings, wildcards),
            "rewards": self._of_policies(rewards, wildcards),
            "tasks": self.tasks(wildcards),
        }

    def policy_options(self, wildcards: Any, input: Any) -> list[str]:
        """The options of a stage for these."""
        options = []
        for policy, embeddings, rewards in zip(
            self._policies(wildcards.explored), input.embeddings, input.rewards, strict=True
        ):
            options += ["--policy", policy.method, str(policy.iteration), str(policy.seed), embeddings, rewards]
        return options

    def coverage_settings(self, wildcards: Any) -> str:
        """Of rule embedding_coverage."""
        return EmbeddingCoverageSettings.of(self._config["evaluation"], self._config["data"]).canonical()

    def landscape_settings(self, wildcards: Any) -> str:
        """Of rule landscape."""
        return LandscapeSettings.of(self._section, self._config["data"]).canonical()
