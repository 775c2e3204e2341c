"""Simulated users and the deployed model that they talk to, as inputs and settings of rules.

Methods that take `wildcards` are about the source of a rule; and where these have the folder of
later data, about what its users say to the policy that these data are collected from.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from drift import layout, plugins
from drift.checks.users import AGAIN, FIRST
from drift.layout import LaterData
from drift.settings.data import UserSettings
from drift.workflow.arrivals import later_of, said_before
from drift.workflow.data import plugin_files
from drift.workflow.inputs import contents_of, located
from drift.workflow.iterations import Iterations


class Simulations:
    """The simulated sources of a run, by its configuration and its `paths`.

    `pinned` marks an input whose new time stamp means nothing: snakemake's `ancient`.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, pinned: Callable[[str], str]):
        self._pinned, self._iterations = pinned, Iterations(config, paths)
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

    def policy(self, wildcards) -> dict[str, str]:
        """The policy that is deployed for later data, as `policy` and `manifest`: the one that the
        iteration that learns from them starts from."""
        data = LaterData.parse(wildcards.later)
        iteration = SimpleNamespace(model=data.model, trained=str(data.policy))
        return {
            "manifest": self._iterations.start_manifest(iteration),
            "policy": self._pinned(self._iterations.start_policy(iteration)),
        }

    def prompts(self, wildcards) -> str:
        """Where the prompts of a source are."""
        return self._pinned(located(self.rows[wildcards.source]["path"]))

    def contents(self, wildcards) -> str:
        """What lies there, if it is local."""
        return contents_of([self.rows[wildcards.source]["path"]])

    def settings(self, wildcards) -> str:
        """Settings of user_requests.py and of user_logs.py."""
        row, later, source = self.row(wildcards), later_of(wildcards), wildcards.source
        name = said_before(source, LaterData.parse(later).iteration) if later else source
        return UserSettings.of(row, source=name, max_tokens=row["decoding"]["max_tokens"], seed=self._seed).canonical()

    def asked(self, wildcards) -> dict[str, Any]:
        """What `generate` is told of the users' questions."""
        row = self.row(wildcards)
        endpoint = None if later_of(wildcards) else row["endpoint"]  # policies run here
        return {"context": row["context"], "endpoint": endpoint, "decoding": row["decoding"]}

    def first(self, wildcards) -> dict[str, str | list[str]]:
        """The first questions of a source and the answers to them."""
        return self._exchange(wildcards, FIRST)

    def again(self, wildcards) -> dict[str, str | list[str]]:
        """The second ones; none where nobody asks again."""
        if not self.row(wildcards)["ask_again"]:
            return {"again_requests": [], "again_completions": []}
        return {f"again_{name}": files for name, files in self._exchange(wildcards, AGAIN).items()}

    def _exchange(self, wildcards, turn: str) -> dict[str, str | list[str]]:
        named, prefix = {"source": wildcards.source, "turn": turn}, ""
        if later := later_of(wildcards):
            named, prefix = named | {"later": later}, "later_"
        requests, completions = (getattr(self._paths, f"{prefix}simulation_{table}") for table in ("requests", "completions"))
        shards = self.row(wildcards)["shards"]
        return {"requests": requests.format(**named), "completions": layout.shards(completions, shards, **named)}
