"""Who was satisfied with what. Reads data/turns.parquet; writes data/labels.parquet, and how far labelers agree.

A rubric labeler asks a model: requests (CPU) -> answers (GPU or endpoint) -> labels (CPU), so that reading the answers in
another way asks nobody again.
"""


use rule register as register_labeler with:
    input:
        model=lambda wildcards: ancient(located(labeler_row(wildcards)["path"])),
    output:
        policy=directory("<results>/data/labelers/{labeler}/policy"),
        manifest="<results>/data/labelers/{labeler}/policy.json",
    params:
        settings=lambda wildcards: settings(name=f"labelers/{wildcards.labeler}", path=labeler_row(wildcards)["path"]),
        code=code("register"),
    log:
        "<logs>/register_labeler/{labeler}.log",
    benchmark:
        "<timings>/register_labeler/{labeler}.jsonl"


rule label_requests:
    """Ask what the user's next message says of the reply, for every reply that a rubric labeler is to judge."""
    input:
        unpack(labeler_model),
        turns="<results>/data/turns.parquet",
    output:
        requests="<results>/data/labelers/{labeler}/requests.parquet",
    params:
        settings=lambda wildcards: settings(
            labeler=wildcards.labeler,
            context=labeler_row(wildcards)["context"],
            max_tokens=LABEL_DECODING["max_tokens"],
            max_replies=labeler_row(wildcards)["max_replies"],
            languages=config["data"]["filters"]["languages"],
            seed=config["seed"],
        ),
        code=code("label_requests", "templates/rubric.txt"),
        model=lambda wildcards, input: ["--model", input.policy] if input.policy else [],
    log:
        "<logs>/label_requests/{labeler}.log",
    benchmark:
        "<timings>/label_requests/{labeler}.jsonl"
    resources:
        mem_mb=grows(8000),
        runtime=grows(120),
    shell:
        "{CPU:q} {SCRIPTS:q}/label_requests.py --turns {input.turns:q} {params.model:q} --settings {params.settings:q}"
        " --requests {output.requests:q} > {log:q} 2>&1"


use rule sample as annotate with:
    input:
        unpack(labeler_model),
        requests="<results>/data/labelers/{labeler}/requests.parquet",
    output:
        completions="<results>/data/labelers/{labeler}/completions/{i}-of-{n}.parquet",
        usage="<results>/data/labelers/{labeler}/completions/{i}-of-{n}.json",
    params:
        settings=generation.settings(labeler_asked),
        engine=generation.runtime(labeler_asked),
    log:
        "<logs>/annotate/{labeler}/{i}-of-{n}.log",
    benchmark:
        "<timings>/annotate/{labeler}/{i}-of-{n}.jsonl"
    priority: 0


rule labels:
    """Judge every reply from the message with which the user answered it."""
    input:
        turns="<results>/data/turns.parquet",
        requests=[labeler_requests(name) for name in RUBRICS],
        completions=[path for name in RUBRICS for path in labeler_completions(name)],
    output:
        labels="<results>/data/labels.parquet",
        ledger="<results>/data/ledgers/labels.parquet",
    params:
        settings=settings(labelers={name: {"kind": row["kind"]} for name, row in config["data"]["labelers"].items()}),
        code=code("labels"),
        answers=[
            *["--requests", *(f"{name}={labeler_requests(name)}" for name in RUBRICS)],
            *["--completions", *(f"{name}={path}" for name in RUBRICS for path in labeler_completions(name))],
        ],
    log:
        "<logs>/labels.log",
    benchmark:
        "<timings>/labels/all.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/labels.py --turns {input.turns:q} {params.answers:q} --settings {params.settings:q}"
        " --labels {output.labels:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule agreement:
    """Compare every labeler with every other, and with labels made elsewhere."""
    input:
        turns="<results>/data/turns.parquet",
        labels="<results>/data/labels.parquet",
        files=[row[key] for row in config["data"]["label_files"].values() for key in ("path", "strata") if row[key]],
    output:
        agreement="<results>/data/agreement.parquet",
    params:
        settings=settings(
            labelers=sorted(config["data"]["labelers"]),
            files={name: {"source": row["source"]} for name, row in config["data"]["label_files"].items()},
            seed=config["seed"],
        ),
        code=code("agreement"),
        files=[
            word
            for name, row in config["data"]["label_files"].items()
            for option, key in (("--file", "path"), ("--strata", "strata"))
            if row[key]
            for word in (option, name, row[key])
        ],
    log:
        "<logs>/agreement.log",
    benchmark:
        "<timings>/agreement/all.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/agreement.py --turns {input.turns:q} --labels {input.labels:q} {params.files:q}"
        " --settings {params.settings:q} --agreement {output.agreement:q} > {log:q} 2>&1"
