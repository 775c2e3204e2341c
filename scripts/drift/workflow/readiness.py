"""What is looked at before the first job: the interpreters of the stages that would run, and the
files and models that the configuration names. Each fault comes with its cure."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from snakemake.exceptions import WorkflowError

from drift.downloads import is_remote
from drift.workflow.inputs import keyed_addresses

# What makes an environment of the repository.
_MADE_BY = {".venv/cpu/bin/python": "make envs", ".venv/gpu/bin/python": "make envs-gpu"}

_NO_PROFILE = (
    "note: no profile of this repository is in use: add --profile local, or slurm. Without one, scripts count by their time "
    "stamps, and a run that was killed does not go on by itself."
)


def missing_interpreters(commands: Iterable[str | None], environments: Mapping[str, str], repository: Path) -> list[str]:
    """A sentence for each of the `environments` of the configuration that is not there, but that
    one of these shell commands of rules starts ({CPU:q}, {GPU:q})."""
    commands = [command for command in commands if command]
    faults = []
    for name, path in environments.items():
        used = any(f"{{{name.upper()}:q}}" in command for command in commands)
        if used and not os.access(repository / path, os.X_OK):
            made = f"build it with `{_MADE_BY[path]}`, or name another" if path in _MADE_BY else "name one that is there"
            faults.append(f"environments.{name}: there is no Python at {repository / path}: {made}")
    return faults


def missing_files(message: str, config: Mapping[str, Any]) -> list[str]:
    """A sentence for each local address of the configuration that Snakemake's message on missing
    inputs names."""
    missing = {line.strip() for line in message.splitlines()}
    return [
        f"{key}: {address} is not there: give the path of what is"
        + (f", or hf:{address}@REVISION for the hub's" if _like_the_hubs(address) else "")
        for key, address in keyed_addresses(config)
        if not is_remote(address) and address in missing
    ]


def _like_the_hubs(address: str) -> bool:
    organisation, _, name = address.partition("/")
    return bool(organisation.strip(".") and name) and "/" not in name


class Readiness(logging.Handler):
    """The checks of a run of snakemake's `workflow`; prints with `show`."""

    def __init__(self, workflow: Any, config: Mapping[str, Any], show: Callable[[str], None]):
        super().__init__()
        self._workflow, self._config, self._show = workflow, config, show
        if workflow.is_main_process:
            workflow.logger_manager.logger.addHandler(self)

    def check(self) -> None:
        """Look before the first job. Raises WorkflowError that names every fault and its cure."""
        if faults := self._faults():
            raise WorkflowError("nothing was started:\n" + "\n".join(f"  - {fault}" for fault in faults))

    def emit(self, record: logging.LogRecord) -> None:
        """Add the cure to Snakemake's own error, and to a dry run what would stop the run."""
        event, dry = getattr(record, "event", None), self._workflow.logger_manager.settings.dryrun
        if event == "error" and getattr(record, "exception", "") == "MissingInputException":
            for fault in missing_files(record.getMessage(), self._config):
                self._show(f"error: {fault}")
        elif event == "run_info":
            if any(trigger.name == "CODE" for trigger in self._workflow.rerun_triggers):
                self._show(_NO_PROFILE)
            for fault in self._faults() if dry else []:
                self._show(f"note: {fault}. A run would not start.")

    def _faults(self) -> list[str]:
        commands = {job.rule.shellcmd for job in self._workflow.dag.needrun_jobs()}
        # An absolute path may be one of the cluster's nodes alone, where the preflight looks. A dry
        # run does not say where jobs would run.
        seen = {
            name: path
            for name, path in self._config["environments"].items()
            if not (self._workflow.non_local_exec_or_dryrun and Path(path).is_absolute())
        }
        return missing_interpreters(commands, seen, Path(self._workflow.basedir))
