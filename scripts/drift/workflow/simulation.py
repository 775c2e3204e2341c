"""Simulated users and the deployed model that they talk to, as inputs and settings of rules.

Methods that take `wildcards` are about the source of a rule.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from drift import layout, plugins
from drift.checks.users import AGAIN, FIRST
from drift.settings.data import UserSettings
from drift.workflow.data import plugin_files
from drift.workflow.inputs import contents_of, located


class Simulations:
    """The simulated sources of a run, by its configuration and its `paths`.

    `pinned` marks an input whose new time stamp means nothing: snakemake's `ancient`.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, pinned: Callable[[str], str]):
        self._pinned = pinned
        self._paths, self._seed = paths, config["data"]["seed"]
        self.rows: dict[str, dict] = {
            name: row for name, row in config["data"]["sources"].items() if row["kind"] == plugins.SIMULATED
        }

    @property
    def modules(self) -> list[str]:
        """The checks, as files below scripts/."""
        return plugin_files(plugins.CHECKS, plugins.CHECKS)

    def row(self, wildcards) -> dict[str, Any]:
        """The deployed model of a source."""
        return self.rows[wildcards.source]["simulation"]

    def prompts(self, wildcards) -> str:
        """Where the prompts of a source are."""
        return self._pinned(located(self.rows[wildcards.source]["path"]))

    def contents(self, wildcards) -> str:
        """What lies there, if it is local."""
        return contents_of([self.rows[wildcards.source]["path"]])

    def settings(self, wildcards) -> str:
        """Settings of user_requests.py and of user_logs.py."""
        row = self.row(wildcards)
        return UserSettings.of(
            row, source=wildcards.source, max_tokens=row["decoding"]["max_tokens"], seed=self._seed
        ).canonical()

    def asked(self, wildcards) -> dict[str, Any]:
        """What `generate` is told of the users' questions."""
        row = self.row(wildcards)
        return {"context": row["context"], "endpoint": row["endpoint"], "decoding": row["decoding"]}

    def first(self, wildcards) -> dict[str, str | list[str]]:
        """The first questions of a source and the answers to them."""
        return self._exchange(wildcards.source, FIRST)

    def again(self, wildcards) -> dict[str, str | list[str]]:
        """The second ones; none where nobody asks again."""
        if not self.row(wildcards)["ask_again"]:
            return {"again_requests": [], "again_completions": []}
        return {f"again_{name}": files for name, files in self._exchange(wildcards.source, AGAIN).items()}

    def _exchange(self, source: str, turn: str) -> dict[str, str | list[str]]:
        shards = self.rows[source]["simulation"]["shards"]
        return {
            "requests": self._paths.simulation_requests.format(source=source, turn=turn),
            "completions": layout.shards(self._paths.simulation_completions, shards, source=source, turn=turn),
        }
