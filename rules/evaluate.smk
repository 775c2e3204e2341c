"""What every policy is worth: answers to benchmarks, verdicts on them, held-out preferences, and scores with intervals."""


rule register_judge:
    """Lay a judge's model out as a policy."""
    input:
        model=lambda wildcards: ancient(located(config["evaluation"]["judges"][wildcards.judge]["path"])),
    output:
        policy=directory("<results>/judges/{judge}/policy"),
        manifest="<results>/judges/{judge}/policy.json",
    params:
        settings=lambda wildcards: settings(
            name=f"judges/{wildcards.judge}", path=config["evaluation"]["judges"][wildcards.judge]["path"]
        ),
        code=code("register"),
    log:
        "<logs>/register_judge/{judge}.log",
    benchmark:
        "<timings>/register_judge/{judge}.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/register.py --model {input.model:q} --settings {params.settings:q}"
        " --policy {output.policy:q} --manifest {output.manifest:q} > {log:q} 2>&1"


use rule prompts as benchmark_prompts with:
    input:
        pool="<results>/data/benchmarks/{benchmark}.parquet",
        manifest="<results>/{model}/base/policy.json",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        prompts="<results>/{model}/eval/{benchmark}/prompts.parquet",
        ledger="<results>/{model}/eval/{benchmark}/prompts.ledger.parquet",
    params:
        settings=lambda wildcards: settings(
            lineage=f"{wildcards.model}/eval/{wildcards.benchmark}",
            context=benchmark_context(wildcards.benchmark),
            max_tokens=config["evaluation"]["benchmarks"][wildcards.benchmark]["decoding"]["max_tokens"],
            max_length=None,
            instruction=None,
        ),
        code=code("prompts"),
        kind="tasks",
    log:
        "<logs>/benchmark_prompts/{model}/{benchmark}.log",
    benchmark:
        "<timings>/benchmark_prompts/{model}/{benchmark}.jsonl"


use rule requests as benchmark_requests with:
    input:
        prompts="<results>/{model}/eval/{benchmark}/prompts.parquet",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        requests="<results>/{model}/eval/{benchmark}/requests.parquet",
    params:
        settings=lambda wildcards: settings(
            seed=config["seed"],
            unit=f"eval/{wildcards.benchmark}",
            split="test",
            samples={"plain": config["evaluation"]["benchmarks"][wildcards.benchmark]["samples"]},
            instruction=None,
        ),
        code=code("policy_requests"),
    log:
        "<logs>/benchmark_requests/{model}/{benchmark}.log",
    benchmark:
        "<timings>/benchmark_requests/{model}/{benchmark}.jsonl"


rule responses:
    """Collect a policy's answers to a benchmark."""
    input:
        requests="<results>/{model}/eval/{benchmark}/requests.parquet",
        completions=lambda wildcards: shards(
            f"{RESULTS}/{wildcards.model}/{wildcards.policy}/eval/{wildcards.benchmark}",
            config["evaluation"]["benchmarks"][wildcards.benchmark]["shards"],
        ),
    output:
        responses="<results>/{model}/{policy}/eval/{benchmark}/responses.parquet",
    params:
        code=code("responses"),
    log:
        "<logs>/responses/{model}/{policy}/{benchmark}.log",
    benchmark:
        "<timings>/responses/{model}/{policy}/{benchmark}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/responses.py --requests {input.requests:q} --completions {input.completions:q}"
        " --responses {output.responses:q} > {log:q} 2>&1"


