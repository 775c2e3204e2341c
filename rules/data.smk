"""Raw conversations to preference pools.

Reads the sources of the configuration; writes data/{turns,dsat,sat,seed}.parquet, the held-out benchmark, and ledgers.
"""

from drift.settings.data import ContaminationSettings

# What a source needs beside its own files: the WildChat that WildFeedback's annotations are about.
BESIDE = {
    name: located(source["conversations"]) for name, source in config["data"]["sources"].items() if source["conversations"]
}


rule fetch:
    """Bring a model or raw conversations to this machine, once for all runs; compute nodes may be offline."""
    output:
        directory("downloads/{address}"),
    params:
        address=inputs.address,
    log:
        "logs/fetch/{address}.log",
    localrule: True
    shell:
        "{CPU:q} {SCRIPTS:q}/fetch.py --address {params.address:q} --folder {output:q} > {log:q} 2>&1"


rule turns:
    """Read every source into one table of exchanges: question, reply, what the user said next."""
    input:
        # What is fetched is pinned by its address, and a log that only got a new time stamp is the same log.
        sources=[ancient(located(source["path"])) for source in config["data"]["sources"].values()],
        beside=[ancient(path) for path in BESIDE.values()],
    output:
        turns="<results>/data/turns.parquet",
        ledger="<results>/data/ledgers/turns.parquet",
    params:
        settings=settings(
            sources={
                name: {key: source[key] for key in ("kind", "mask")} for name, source in config["data"]["sources"].items()
            }
        ),
        code=code("turns", "drift/sources/*.sql"),
        sources=[f"{name}={located(source['path'])}" for name, source in config["data"]["sources"].items()],
        beside=[f"{name}={path}" for name, path in BESIDE.items()],
    log:
        "<logs>/turns.log",
    benchmark:
        "<timings>/turns/all.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/turns.py --source {params.sources:q} --beside {params.beside:q} --settings {params.settings:q}"
        " --turns {output.turns:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule pools:
    """Pick the anchored negatives (dsat), the satisfied replies (sat) and the corrections (seed), and split them."""
    input:
        turns="<results>/data/turns.parquet",
        labels="<results>/data/labels.parquet",
        benchmarks=list(KEPT_OUT.values()),
    output:
        dsat="<results>/data/dsat.parquet",
        sat="<results>/data/sat.parquet",
        corrections="<results>/data/corrections.parquet",
        quarantine="<results>/data/quarantine.parquet",
        ledger="<results>/data/ledgers/pools.parquet",
    params:
        settings=settings(
            seed=config["seed"],
            **{key: value for key, value in config["data"].items() if key not in ("sources", "labelers", "label_files")},
        ),
        code=code("pools", "sql/*.sql"),
        benchmarks=[f"{name}={path}" for name, path in KEPT_OUT.items()],
    log:
        "<logs>/pools.log",
    benchmark:
        "<timings>/pools/all.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/pools.py --turns {input.turns:q} --labels {input.labels:q} --benchmark {params.benchmarks:q}"
        " --settings {params.settings:q} --dsat {output.dsat:q} --sat {output.sat:q} --corrections {output.corrections:q}"
        " --quarantine {output.quarantine:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule contamination:
    """Look for a benchmark's prompts in the training rows, where it came too late to be kept out of them."""
    input:
        dsat=paths.dsat,
        sat=paths.sat,
        corrections=paths.corrections,
        tasks=paths.tasks,
    output:
        contamination=paths.contamination,
    params:
        settings=ContaminationSettings.of(config["data"]["decontamination"]).canonical(),
        code=code("contamination"),
    log:
        "<logs>/contamination/{benchmark}.log",
    benchmark:
        "<timings>/contamination/{benchmark}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/contamination.py \
            --dsat {input.dsat:q} \
            --sat {input.sat:q} \
            --corrections {input.corrections:q} \
            --benchmark {wildcards.benchmark:q}={input.tasks:q} \
            --settings {params.settings:q} \
            --contamination {output.contamination:q} > {log:q} 2>&1
        """


rule tasks:
    """A benchmark's tasks: from its files, or the test split's DSAT prompts with the reply that disappointed as the one to beat."""
    input:
        unpack(task_files),
    output:
        tasks="<results>/data/benchmarks/{benchmark}.parquet",
    params:
        settings=evaluation.task_settings,
        code=code("tasks", evaluation.module),
        options=lambda wildcards, input: task_options(wildcards.benchmark, input),
    log:
        "<logs>/tasks/{benchmark}.log",
    benchmark:
        "<timings>/tasks/{benchmark}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/tasks.py --source {input.source:q} {params.options:q} --settings {params.settings:q}"
        " --tasks {output.tasks:q} > {log:q} 2>&1"
