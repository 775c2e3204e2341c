"""Who says how good the pairs of an iteration are, and how."""

from typing import Any

from drift.layout import shards
from drift.settings.judging import PairQualitySettings, RatedPairsSettings
from drift.workflow.judges import Asking, Assignment
from drift.workflow.ranking import Scoring


class PairQuality(Asking, Scoring):
    """The rating of pairs, for rules with the wildcards {model} and {trained}, and {rater} where
    they are about one rater, a judge or a ranker."""

    def settings(self, wildcards) -> str:
        """Of rated_pairs.py."""
        return RatedPairsSettings.of(self._config["training"]["pair_quality"], self._config["data"]).canonical()

    def quality_settings(self, wildcards) -> str:
        """Of pair_quality.py."""
        return PairQualitySettings.of(self._config["evaluation"], self._config["data"], rater=wildcards.rater).canonical()

    def ratings(self, wildcards) -> dict[str, str]:
        """What a rater said of the pairs, by the option of pair_quality.py that reads it."""
        scored = wildcards.rater in self._config["rankers"]
        name, pattern = ("scores", self._paths.pair_scores) if scored else ("judgments", self._paths.pair_judgments)
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
