"""What the rules of the data read and are told: sources, labelers, and labels made elsewhere."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import layout, plugins
from drift.labelers.rubric_question import DECODING, SCHEMA
from drift.settings.data import (
    AgreementSettings,
    ClassifySettings,
    ContaminationSettings,
    FilterSettings,
    LabelerSettings,
    LabelFileSettings,
    LabelRequestsSettings,
    LabelsSettings,
    PoolsSettings,
    SourceSettings,
    TurnsSettings,
)
from drift.settings.training import PromptsSettings
from drift.workflow.arrivals import Arrival, Arrivals, later_of
from drift.workflow.inputs import contents_of


def plugin_files(registry: dict[str, str], kinds: Iterable[str]) -> list[str]:
    """The files of the plug-ins of these `kinds`, below scripts/: what a stage that loads them adds
    to its fingerprint, so that a plug-in that is not in use makes nothing run again."""
    return [str(plugins.source_of(registry, kind).relative_to(plugins.SCRIPTS)) for kind in sorted(set(kinds))]


def named(paths: dict[str, str] | Iterable[tuple[str, str]]) -> list[str]:
    """Paths by name, as the programs take them: NAME=PATH."""
    pairs = paths.items() if isinstance(paths, dict) else paths
    return [f"{name}={path}" for name, path in pairs]


class Sources:
    """Raw conversations, as inputs and settings of rule `turns`. Methods that take wildcards are
    about the data of a job: those of the start, or later ones.

    `located` says where what has an address is on this machine; what simulated users said is one of
    the run's own `paths`.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, located: Callable[[str], str]):
        self._paths, self._arrivals, self._located = paths, Arrivals(config, paths), located

    def _of(self, wildcards: Any) -> list[Arrival]:
        return self._arrivals.sources(later_of(wildcards))

    def paths(self, wildcards: Any) -> dict[str, str]:
        """Where each source is, by its name."""
        return {source.name: self._path(source) for source in self._of(wildcards)}

    def _path(self, source: Arrival) -> str:
        if not source.row["simulation"]:
            return self._located(source.row["path"])
        if source.later is None:
            return self._paths.simulated_logs.format(source=source.name)
        return self._paths.later_simulated_logs.format(later=source.later, source=source.row_name)

    def conversations(self, wildcards: Any) -> dict[str, str]:
        """What a source of annotations is about, by its name."""
        rows = {source.name: source.row["conversations"] for source in self._of(wildcards)}
        return {name: self._located(address) for name, address in rows.items() if address}

    def inputs(self, pinned: Callable[[str], str]) -> Callable[[Any], list[str]]:
        """An input function: all that is read. What comes from outside of the run is `pinned`: its
        contents count, and a new time stamp means nothing."""

        def of_job(wildcards: Any) -> list[str]:
            sources = self._of(wildcards)
            own = [path if source.row["simulation"] else pinned(path) for source in sources for path in [self._path(source)]]
            return [*own, *map(pinned, self.conversations(wildcards).values())]

        return of_job

    def contents(self, wildcards: Any) -> str:
        """What lies at local paths."""
        rows = [source.row for source in self._of(wildcards) if not source.row["simulation"]]
        return contents_of([row["path"] for row in rows] + [row["conversations"] for row in rows if row["conversations"]])

    def modules(self, wildcards: Any) -> tuple[Path, ...]:
        """The readers of the sources."""
        kinds = {source.row["kind"] for source in self._of(wildcards)}
        return tuple(plugins.source_of(plugins.SOURCES, kind) for kind in sorted(kinds))

    def settings(self, wildcards: Any) -> str:
        """Settings of turns.py."""
        rows = {source.name: source.row | {"from_iteration": source.iteration} for source in self._of(wildcards)}
        return TurnsSettings(sources={name: SourceSettings.of(row) for name, row in rows.items()}).canonical()


class Pools:
    """Settings of the rules that make the pools, look for benchmarks in them, and fit them to a
    model."""

    def __init__(self, config: dict, paths: SimpleNamespace):
        self._config, self._data, self._arrivals = config, config["data"], Arrivals(config, paths)

    def settings(self, wildcards: Any) -> str:
        """Settings of pools.py."""
        sources = self._arrivals.sources(later_of(wildcards))
        return PoolsSettings.of(
            self._data,
            filters=FilterSettings.of(self._data["filters"]),
            decontamination=ContaminationSettings.of(self._data["decontamination"]),
            arrivals={source.name: source.iteration for source in sources if source.iteration > 1},
        ).canonical()

    @property
    def contamination_settings(self) -> str:
        """Settings of contamination.py."""
        return ContaminationSettings.of(self._data["decontamination"]).canonical()

    def prompts_settings(self, wildcards: Any) -> str:
        """Settings of prompts.py, for a pool."""
        return PromptsSettings.of(
            self._config["sampling"],
            self._config["prompting"],
            lineage="/".join(filter(None, (later_of(wildcards), wildcards.model, "prompts", wildcards.table))),
            max_length=self._config["training"]["max_length"],
        ).canonical()


