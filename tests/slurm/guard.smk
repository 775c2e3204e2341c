"""Jobs that do nothing for a while, with the guard, whose patience is shortened."""

import sys

sys.path.insert(0, config["scripts"])

from drift.workflow import slurm_guard

slurm_guard.PATIENCE = 5
slurm_guard.install("results/guard")


rule work:
    output:
        "{name}.txt",
    params:
        seconds=config.get("seconds", 4),
    resources:
        mem_mb=700,
        runtime=5,
    shell:
        "sleep {params.seconds}; echo $SLURM_JOB_ID > {output}"