rule judge_requests:
    """Ask a judge about a policy's answers: which of two is better, or how good one is."""
    input:
        unpack(lambda wildcards: answerer(judge_row(wildcards), judge_policy(wildcards.judge))),
        tasks="<results>/data/benchmarks/{benchmark}.parquet",
        responses="<results>/{model}/{policy}/eval/{benchmark}/responses.parquet",
    output:
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
    params:
        settings=lambda wildcards: question_settings(judge_row(wildcards), judging_of(wildcards.benchmark, wildcards.judge)),
        code=code("judge_requests"),
        # The hash of the template is among the settings: where it lies changes nothing. Snakemake does not compare such params.
        template=lambda wildcards, resources: template_of(
            judge_row(wildcards), judging_of(wildcards.benchmark, wildcards.judge)
        )[0],
        # An endpoint renders its chats by itself.
        tokenizer=lambda wildcards, input: ["--tokenizer", input.policy] if input.policy else [],
    log:
        "<logs>/judge_requests/{model}/{policy}/{benchmark}/{judge}.log",
    benchmark:
        "<timings>/judge_requests/{model}/{policy}/{benchmark}/{judge}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/judge_requests.py --tasks {input.tasks:q} --responses {input.responses:q}"
        " --template {params.template:q} {params.tokenizer:q} --settings {params.settings:q} --requests {output.requests:q}"
        " > {log:q} 2>&1"


rule judgments:
    """Read the verdicts."""
    input:
        tasks="<results>/data/benchmarks/{benchmark}.parquet",
        responses="<results>/{model}/{policy}/eval/{benchmark}/responses.parquet",
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
        completions=lambda wildcards: shards(
            f"{RESULTS}/{wildcards.model}/{wildcards.policy}/eval/{wildcards.benchmark}/judge/{wildcards.judge}",
            config["evaluation"]["benchmarks"][wildcards.benchmark]["shards"],
        ),
    output:
        judgments="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/judgments.parquet",
    params:
        settings=lambda wildcards: settings(seed=config["seed"], judging=judging_of(wildcards.benchmark, wildcards.judge)),
        code=code("judgments"),
        # It decides whether there is a table, not what is in it.
        least=lambda wildcards, resources: config["evaluation"]["judges"][wildcards.judge]["min_verdicts"],
    log:
        "<logs>/judgments/{model}/{policy}/{benchmark}/{judge}.log",
    benchmark:
        "<timings>/judgments/{model}/{policy}/{benchmark}/{judge}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/judgments.py --tasks {input.tasks:q} --responses {input.responses:q}"
        " --requests {input.requests:q} --completions {input.completions:q} --min-verdicts {params.least:q}"
        " --settings {params.settings:q} --judgments {output.judgments:q} > {log:q} 2>&1"


rule published:
    """Read answers with published figures, on which judges are tried."""
    input:
        source=lambda wildcards: file_at(config["evaluation"]["validation"]),
    output:
        tasks="<results>/eval/validation/{kind}/tasks.parquet",
        responses="<results>/eval/validation/{kind}/responses.parquet",
        published="<results>/eval/validation/{kind}/published.parquet",
    wildcard_constraints:
        kind="pairwise|score",
    params:
        code=code("validation_tasks"),
    log:
        "<logs>/published/{kind}.log",
    benchmark:
        "<timings>/published/{kind}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/validation_tasks.py --source {input.source:q} --kind {wildcards.kind:q} --tasks {output.tasks:q}"
        " --responses {output.responses:q} --published {output.published:q} > {log:q} 2>&1"


use rule judge_requests as published_requests with:
    input:
        unpack(lambda wildcards: answerer(judge_row(wildcards), judge_policy(wildcards.judge))),
        tasks=lambda wildcards: f"{published_folder(wildcards.benchmark, wildcards.judge)}/tasks.parquet",
        responses=lambda wildcards: f"{published_folder(wildcards.benchmark, wildcards.judge)}/responses.parquet",
    output:
        requests="<results>/judges/{judge}/validation/{benchmark}/requests.parquet",
    log:
        "<logs>/published_requests/{judge}/{benchmark}.log",
    benchmark:
        "<timings>/published_requests/{judge}/{benchmark}.jsonl"


use rule judgments as published_judgments with:
    input:
        tasks=lambda wildcards: f"{published_folder(wildcards.benchmark, wildcards.judge)}/tasks.parquet",
        responses=lambda wildcards: f"{published_folder(wildcards.benchmark, wildcards.judge)}/responses.parquet",
        requests="<results>/judges/{judge}/validation/{benchmark}/requests.parquet",
        completions="<results>/judges/{judge}/validation/{benchmark}/completions/1-of-1.parquet",
    output:
        judgments="<results>/judges/{judge}/validation/{benchmark}/judgments.parquet",
    log:
        "<logs>/published_judgments/{judge}/{benchmark}.log",
    benchmark:
        "<timings>/published_judgments/{judge}/{benchmark}.jsonl"


