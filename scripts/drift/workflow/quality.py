"""Who says how good the pairs of an iteration are, and how."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from drift.layout import shards
from drift.settings.judging import PairQualitySettings, RatedPairsSettings
from drift.workflow.generation import Generation
from drift.workflow.judges import Asking, Assignment, Judges
from drift.workflow.ranking import Scoring


class PairQuality(Asking, Scoring):
    """The rating of pairs, for rules with the wildcards {model} and {trained}, and {rater} where
    they are about one rater, a judge or a ranker.

    `pinned` marks an input whose new time stamp means nothing: snakemake's `ancient`.
    """

    def __init__(
        self,
        config: dict,
        paths: SimpleNamespace,
        judges: Judges,
        generation: Generation,
        pinned: Callable[[str], str],
    ):
        self._config, self._paths, self._pinned = config, paths, pinned
        self._judges, self._generation = judges, generation

    def settings(self, wildcards) -> str:
        """Of rated_pairs.py."""
        return RatedPairsSettings.of(self._config["training"]["pair_quality"], seed=self._config["data"]["seed"]).canonical()

    def quality_settings(self, wildcards) -> str:
        """Of pair_quality.py."""
        return PairQualitySettings.of(
            self._config["evaluation"], rater=wildcards.rater, seed=self._config["data"]["seed"]
        ).canonical()

    def ratings(self, wildcards) -> dict[str, str]:
        """What a rater said of the pairs, by the option of pair_quality.py that reads it."""
        name = "scores" if wildcards.rater in self._config["rankers"] else "judgments"
        pattern = {"scores": self._paths.pair_scores, "judgments": self._paths.pair_judgments}[name]
        return {name: pattern.format(**dict(wildcards.items()))}

    # By a judge

    def row(self, wildcards) -> dict[str, Any]:
        """The judge, as a row of evaluation.judges."""
        return self._judges.rows[wildcards.rater]

    def assignment(self, wildcards) -> Assignment:
        """The judge, which compares both sides."""
        return self._judges.comparing(self.row(wildcards))

    def model(self, wildcards) -> dict[str, str | list]:
        """The judge's model, as `policy` and `manifest`."""
        return self._generation.judge(wildcards.rater)

    def completions(self, wildcards) -> list[str]:
        """The judge's replies about the pairs: one shard, as a sample is small."""
        return shards(self._paths.comparing_completions, 1, **dict(wildcards.items()))

    # By a ranker

    def ranker(self, wildcards) -> dict[str, Any]:
        """The row of `rankers`."""
        return self._config["rankers"][wildcards.rater]
