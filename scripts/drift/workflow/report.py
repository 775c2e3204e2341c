"""Inputs of the rules that sum up a run: the ledger, the catalog and the report."""

import ast
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import plugins
from drift.config import is_unpaired, pools_of, warms_up
from drift.judging import protocols
from drift.layout import BASE, LaterData, PolicyName
from drift.workflow.arrivals import Arrivals
from drift.workflow.improvement import checked_benchmark


class ReportInputs:
    """What the tables of a run are, all models and policies together.

    `policies`: MODEL/POLICY of every policy; `paths`: layout.paths of the run.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, policies: list[str]):
        self._config, self._paths = config, paths
        self._policies = [policy.split("/", 1) for policy in policies]
        # The data that come after the start, by model.
        arrivals = Arrivals(config, paths)
        self._later = {model: arrivals.learned_from(model) for model in config["models"]}

    def configuration(self, wildcards: Any) -> str:
        """The whole configuration as JSON, its rows in their order: the first of the benchmarks may
        mean something, and the report shows them so."""
        return json.dumps(self._config)

    def ledgers(self, wildcards: Any) -> list[str]:
        """The ledgers of all stages."""
        paths, config = self._paths, self._config
        pools = {pool for method in config["methods"] for pool in pools_of(config["recipes"][method])}
        # Diagnostics and gates look at held-out prompts of dsat whatever the methods train on.
        pools |= {"dsat"} | ({"corrections"} if warms_up(config) or config["data"]["test_correction_conversations"] else set())
        parts = [paths.stage_ledger.format(stage=stage) for stage in ("turns", "labels", "pools")]
        for model in config["models"]:
            parts += [paths.prompts_ledger.format(model=model, table=table) for table in sorted(pools)]
            parts += [
                paths.benchmark_prompts_ledger.format(model=model, benchmark=benchmark)
                for benchmark in config["evaluation"]["benchmarks"]
            ]
            parts += [
                paths.later_prompts_ledger.format(later=data, model=model, table=table) for data, table in self._later[model]
            ]
        return parts + self._of_trained(paths.pairs_ledger)

    @property
    def later_ledgers(self) -> dict[str, str]:
        """The ledgers of the data that come after the start, each with the folder of these data."""
        return {
            self._paths.later_stage_ledger.format(later=data, stage=stage): str(data)
            for data in self._later_data
            for stage in ("turns", "labels", "pools")
        }

    @property
    def _later_data(self) -> list[LaterData]:
        return list(dict.fromkeys(data for learned in self._later.values() for data, _ in learned))

    def contamination(self, wildcards: Any) -> list[str]:
        """What training rows hold of the benchmarks that are not kept out of them."""
        benchmarks = self._config["evaluation"]["benchmarks"]
        kept_in = [name for name, row in benchmarks.items() if not row["keep_out"]]
        later = [
            self._paths.later_contamination.format(later=data, benchmark=name) for data in self._later_data for name in kept_in
        ]
        return [self._paths.contamination.format(benchmark=name) for name in kept_in] + later

    def diagnostics(self, wildcards: Any) -> list[str]:
        """The diagnostics of every policy that is trained on pairs."""
        return self._of_paired(self._paths.diagnostics)

    def improvement(self, wildcards: Any) -> list[str]:
        """Whether the pairs of every policy teach what users want, where code can check it."""
        return self._of_paired(self._paths.improvement) if checked_benchmark(self._config) else []

    def behaviour(self, wildcards: Any) -> list[str]:
        """How every trained policy writes."""
        return self._of_trained(self._paths.behaviour)

    def pair_quality(self, wildcards: Any) -> list[str]:
        """How good the pairs of every policy are, by every rater."""
        raters = protocols.raters_of(self._config)
        of_policies = self._of_paired(self._paths.pair_quality, rater="{rater}")
        return [pattern.format(rater=rater) for pattern in of_policies for rater in raters]

    def validation(self, wildcards: Any) -> list[str]:
        """The validation of the judges, where published verdicts are configured."""
        return [self._paths.validation] if self._config["evaluation"]["validation"] else []

    @property
    def plugins(self) -> list[Path]:
        """What report.py loads by name: benchmarks, for the labels of their metrics, and
        verdicts."""
        rows = self._config["evaluation"]["benchmarks"].values()
        verdicts = {
            protocols.protocol_of(self._config, benchmark, judge).verdict for benchmark, judge in protocols.judged(self._config)
        }
        return [
            *(plugins.source_of(plugins.BENCHMARKS, kind) for kind in sorted({row["kind"] for row in rows})),
            *(plugins.source_of(plugins.VERDICTS, verdict) for verdict in sorted(verdicts)),
        ]

    def _of_trained(self, pattern: str) -> list[str]:
        return [pattern.format(model=model, trained=policy) for model, policy in self._policies if policy != BASE]

    def _of_paired(self, pattern: str, **named: str) -> list[str]:
        recipes = self._config["recipes"]
        without = {BASE, *(method for method in self._config["methods"] if is_unpaired(recipes[method]))}
        return [
            pattern.format(model=model, trained=policy, **named)
            for model, policy in self._policies
            if PolicyName.parse(policy).method not in without
        ]


def table_comments(scripts: Path) -> str:
    """A hash of the modules that declare the tables, descriptions and docstrings included.

    The catalog shows those, but the fingerprint of its code leaves them out. Comments and
    formatting do not count here either.
    """
    modules = sorted((scripts / "drift/tables").glob("*.py"))
    trees = [ast.dump(ast.parse(module.read_text(encoding="utf-8"))) for module in modules]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:12]