rule validation:
    """Say how far each judge agrees with published figures, when it judges as it does for a benchmark."""
    input:
        judgments=[f"{folder}/judgments.parquet" for _, _, folder, _ in trials()],
        published=[f"{published}/published.parquet" for *_, published in trials()],
    output:
        validation="<results>/eval/validation.parquet",
    params:
        settings=settings(seed=config["seed"], bootstrap=config["evaluation"]["bootstrap"]),
        code=code("validation"),
        trials=[
            part
            for judge, benchmark, folder, published in trials()
            for part in ("--trial", judge, benchmark, folder, f"{published}/published.parquet")
        ],
    log:
        "<logs>/validation.log",
    benchmark:
        "<timings>/validation/all.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/validation.py {params.trials:q} --settings {params.settings:q} --validation {output.validation:q}"
        " > {log:q} 2>&1"


rule logps:
    """Score the held-out corrections: does the policy prefer what users preferred?"""
    input:
        prompts="<results>/{model}/prompts/corrections.parquet",
        manifest="<results>/{model}/{policy}/policy.json",
        policy=ancient("<results>/{model}/{policy}/policy"),
    output:
        logps="<results>/{model}/{policy}/eval/heldout-pairs/logps.parquet",
    params:
        code=code("logps"),
    log:
        "<logs>/logps/{model}/{policy}.log",
    benchmark:
        "<timings>/logps/{model}/{policy}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{GPU:q} {SCRIPTS:q}/logps.py --prompts {input.prompts:q} --policy {input.policy:q} --logps {output.logps:q}"
        " 2>&1 | tee {log:q}"


rule scores:
    """Put every policy's scores into one table, with bootstrap intervals, and compare the policies in another."""
    input:
        tasks=[f"{RESULTS}/data/benchmarks/{benchmark}.parquet" for benchmark in config["evaluation"]["benchmarks"]],
        gamed=[file_at(row["gamed"]) for row in config["evaluation"]["benchmarks"].values() if row["gamed"]],
        responses=[
            f"{RESULTS}/{policy}/eval/{benchmark}/responses.parquet"
            for policy in POLICIES
            for benchmark in config["evaluation"]["benchmarks"]
        ],
        judgments=[
            f"{RESULTS}/{policy}/eval/{benchmark}/judge/{judge}/judgments.parquet"
            for policy in POLICIES
            for benchmark in config["evaluation"]["benchmarks"]
            for judge in judges_of(benchmark)
        ],
        logps=[f"{RESULTS}/{policy}/eval/heldout-pairs/logps.parquet" for policy in POLICIES],
    output:
        scores="<results>/eval/scores.parquet",
        comparisons="<results>/eval/comparisons.parquet",
    params:
        settings=settings(
            seed=config["seed"],
            beta=config["training"]["beta"],
            bootstrap=config["evaluation"]["bootstrap"],
            benchmarks={
                name: {"kind": row["kind"], "judges": {judge: judge_prompt(name, judge) for judge in judges_of(name)}}
                for name, row in config["evaluation"]["benchmarks"].items()
            },
        ),
        code=code("scores"),
        policies=[
            f"--policy {policy.split('/')[0]} {method} {k} {RESULTS}/{policy}"
            for policy in POLICIES
            for method, k in [method_and_iteration(policy)]
        ],
        gamed=[
            part
            for name, row in config["evaluation"]["benchmarks"].items()
            if row["gamed"]
            for part in ("--gamed", name, located(row["gamed"]))
        ],
    log:
        "<logs>/scores.log",
    benchmark:
        "<timings>/scores/all.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/scores.py {params.policies} --tasks {input.tasks:q} {params.gamed:q}"
        " --settings {params.settings:q} --scores {output.scores:q} --comparisons {output.comparisons:q} > {log:q} 2>&1"
