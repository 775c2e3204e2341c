"""`snakemake --profile slurm preflight`: what would otherwise fail after hours, checked in a minute.

Included last, as it looks at what the other rules ask for. It checks anew each time, and never says more than once.
"""

import time


localrules:
    preflight,
    preflight_here,


rule preflight:
    """Print what was checked, and fail if something has to be fixed."""
    input:
        parts=expand("<results>/preflight/{place}.json", place=["here", "cpu", "generate", "train"]),
    params:
        python=sys.executable,
    log:
        "<logs>/preflight/report.log",
    benchmark:
        "<timings>/preflight/report.jsonl"
    retries: 0
    shell:
        "{params.python:q} {SCRIPTS:q}/preflight.py report --parts {input.parts:q} > {log:q} 2>&1 && cat {log:q}"


rule preflight_here:
    """Check what can be seen from where snakemake runs: partitions, models and data, disk."""
    output:
        checks="<results>/preflight/here.json",
    params:
        settings=lambda wildcards: settings(
            partitions=sorted(
                {place["slurm_partition"] for rule in workflow.rules if "slurm_partition" in (place := place_of(rule.name))}
            ),
            addresses=sorted(
                {
                    row["path"]
                    for row in [
                        *config["models"].values(),
                        *config["evaluation"]["judges"].values(),
                        *config["data"]["sources"].values(),
                    ]
                    if row.get("path")
                }
            ),
            models={name: {"path": row["path"], "policies": len(iterations.policies(name))} for name, row in config["models"].items()},
            now=time.time(),
        ),
        python=sys.executable,
    log:
        "<logs>/preflight/here.log",
    benchmark:
        "<timings>/preflight/here.jsonl"
    retries: 0
    shell:
        "{params.python:q} {SCRIPTS:q}/preflight.py here --settings {params.settings:q} --checks {output.checks:q} > {log:q} 2>&1"


rule preflight_cpu:
    """Check a node without a GPU: interpreter, packages, folders, endpoints."""
    input:
        here="<results>/preflight/here.json",
    output:
        checks="<results>/preflight/cpu.json",
    params:
        settings=node_settings("cpu"),
        now=lambda wildcards: time.time(),
        python=sys.executable,
    log:
        "<logs>/preflight/cpu.log",
    benchmark:
        "<timings>/preflight/cpu.jsonl"
    resources:
        mem_mb=4000,
        runtime=10,
    retries: 0
    shell:
        "{params.python:q} {SCRIPTS:q}/preflight.py node --settings {params.settings:q} --checks {output.checks:q} > {log:q} 2>&1"


use rule preflight_cpu as preflight_generate with:
    output:
        checks="<results>/preflight/generate.json",
    params:
        settings=node_settings("gpu"),
        now=lambda wildcards: time.time(),
        python=sys.executable,
    log:
        "<logs>/preflight/generate.log",
    benchmark:
        "<timings>/preflight/generate.jsonl"
    resources:
        **place_of("sample"),
        mem_mb=8000,
        runtime=10,


use rule preflight_generate as preflight_train with:
    output:
        checks="<results>/preflight/train.json",
    log:
        "<logs>/preflight/train.log",
    benchmark:
        "<timings>/preflight/train.jsonl"
    resources:
        **place_of("train"),
        mem_mb=8000,
        runtime=10,
