"""Who scores the candidates of an iteration, and how: the policy itself, a judge, or a ranker."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import plugins
from drift.config import SELF
from drift.judging.protocols import ranking_judge
from drift.layout import shards
from drift.settings.sampling import CandidatesSettings, RewardSettings
from drift.workflow.generation import Generation
from drift.workflow.inputs import contents_of, located
from drift.workflow.iterations import Iterations
from drift.workflow.judges import Asking, Assignment, Judges


class Scoring:
    """Params of rules that run a ranker; a subclass says which ranker it is.

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

    def ranker(self, wildcards) -> dict[str, Any]:
        """The ranker, a row of `rankers`."""
        raise NotImplementedError

    def ranker_path(self, wildcards) -> str | list:
        """The folder or file that it needs; nothing for a kind that needs none."""
        path = self.ranker(wildcards)["path"]
        return self._pinned(located(path)) if path else []

    def ranker_contents(self, wildcards) -> str:
        """What lies there, if it is local."""
        path = self.ranker(wildcards)["path"]
        return contents_of([path] if path else [])

    def ranker_settings(self, wildcards) -> str:
        """Settings of rewards.py."""
        return RewardSettings.of(self.ranker(wildcards), self._config["sampling"], self._config["data"]).canonical()

    def ranker_file(self, wildcards) -> Path:
        """Its module, which is part of the fingerprint of rewards.py."""
        return plugins.source_of(plugins.RANKERS, self.ranker(wildcards)["kind"])


class Ranking(Asking, Scoring):
    """The ranking of candidates, for rules with the wildcards {model} and {trained}."""

    def __init__(
        self,
        config: dict,
        paths: SimpleNamespace,
        iterations: Iterations,
        judges: Judges,
        generation: Generation,
        pinned: Callable[[str], str],
    ):
        super().__init__(config, paths, judges, generation, pinned)
        self._iterations = iterations

    def _ranker(self, wildcards) -> str:
        return self._iterations.recipe(wildcards.trained)["rank"]

    # By a judge, or by the policy itself

    def candidates_settings(self, wildcards) -> str:
        """Settings of candidates.py."""
        return CandidatesSettings.of(self._config["sampling"]).canonical()

    def row(self, wildcards) -> dict[str, Any]:
        """The judge that scores the candidates, as a row of evaluation.judges."""
        return ranking_judge(self._config, self._iterations.recipe(wildcards.trained))

    def assignment(self, wildcards) -> Assignment:
        """The judge, which scores each candidate by itself. Ranking is a part of training, so that
        its requests are repeated with each seed."""
        return self._judges.ranking(self.row(wildcards), self._iterations.seed(wildcards.trained))

    def model(self, wildcards) -> dict[str, str | list]:
        """The model that is asked, as `policy` and `manifest`: of a policy that ranks by itself,
        the one that wrote the candidates."""
        ranker = self._ranker(wildcards)
        if ranker == SELF:
            policy = self._pinned(self._iterations.start_policy(wildcards))
            return {"manifest": self._iterations.start_manifest(wildcards), "policy": policy}
        return self._generation.judge(ranker)

    def completions(self, wildcards) -> list[str]:
        """The judge's replies about the candidates, by shard."""
        count = self._config["sampling"]["shards"]
        return shards(self._paths.ranking_completions, count, model=wildcards.model, trained=wildcards.trained)

    # By a ranker

    def ranker(self, wildcards) -> dict[str, Any]:
        """The row of `rankers` that scores the candidates."""
        return self._config["rankers"][self._ranker(wildcards)]
