"""`snakemake --profile slurm preflight`: what would otherwise fail after hours, checked in a
minute.

Included last, as it looks at the resources of the other rules. It checks again each time, and no
check is retried.
"""

import time

from snakemake.logging import logger

preflight_checks = Preflight(config, paths, Path(workflow.basedir), iterations)

# Where a run or a dry run begins, and not in its jobs, which read this file as well.
if workflow.is_main_process:
    for related in preflight_checks.related_judges:
        logger.warning(f"note: {related}.")


rule preflight:
    """Print what was checked before the run, and fail if something has to be fixed."""
    input:
        parts=expand(paths.preflight, place=["login", "cpu", "generate", "train"]),
    params:
        python=sys.executable,
    retries: 0
    localrule: True
    shell:
        r"""
        {params.python:q} {SCRIPTS:q}/preflight.py report --parts {input.parts:q} > {log:q} 2>&1 && cat {log:q}
        """


rule preflight_login:
    """Check what can be seen from where snakemake runs: partitions, models and data, disk."""
    output:
        checks=paths.preflight.format(place="login"),
    params:
        settings=lambda wildcards: preflight_checks.login(
            place["slurm_partition"]
            for place in (placement(rule.resources) for rule in workflow.rules)
            if "slurm_partition" in place
        ),
        now=lambda wildcards: time.time(),
        python=sys.executable,
    retries: 0
    localrule: True
    shell:
        r"""
        {params.python:q} {SCRIPTS:q}/preflight.py login \
            --settings {params.settings:q} \
            --checks {output.checks:q} > {log:q} 2>&1
        """


rule preflight_cpu:
    """Check a node without a GPU: interpreter, packages, folders, endpoints."""
    input:
        login=paths.preflight.format(place="login"),
    output:
        checks=paths.preflight.format(place="cpu"),
    params:
        settings=preflight_checks.node("cpu"),
        now=lambda wildcards: time.time(),
        python=sys.executable,
    resources:
        mem_mb=4000,
        runtime=10,
    retries: 0
    shell:
        r"""
        {params.python:q} {SCRIPTS:q}/preflight.py node \
            --settings {params.settings:q} \
            --login {input.login:q} \
            --checks {output.checks:q} > {log:q} 2>&1
        """


use rule preflight_cpu as preflight_generate with:
    """Check a node that samples: as `preflight_cpu`, and the GPUs of `sample`."""
    output:
        checks=paths.preflight.format(place="generate"),
    params:
        settings=preflight_checks.node("gpu"),
    resources:
        **placement(workflow.get_rule("sample").resources),
        mem_mb=8000,
        runtime=10,


use rule preflight_generate as preflight_train with:
    """Check a node that trains: as `preflight_cpu`, and the GPUs of `train`."""
    output:
        checks=paths.preflight.format(place="train"),
    resources:
        **placement(workflow.get_rule("train").resources),
        mem_mb=8000,
        runtime=10,
