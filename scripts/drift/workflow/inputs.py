"""Where the models and files that a configuration names are, as inputs of rules."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drift import benchmarks
from drift.config.base import ADDRESS_KEYS
from drift.downloads import folder_name, is_remote
from drift.workflow.contents import contents

# Keys of a benchmark whose files its tasks are made of, besides path and references.
_TASK_FILES = ("baseline", "difficulty", "examples")


def located(address: str) -> str:
    """Where a model or file is: a local path as it is, else the folder that rule `fetch` fills."""
    return f"downloads/{folder_name(address)}" if is_remote(address) else address


def contents_of(addresses: Iterable[str]) -> str:
    """Hashes of what lies at those `addresses` that are local, by address, below "contents" of a
    JSON object; what is fetched is pinned by its address."""
    hashes = {address: contents(address) for address in addresses if not is_remote(address)}
    return json.dumps({"contents": hashes}, sort_keys=True)


def _places(section: dict, key: str = "", *, named: bool = False) -> Iterator[tuple[str, dict, str]]:
    """Where the addresses of a section of the configuration stand, in its order: dotted key, the
    dict and the name in it. `named`: the section is itself the value of a key in ADDRESS_KEYS."""
    for name, value in section.items():
        here, address = f"{key}.{name}" if key else name, named or name in ADDRESS_KEYS
        if isinstance(value, dict):
            yield from _places(value, here, named=address)
        elif address and isinstance(value, str):
            yield here, section, name


def keyed_addresses(config: dict) -> Iterator[tuple[str, str]]:
    """Every address of the configuration with its key, such as models.NAME.path, in its order."""
    return ((key, section[name]) for key, section, name in _places(config))


def addresses_of(config: dict) -> Iterator[str]:
    """Every address of the configuration, in its order."""
    return (address for _, address in keyed_addresses(config))


def all_addresses(config: dict) -> list[str]:
    """Every address of the configuration, and of the files that its kinds of benchmarks need."""
    kinds = sorted({row["kind"] for row in config["evaluation"]["benchmarks"].values()})
    return [*addresses_of(config), *(address for kind in kinds for address in benchmarks.check_files(kind).values())]


def local_addresses(config: dict) -> list[str]:
    """Every model and file of the configuration that is on this machine and not fetched."""
    return [address for address in addresses_of(config) if not is_remote(address)]


def shipped(config: dict, repository: Path) -> dict:
    """The configuration with relative local addresses that lead into the repository where the
    working directory has nothing of that name: examples/ of a run in another directory."""
    config = copy.deepcopy(config)
    for _, section, name in _places(config):
        address = section[name]
        # What is absolute stays: joining it to a folder gives itself.
        if not is_remote(address) and not Path(address).exists() and (repository / address).exists():
            section[name] = str(repository / address)
    return config


class Inputs:
    """The inputs that come from outside of the run, and the benchmarks that are made of them.

    `paths` are the patterns of layout.py. `pinned` marks an input that cannot change behind its
    name, so that a new time stamp means nothing: snakemake's `ancient`.
    """

    def __init__(self, config: dict, paths: SimpleNamespace, pinned: Callable[[str], str]):
        self._benchmarks: dict[str, dict] = config["evaluation"]["benchmarks"]
        self._paths = paths
        self._pinned = pinned
        # What is to be fetched, by the folder in downloads/ that it is fetched into.
        self.addresses = {folder_name(address): address for address in all_addresses(config) if is_remote(address)}

    @property
    def kept_out(self) -> dict[str, str]:
        """Tasks tables of the benchmarks whose prompts no training row may hold, by name.

        The held-out benchmark is not among them: it is split off from the same conversations.
        """
        return {
            name: self._paths.tasks.format(benchmark=name)
            for name, row in self._benchmarks.items()
            if row["keep_out"] and row["path"] is not None
        }

    def address(self, wildcards: SimpleNamespace) -> str:
        """What rule `fetch` brings into a folder of downloads/."""
        return self.addresses[wildcards.address]

    def file(self, address: str) -> str:
        """A file as an input: what is fetched is pinned by its address, what is local may
        change."""
        return self._pinned(located(address)) if is_remote(address) else address

    def task_files(self, wildcards: SimpleNamespace) -> dict[str, str | list[str]]:
        """What a benchmark's tasks are made of, by name: `source`, and where there are any,
        `baseline`, `difficulty` and `examples`, and the answers of reference models
        (`references`)."""
        row = self._benchmarks[wildcards.benchmark]
        files = {"source": self._paths.dsat if row["path"] is None else self.file(row["path"])}
        files |= {name: self.file(row[name]) for name in _TASK_FILES if row[name]}
        references = [self.file(address) for address in row["references"].values()]
        return files | ({"references": references} if references else {})

    def check_files(self, wildcards: SimpleNamespace) -> list[str]:
        """The files that code needs to check answers to a benchmark."""
        return [
            self.file(address) for address in benchmarks.check_files(self._benchmarks[wildcards.benchmark]["kind"]).values()
        ]

    def check_options(self, wildcards: SimpleNamespace, input: Any) -> list[str]:
        """Each of these with its name, for checks.py."""
        names = benchmarks.check_files(self._benchmarks[wildcards.benchmark]["kind"])
        return [f"{name}={path}" for name, path in zip(names, input.files, strict=True)]

    def task_options(self, benchmark: str, files: Any) -> list[str]:
        """The options of tasks.py for these files but `source`."""
        row = self._benchmarks[benchmark]
        options = [part for name in _TASK_FILES if row[name] for part in (f"--{name}", getattr(files, name))]
        models = [f"{model}={located(address)}" for model, address in row["references"].items()]
        return options + (["--reference", *models] if models else [])
