"""Who was satisfied with what. Reads data/turns.parquet; writes data/labels.parquet."""


rule labels:
    """Judge every reply from the message with which the user answered it."""
    input:
        turns="<results>/data/turns.parquet",
    output:
        labels="<results>/data/labels.parquet",
        ledger="<results>/data/ledgers/labels.parquet",
    params:
        settings=settings(labelers=config["data"]["labelers"]),
        code=code("labels"),
    log:
        "<logs>/labels.log",
    benchmark:
        "<benchmarks>/labels/all.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/labels.py --turns {input.turns:q} --settings {params.settings:q}"
        " --labels {output.labels:q} --ledger {output.ledger:q} > {log:q} 2>&1"
