"""From pools to policies: the warm-up and the iterations.

Iteration k samples from policy k-1, pairs what it sampled with what users logged, and trains policy k. The warm-up is
iteration 0: the same rules with the seed corrections and the base model.
"""


rule base:
    """Lay the base model out as a policy."""
    input:
        model=lambda wildcards: ancient(located(config["models"][wildcards.model]["path"])),
    output:
        policy=directory("<results>/{model}/base/policy"),
        manifest="<results>/{model}/base/policy.json",
    params:
        settings=lambda wildcards: settings(name=f"{wildcards.model}/base", path=config["models"][wildcards.model]["path"]),
        code=code("base"),
    log:
        "<logs>/base/{model}.log",
    benchmark:
        "<benchmarks>/base/{model}.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/base.py --model {input.model:q} --settings {params.settings:q}"
        " --policy {output.policy:q} --manifest {output.manifest:q} > {log:q} 2>&1"


rule prompts:
    """Fit a pool's prompts to the model: the oldest turns go where a conversation is too long."""
    input:
        pool="<results>/data/{table}.parquet",
        manifest="<results>/{model}/base/policy.json",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        prompts="<results>/{model}/prompts/{table}.parquet",
        ledger="<results>/{model}/prompts/{table}.ledger.parquet",
    wildcard_constraints:
        table="dsat|sat|seed",
    params:
        settings=lambda wildcards: settings(
            flow=f"{wildcards.model}/prompts/{wildcards.table}",
            context=config["sampling"]["context"],
            max_tokens=config["sampling"]["max_tokens"],
            max_length=config["training"]["max_length"],
            instruction=config["prompting"]["instruction"],
        ),
        code=code("prompts"),
        kind=lambda wildcards: wildcards.table,
    log:
        "<logs>/prompts/{model}/{table}.log",
    benchmark:
        "<benchmarks>/prompts/{model}/{table}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/prompts.py --kind {params.kind:q} --pool {input.pool:q} --policy {input.policy:q}"
        " --settings {params.settings:q} --prompts {output.prompts:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule requests:
    """Write down what the policy of the round before is asked: plain prompts, guided prompts, or both."""
    input:
        prompts=lambda wildcards: f"{RESULTS}/{wildcards.model}/prompts/{recipe_of(wildcards.trained)['prompts']}.parquet",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        requests="<results>/{model}/{trained}/requests.parquet",
    params:
        settings=lambda wildcards: settings(
            seed=config["seed"],
            unit=wildcards.trained,
            split="train",
            kinds=sampled_kinds(wildcards.trained),
            instruction=config["prompting"]["instruction"],
        ),
        code=code("policy_requests"),
    log:
        "<logs>/requests/{model}/{trained}.log",
    benchmark:
        "<benchmarks>/requests/{model}/{trained}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/policy_requests.py --prompts {input.prompts:q} --policy {input.policy:q}"
        " --settings {params.settings:q} --requests {output.requests:q} > {log:q} 2>&1"


rule pairs:
    """Put each prompt's chosen and rejected reply together, and drop what would teach the wrong thing."""
    input:
        unpack(sampled_inputs),
        prompts=lambda wildcards: f"{RESULTS}/{wildcards.model}/prompts/{recipe_of(wildcards.trained)['prompts']}.parquet",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        pairs="<results>/{model}/{trained}/pairs.parquet",
        dropped="<results>/{model}/{trained}/dropped.parquet",
        ledger="<results>/{model}/{trained}/ledger.parquet",
    params:
        settings=lambda wildcards: settings(
            flow=f"{wildcards.model}/{wildcards.trained}",
            recipe={side: recipe_of(wildcards.trained)[side] for side in ("chosen", "rejected")},
            max_length=config["training"]["max_length"],
            instruction=config["prompting"]["instruction"],
        ),
        code=code("pairs"),
        sampled=lambda wildcards, input: (
            ["--requests", input.requests, "--completions", *input.completions] if input.requests else []
        ),
    log:
        "<logs>/pairs/{model}/{trained}.log",
    benchmark:
        "<benchmarks>/pairs/{model}/{trained}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/pairs.py --prompts {input.prompts:q} --policy {input.policy:q} {params.sampled:q}"
        " --settings {params.settings:q} --pairs {output.pairs:q} --dropped {output.dropped:q} --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule train:
    """Train a policy on its pairs with DPO, from the policy before it, which is also the reference."""
    input:
        pairs="<results>/{model}/{trained}/pairs.parquet",
        prompts=lambda wildcards: [
            f"{RESULTS}/{wildcards.model}/prompts/{table}.parquet"
            for table in sorted({"dsat", "seed", recipe_of(wildcards.trained)["prompts"]})
        ],
        manifest=lambda wildcards: f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy.json",
        start=lambda wildcards: ancient(f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy"),
    output:
        policy=directory("<results>/{model}/{trained}/policy"),
        manifest="<results>/{model}/{trained}/policy.json",
        log="<results>/{model}/{trained}/train.parquet",
        margins="<results>/{model}/{trained}/margins.parquet",
        gates="<results>/{model}/{trained}/gates.json",
    params:
        settings=lambda wildcards: settings(
            name=f"{wildcards.model}/{wildcards.trained}",
            seed=config["seed"],
            epochs=config["training"]["warmup_epochs" if wildcards.trained == "warmup" else "epochs"],
            instruction=config["prompting"]["instruction"],
            training={key: value for key, value in config["training"].items() if key in TRAINING},
        ),
        code=code("train"),
        # Snakemake does not compare params that depend on resources.
        run=lambda wildcards, resources: settings(**{key: config["training"][key] for key in TRAINING_RUN}),
        state=f"{RESULTS}/state",
    log:
        "<logs>/train/{model}/{trained}.log",
    benchmark:
        "<benchmarks>/train/{model}/{trained}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime="8h",
    priority: 10
    shell:
        "{GPU:q} {SCRIPTS:q}/train.py --pairs {input.pairs:q} --prompts {input.prompts:q} --start {input.start:q}"
        " --start-manifest {input.manifest:q} --state {params.state:q} --settings {params.settings:q} --run {params.run:q} --code {params.code:q}"
        " --policy {output.policy:q} --manifest {output.manifest:q} --log {output.log:q} --margins {output.margins:q}"
        " --gates {output.gates:q} 2>&1 | tee {log:q}"
