"""Everything an engine does: a table of requests and a model in, one shard of completions out.

Three rules with one command: what differs is who answers (the previous policy, this policy, the judge) and how.
"""


rule sample:
    """Sample replies to the training prompts from the policy of the round before."""
    input:
        requests="<results>/{model}/{trained}/requests.parquet",
        manifest=lambda wildcards: f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy.json",
        policy=lambda wildcards: ancient(f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy"),
    output:
        completions="<results>/{model}/{trained}/completions/{i}-of-{n}.parquet",
    params:
        settings=settings(
            backend=config["engine"]["backend"],
            context=config["sampling"]["context"],
            choices=None,
            decoding={key: config["sampling"][key] for key in DECODING},
        ),
        code=code("generate"),
        # Snakemake does not compare params that depend on resources: how an engine runs here changes no result.
        engine=lambda wildcards, resources: settings(**config["engine"]),
    log:
        "<logs>/sample/{model}/{trained}/{i}-of-{n}.log",
    benchmark:
        "<benchmarks>/sample/{model}/{trained}/{i}-of-{n}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    priority: 10
    shell:
        "{GPU:q} {SCRIPTS:q}/generate.py --requests {input.requests:q} --policy {input.policy:q} --manifest {input.manifest:q}"
        " --shard {wildcards.i} {wildcards.n} --settings {params.settings:q} --engine {params.engine:q}"
        " --completions {output.completions:q} 2>&1 | tee {log:q}"


use rule sample as respond with:
    input:
        requests="<results>/{model}/eval/{benchmark}/requests.parquet",
        manifest="<results>/{model}/{policy}/policy.json",
        policy=ancient("<results>/{model}/{policy}/policy"),
    output:
        completions="<results>/{model}/{policy}/eval/{benchmark}/completions/{i}-of-{n}.parquet",
    params:
        settings=lambda wildcards: settings(
            backend=config["engine"]["backend"],
            context=config["sampling"]["context"],
            choices=None,
            decoding=config["evaluation"]["benchmarks"][wildcards.benchmark]["decoding"],
        ),
        code=code("generate"),
        engine=lambda wildcards, resources: settings(**config["engine"]),
    log:
        "<logs>/respond/{model}/{policy}/{benchmark}/{i}-of-{n}.log",
    benchmark:
        "<benchmarks>/respond/{model}/{policy}/{benchmark}/{i}-of-{n}.jsonl"
    priority: 0


use rule sample as judge with:
    input:
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
        manifest=lambda wildcards: f"{RESULTS}/{judge_policy(wildcards.judge)}/policy.json",
        policy=lambda wildcards: ancient(f"{RESULTS}/{judge_policy(wildcards.judge)}/policy"),
    output:
        completions="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/completions/{i}-of-{n}.parquet",
    params:
        settings=lambda wildcards: settings(
            backend=config["engine"]["backend"],
            context=config["evaluation"]["judges"][wildcards.judge]["context"],
            choices=["A", "B"],
            decoding=None,
        ),
        code=code("generate"),
        engine=lambda wildcards, resources: settings(**config["engine"]),
    log:
        "<logs>/judge/{model}/{policy}/{benchmark}/{judge}/{i}-of-{n}.log",
    benchmark:
        "<benchmarks>/judge/{model}/{policy}/{benchmark}/{judge}/{i}-of-{n}.jsonl"
    priority: 0
