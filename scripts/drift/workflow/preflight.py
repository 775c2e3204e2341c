"""What the preflight checks, read from the configuration and from what the profile gives the
rules."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift.judging.families import kinships
from drift.layout import BASE
from drift.settings.preflight import LoginSettings, NodeSettings
from drift.workflow.inputs import all_addresses, local_addresses
from drift.workflow.iterations import Iterations
from drift.workflow.resources import gpus


def endpoints_of(section: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every endpoint in a section of the configuration, by the name of its row."""
    rows = {name: row for name, row in section.items() if isinstance(row, dict)}
    endpoints = {name: row["endpoint"] for name, row in rows.items() if row.get("endpoint")}
    for row in rows.values():
        endpoints |= endpoints_of(row)
    return endpoints


class Preflight:
    """The settings of the preflight's checks for a run.

    `repository` is the folder of the Snakefile; `iterations` knows the policies.
    """

    def __init__(self, config: dict[str, Any], paths: SimpleNamespace, repository: Path, iterations: Iterations):
        self._config = config
        self._results = str(Path(paths.report).parent)
        self._repository = repository
        self._iterations = iterations

    @property
    def related_judges(self) -> list[str]:
        """A sentence for each judge that is of the family of a model that it judges."""
        return [one.text for one in kinships(self._config)]

    def login(self, partitions: Iterable[str]) -> str:
        """Settings of the checks where snakemake runs; `partitions` are those of all rules, which
        may each name several, as sbatch takes them."""
        return LoginSettings.of(
            partitions=sorted({name.strip() for one in partitions for name in str(one).split(",")}),
            addresses=sorted(set(all_addresses(self._config))),
            models={name: self._planned(name, model["path"]) for name, model in self._config["models"].items()},
            related_judges=self.related_judges,
        ).canonical()

    def _planned(self, name: str, path: str) -> dict[str, str | int]:
        policies = [policy.split("/", 1)[1] for policy in self._iterations.policies(name)]
        carried = [policy for policy in policies if policy != BASE and self._iterations.training(policy)["carry"] == "fp32"]
        return {"path": path, "policies": len(policies), "remainders": len(carried)}

    def node(self, kind: str) -> Callable:
        """A param: the settings of the checks in a job of the `cpu` or the `gpu` environment."""
        interpreters = {name: self._repository / path for name, path in self._config["environments"].items()}
        # Without a GPU environment of its own, the GPU stages use the packages of the other one.
        lock = "cpu" if interpreters[kind] == interpreters["cpu"] else kind

        def settings(wildcards, resources) -> str:
            return NodeSettings.of(
                kind=kind,
                python=str(interpreters[kind]),
                lock=str(self._repository / f"envs/{lock}.lock"),
                results=self._results,
                gpus=gpus(resources) or 0,
                paths=sorted({str(Path(address).resolve()) for address in local_addresses(self._config)}),
                endpoints={
                    name: {key: endpoint[key] for key in ("url", "model", "key")}
                    for name, endpoint in endpoints_of(self._config).items()
                },
            ).canonical()

        return settings
