"""Raw conversations to preference pools.

Reads the sources of the configuration; writes data/{turns,dsat,sat,corrections,wordless}.parquet, the tasks
of the benchmarks, and ledgers.
"""

from drift.workflow.data import Pools, Sources, named

sources = Sources(config, paths, located)
pools = Pools(config, paths)


rule fetch:
    """Fetch a model or raw conversations, once for all runs, where snakemake runs."""
    output:
        directory("downloads/{address}"),  # not by a job: compute nodes may be offline
    params:
        address=inputs.address,
    log:
        "logs/fetch/{address}.log",
    localrule: True
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/fetch.py \
            --address {params.address:q} \
            --folder {output:q} > {log:q} 2>&1
        """


rule turns:
    """Read every source into one table of exchanges: question, reply, what the user said next."""
    input:
        sources.inputs(pinned=ancient),
    output:
        turns=paths.turns,
        ledger=paths.stage_ledger.format(stage="turns"),
    params:
        settings=sources.settings,
        contents=sources.contents,
        code=code("turns", "drift/sources/copies.sql", sources.modules),
        sources=lambda wildcards: named(sources.paths(wildcards)),
        conversations=lambda wildcards: named(sources.conversations(wildcards)),
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/turns.py \
            --source {params.sources:q} \
            --conversations {params.conversations:q} \
            --settings {params.settings:q} \
            --turns {output.turns:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule pools:
    """Pick anchored negatives (dsat), satisfied replies (sat), corrections, and replies that
    disappointed without a word (wordless), and split them."""
    input:
        turns=paths.turns,
        labels=paths.labels,
        first=[],  # the pools of the start, where these are of later data
        benchmarks=list(inputs.kept_out.values()),
    output:
        dsat=paths.dsat,
        sat=paths.sat,
        corrections=paths.corrections,
        wordless=paths.wordless,
        quarantine=paths.quarantine,
        ledger=paths.stage_ledger.format(stage="pools"),
    params:
        settings=pools.settings,
        code=code("pools", "sql/*.sql"),
        benchmarks=named(inputs.kept_out),
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/pools.py \
            --turns {input.turns:q} \
            --labels {input.labels:q} \
            --first {input.first:q} \
            --benchmark {params.benchmarks:q} \
            --settings {params.settings:q} \
            --dsat {output.dsat:q} \
            --sat {output.sat:q} \
            --corrections {output.corrections:q} \
            --wordless {output.wordless:q} \
            --quarantine {output.quarantine:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule contamination:
    """Look for the prompts of a benchmark in the training rows, if it is not kept out of them."""
    input:
        dsat=paths.dsat,
        sat=paths.sat,
        corrections=paths.corrections,
        wordless=paths.wordless,
        tasks=paths.tasks,
    output:
        contamination=paths.contamination,
    params:
        settings=pools.contamination_settings,
        code=code("contamination"),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/contamination.py \
            --dsat {input.dsat:q} \
            --sat {input.sat:q} \
            --corrections {input.corrections:q} \
            --wordless {input.wordless:q} \
            --benchmark {wildcards.benchmark:q}={input.tasks:q} \
            --settings {params.settings:q} \
            --contamination {output.contamination:q} > {log:q} 2>&1
        """


rule tasks:
    """Make a benchmark's tasks: from its files, or of DSAT prompts kept for testing."""
    input:
        unpack(inputs.task_files),
    output:
        tasks=paths.tasks,
    params:
        settings=evaluation.task_settings,
        code=code("tasks", evaluation.module),
        options=lambda wildcards, input: inputs.task_options(wildcards.benchmark, input),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/tasks.py \
            --source {input.source:q} \
            {params.options:q} \
            --settings {params.settings:q} \
            --tasks {output.tasks:q} > {log:q} 2>&1
        """
