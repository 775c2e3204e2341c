"""What jobs are given: memory and time that grow with each attempt, GPUs, and where they run."""

import re
from collections.abc import Callable, Mapping
from typing import Any

# Resources that decide on which nodes a job runs, and with which GPUs.
PLACEMENT = ("slurm_partition", "slurm_account", "qos", "constraint", "slurm_extra", "gpu", "gpu_model", "gres")


def grows(amount: int) -> Callable:
    """A resource that is `amount` at the first attempt and as much more at each further one.

    Megabytes of `mem_mb`, minutes of `runtime`.
    """
    return lambda wildcards, attempt: amount * attempt


def run_light_stages_here(workflow: Any) -> None:
    """Run the light stages (`light=1` in a rule's resources: seconds of work on small tables) where
    Snakemake's `workflow` runs, instead of submitting them, where the profile says how many of them
    run at once: `resources: {light: N}`."""
    if "light" in workflow.global_resources:
        workflow.localrules(*(rule.name for rule in workflow.rules if "light" in rule.resources))


def gpus(resources: Mapping[str, Any]) -> int | None:
    """The GPUs that a job is given, as `gpu: N` or `gres: gpu[:MODEL]:N`; None where the profile
    does not say."""
    gres = re.fullmatch(r"gpu(?::[^:]+)*?(?::(\d+))?", str(resources.get("gres", "")))
    return resources.get("gpu") or (int(gres[1] or 1) if gres else None)


def placement(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Where the jobs of a rule run, of all its `resources` (snakemake's, as the profile has
    them)."""
    return {name: resources[name].raw for name in PLACEMENT if name in resources}