class Labelers:
    """Who labels the replies. Methods that take wildcards are about the labeler of a rule."""

    def __init__(self, config: dict, paths: SimpleNamespace):
        self._config, self._paths = config, paths
        self._rows: dict[str, dict[str, Any]] = config["data"]["labelers"]
        # Those that ask a model, and those whose model is a classifier.
        self._asking = [name for name, row in self._rows.items() if row["kind"] in plugins.ASKING]
        self._classifying = [name for name, row in self._rows.items() if row["kind"] in plugins.CLASSIFYING]

    def row(self, wildcards) -> dict[str, Any]:
        """The configuration's row of a labeler."""
        return self._rows[wildcards.labeler]

    @property
    def modules(self) -> list[str]:
        """The modules of the labelers, as files below scripts/."""
        return plugin_files(plugins.LABELERS, (row["kind"] for row in self._rows.values()))

    # ----------------------------------------------------------------------------------- questions

    def questions(self, wildcards) -> str:
        """Settings of label_requests.py."""
        return LabelRequestsSettings.of(
            self.row(wildcards),
            self._config["data"],
            self._config["data"]["filters"],
            labeler=wildcards.labeler,
            max_tokens=DECODING["max_tokens"],
        ).canonical()

    def asked(self, wildcards) -> dict[str, Any]:
        """What `generate` is told of a labeler's questions."""
        row = self.row(wildcards)
        return {"context": row["context"], "endpoint": row["endpoint"], "decoding": DECODING, "schema": SCHEMA}

    def classification(self, wildcards) -> str:
        """Settings of classify.py. Which label a class stands for is not among them: another one
        classifies nothing again."""
        row = self.row(wildcards)
        return ClassifySettings.of(row, classes=sorted(row["classes"])).canonical()

    # -------------------------------------------------------------------------------------- labels

    def requests(self, wildcards: Any) -> dict[str, str]:
        """The questions of every labeler that asks a model."""
        return {name: self._place("labeling_requests", wildcards).format(labeler=name) for name in self._asking}

    def completions(self, wildcards: Any) -> list[tuple[str, str]]:
        """The answers to them, as pairs of labeler and shard."""
        return self._sharded(self._place("labeling_completions", wildcards), self._asking)

    def probabilities(self, wildcards: Any) -> list[tuple[str, str]]:
        """What the classifiers say, as pairs of labeler and shard."""
        return self._sharded(self._place("class_probabilities", wildcards), self._classifying)

    def files(self, wildcards: Any) -> dict[str, list[str]]:
        """The files of all these, by the names of their options."""
        return {
            "requests": list(self.requests(wildcards).values()),
            "completions": [path for _, path in self.completions(wildcards)],
            "probabilities": [path for _, path in self.probabilities(wildcards)],
        }

    def _place(self, table: str, wildcards: Any) -> str:
        """The pattern of a table of the data that a job is about."""
        later = later_of(wildcards)
        return getattr(self._paths, f"later_{table}").replace("{later}", later) if later else getattr(self._paths, table)

    def _sharded(self, pattern: str, names: Iterable[str]) -> list[tuple[str, str]]:
        return [(name, shard) for name in names for shard in layout.shards(pattern, self._rows[name]["shards"], labeler=name)]

    @property
    def settings(self) -> str:
        """Settings of labels.py."""
        return LabelsSettings(labelers={name: LabelerSettings.of(row) for name, row in self._rows.items()}).canonical()


class LabelFiles:
    """Labels made elsewhere, as inputs and settings of rule `agreement`."""

    def __init__(self, config: dict):
        self._config = config
        rows = config["data"]["label_files"]
        self._sources = {name: LabelFileSettings.of(row) for name, row in rows.items()}
        self.labels = {name: row["path"] for name, row in rows.items()}
        self.strata = {name: row["strata"] for name, row in rows.items() if row["strata"]}

    @property
    def files(self) -> list[str]:
        """All of them."""
        return [*self.labels.values(), *self.strata.values()]

    @property
    def settings(self) -> str:
        """Settings of agreement.py."""
        return AgreementSettings.of(
            self._config["data"], labelers=sorted(self._config["data"]["labelers"]), files=self._sources
        ).canonical()
