"""From pools to policies: the warm-up and the iterations.

Iteration k samples from policy k-1, pairs what it sampled with what users logged, and trains policy k. The warm-up is
iteration 0: the same rules with the corrections and the base model.
"""


rule register:
    """Lay the base model out as a policy."""
    input:
        model=lambda wildcards: ancient(located(config["models"][wildcards.model]["path"])),
    output:
        policy=directory("<results>/{model}/base/policy"),
        manifest="<results>/{model}/base/policy.json",
    params:
        settings=lambda wildcards: settings(name=f"{wildcards.model}/base", path=config["models"][wildcards.model]["path"]),
        code=code("register"),
    log:
        "<logs>/base/{model}.log",
    benchmark:
        "<timings>/base/{model}.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/register.py --model {input.model:q} --settings {params.settings:q}"
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
        table="dsat|sat|corrections",
    params:
        settings=lambda wildcards: settings(
            lineage=f"{wildcards.model}/prompts/{wildcards.table}",
            context=config["sampling"]["context"],
            max_tokens=config["sampling"]["max_tokens"],
            max_length=config["training"]["max_length"],
            style=config["prompting"]["style"],
            instruction=config["prompting"]["instruction"],
        ),
        code=code("prompts"),
        kind=lambda wildcards: wildcards.table,
    log:
        "<logs>/prompts/{model}/{table}.log",
    benchmark:
        "<timings>/prompts/{model}/{table}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/prompts.py --kind {params.kind:q} --pool {input.pool:q} --policy {input.policy:q}"
        " --settings {params.settings:q} --prompts {output.prompts:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule requests:
    """Write down what the policy of the iteration before is asked: plain prompts, guided prompts, or both."""
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
            samples=samples_of(wildcards.trained),
            style=config["prompting"]["style"],
            instruction=config["prompting"]["instruction"],
        ),
        code=code("policy_requests"),
    log:
        "<logs>/requests/{model}/{trained}.log",
    benchmark:
        "<timings>/requests/{model}/{trained}.jsonl"
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
        ranks=ranks_of,
        prompts=lambda wildcards: f"{RESULTS}/{wildcards.model}/prompts/{recipe_of(wildcards.trained)['prompts']}.parquet",
        policy=ancient("<results>/{model}/base/policy"),
        benchmarks=list(KEPT_OUT.values()),
    output:
        pairs="<results>/{model}/{trained}/pairs.parquet",
        dropped="<results>/{model}/{trained}/dropped.parquet",
        ledger="<results>/{model}/{trained}/ledger.parquet",
    params:
        settings=lambda wildcards: settings(
            lineage=f"{wildcards.model}/{wildcards.trained}",
            recipe={side: recipe_of(wildcards.trained)[side] for side in ("chosen", "rejected")},
            max_length=config["training"]["max_length"],
            instruction=config["prompting"]["instruction"],
            allusions=config["prompting"]["allusions"],
        ),
        code=code("pairs"),
        benchmarks=[f"{name}={path}" for name, path in KEPT_OUT.items()],
        sampled=lambda wildcards, input: (
            [
                *(["--requests", input.requests, "--completions", *input.completions] if input.requests else []),
                *(["--ranks", input.ranks] if input.ranks else []),
            ]
        ),
    log:
        "<logs>/pairs/{model}/{trained}.log",
    benchmark:
        "<timings>/pairs/{model}/{trained}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/pairs.py --prompts {input.prompts:q} --policy {input.policy:q} {params.sampled:q}"
        " --benchmark {params.benchmarks:q} --settings {params.settings:q} --pairs {output.pairs:q} --dropped {output.dropped:q}"
        " --ledger {output.ledger:q} > {log:q} 2>&1"


rule train:
    """Train a policy on its pairs with DPO, from the policy before it."""
    input:
        pairs="<results>/{model}/{trained}/pairs.parquet",
        replay=lambda wildcards: expand(replayed(wildcards.trained), model=wildcards.model),
        prompts=lambda wildcards: [
            f"{RESULTS}/{wildcards.model}/prompts/{table}.parquet"
            for table in sorted({"dsat", "corrections", recipe_of(wildcards.trained)["prompts"]})
        ],
        manifest=lambda wildcards: f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy.json",
        start=lambda wildcards: ancient(f"{RESULTS}/{wildcards.model}/{previous(wildcards.trained)}/policy"),
        reference_manifest=lambda wildcards: f"{RESULTS}/{wildcards.model}/{reference(wildcards.trained)}/policy.json",
        reference=lambda wildcards: ancient(f"{RESULTS}/{wildcards.model}/{reference(wildcards.trained)}/policy"),
    output:
        policy=directory("<results>/{model}/{trained}/policy"),
        manifest="<results>/{model}/{trained}/policy.json",
        log="<results>/{model}/{trained}/train.parquet",
        reference_logps="<results>/{model}/{trained}/reference.parquet",
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
        run=lambda wildcards, resources: training_run(resources),
        state=f"{RESULTS}/state",
    log:
        "<logs>/train/{model}/{trained}.log",
    benchmark:
        "<timings>/train/{model}/{trained}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime="8h",
    priority: 10
    # tee outlives a SIGTERM, or the training could not say, nor finish, what it does then.
    shell:
        "{GPU:q} {SCRIPTS:q}/train.py --pairs {input.pairs:q} --replay {input.replay:q} --prompts {input.prompts:q}"
        " --start {input.start:q} --start-manifest {input.manifest:q}"
        " --reference {input.reference:q} --reference-manifest {input.reference_manifest:q}"
        " --state {params.state:q} --settings {params.settings:q} --run {params.run:q} --code {params.code:q}"
        " --policy {output.policy:q} --manifest {output.manifest:q} --log {output.log:q}"
        " --reference-logps {output.reference_logps:q} --gates {output.gates:q} 2>&1 | (trap '' TERM; exec tee {log:q})"


rule diagnostics:
    """Measure what an iteration of training did: margins, gradients, likelihoods, and how far the policy moved."""
    input:
        pairs="<results>/{model}/{trained}/pairs.parquet",
        reference_logps="<results>/{model}/{trained}/reference.parquet",
        heldout="<results>/{model}/prompts/dsat.parquet",
        manifests=lambda wildcards: [
            f"{RESULTS}/{wildcards.model}/{policy}/policy.json" for policy in ancestors(wildcards.trained)
        ],
        folders=lambda wildcards: [
            ancient(f"{RESULTS}/{wildcards.model}/{policy}/policy") for policy in ancestors(wildcards.trained)
        ],
    output:
        margins="<results>/{model}/{trained}/margins.parquet",
        gradients="<results>/{model}/{trained}/gradients.parquet",
        diagnostics="<results>/{model}/{trained}/diagnostics.parquet",
    params:
        settings=lambda wildcards: settings(
            seed=config["seed"],
            reference=config["training"]["reference"],
            training={key: config["training"][key] for key in ("beta", "device_batch", "max_length", "precision", "lora")},
            **config["training"]["diagnostics"],
        ),
        code=code("diagnostics"),
    log:
        "<logs>/diagnostics/{model}/{trained}.log",
    benchmark:
        "<timings>/diagnostics/{model}/{trained}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    shell:
        "{GPU:q} {SCRIPTS:q}/diagnostics.py --pairs {input.pairs:q} --reference-logps {input.reference_logps:q}"
        " --heldout {input.heldout:q} --policies {input.folders:q} --settings {params.settings:q}"
        " --margins {output.margins:q} --gradients {output.gradients:q} --diagnostics {output.diagnostics:q} > {log:q} 2>&1"
