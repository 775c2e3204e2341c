"""What every policy is worth: answers to benchmarks, verdicts on them, held-out preferences, and scores with intervals."""


rule judge_base:
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
        code=code("base"),
    log:
        "<logs>/judge_base/{judge}.log",
    benchmark:
        "<benchmarks>/judge_base/{judge}.jsonl"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{CPU:q} {SCRIPTS:q}/base.py --model {input.model:q} --settings {params.settings:q}"
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
            flow=f"{wildcards.model}/eval/{wildcards.benchmark}",
            context=config["sampling"]["context"],
            max_tokens=config["evaluation"]["benchmarks"][wildcards.benchmark]["decoding"]["max_tokens"],
            max_length=None,
            instruction=None,
        ),
        code=code("prompts"),
        kind="tasks",
    log:
        "<logs>/benchmark_prompts/{model}/{benchmark}.log",
    benchmark:
        "<benchmarks>/benchmark_prompts/{model}/{benchmark}.jsonl"


use rule requests as benchmark_requests with:
    input:
        prompts="<results>/{model}/eval/{benchmark}/prompts.parquet",
        policy=ancient("<results>/{model}/base/policy"),
    output:
        requests="<results>/{model}/eval/{benchmark}/requests.parquet",
    params:
        settings=lambda wildcards: settings(
            seed=config["seed"], unit=f"eval/{wildcards.benchmark}", split="test", kinds=["plain"], instruction=None
        ),
        code=code("policy_requests"),
    log:
        "<logs>/benchmark_requests/{model}/{benchmark}.log",
    benchmark:
        "<benchmarks>/benchmark_requests/{model}/{benchmark}.jsonl"


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
        "<benchmarks>/responses/{model}/{policy}/{benchmark}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/responses.py --requests {input.requests:q} --completions {input.completions:q}"
        " --responses {output.responses:q} > {log:q} 2>&1"


rule judge_requests:
    """Ask which reply is better, the policy's or the one that disappointed, in both orders."""
    input:
        prompts="<results>/{model}/eval/{benchmark}/prompts.parquet",
        responses="<results>/{model}/{policy}/eval/{benchmark}/responses.parquet",
        manifest=lambda wildcards: f"{RESULTS}/{judge_policy(wildcards.judge)}/policy.json",
        judge=lambda wildcards: ancient(f"{RESULTS}/{judge_policy(wildcards.judge)}/policy"),
    output:
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
    params:
        settings=lambda wildcards: settings(
            seed=config["seed"], context=config["evaluation"]["judges"][wildcards.judge]["context"]
        ),
        code=code("judge_requests", "templates/judge.txt"),
    log:
        "<logs>/judge_requests/{model}/{policy}/{benchmark}/{judge}.log",
    benchmark:
        "<benchmarks>/judge_requests/{model}/{policy}/{benchmark}/{judge}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/judge_requests.py --prompts {input.prompts:q} --responses {input.responses:q} --judge {input.judge:q}"
        " --settings {params.settings:q} --requests {output.requests:q} > {log:q} 2>&1"


rule judgments:
    """Read the verdicts."""
    input:
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
        completions=lambda wildcards: shards(
            f"{RESULTS}/{wildcards.model}/{wildcards.policy}/eval/{wildcards.benchmark}/judge/{wildcards.judge}",
            config["evaluation"]["benchmarks"][wildcards.benchmark]["shards"],
        ),
    output:
        judgments="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/judgments.parquet",
    params:
        code=code("judgments"),
    log:
        "<logs>/judgments/{model}/{policy}/{benchmark}/{judge}.log",
    benchmark:
        "<benchmarks>/judgments/{model}/{policy}/{benchmark}/{judge}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/judgments.py --requests {input.requests:q} --completions {input.completions:q}"
        " --judgments {output.judgments:q} > {log:q} 2>&1"


rule logps:
    """Score the held-out corrections: does the policy prefer what users preferred?"""
    input:
        prompts="<results>/{model}/prompts/seed.parquet",
        manifest="<results>/{model}/{policy}/policy.json",
        policy=ancient("<results>/{model}/{policy}/policy"),
    output:
        logps="<results>/{model}/{policy}/eval/heldout-pairs/logps.parquet",
    params:
        code=code("logps"),
    log:
        "<logs>/logps/{model}/{policy}.log",
    benchmark:
        "<benchmarks>/logps/{model}/{policy}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        "{GPU:q} {SCRIPTS:q}/logps.py --prompts {input.prompts:q} --policy {input.policy:q} --logps {output.logps:q}"
        " 2>&1 | tee {log:q}"


rule scores:
    """Put every policy's scores into one table, with bootstrap intervals."""
    input:
        responses=[
            f"{RESULTS}/{policy}/eval/{benchmark}/responses.parquet"
            for policy in POLICIES
            for benchmark in config["evaluation"]["benchmarks"]
        ],
        judgments=[
            f"{RESULTS}/{policy}/eval/{benchmark}/judge/{config['evaluation']['judge']}/judgments.parquet"
            for policy in POLICIES
            for benchmark in config["evaluation"]["benchmarks"]
        ],
        logps=[f"{RESULTS}/{policy}/eval/heldout-pairs/logps.parquet" for policy in POLICIES],
    output:
        scores="<results>/eval/scores.parquet",
    params:
        settings=settings(
            seed=config["seed"],
            beta=config["training"]["beta"],
            bootstrap=config["evaluation"]["bootstrap"],
            benchmarks=sorted(config["evaluation"]["benchmarks"]),
        ),
        code=code("scores"),
        policies=[
            f"--policy {policy.split('/')[0]} {method} {k} {RESULTS}/{policy}"
            for policy in POLICIES
            for method, k in [method_and_iteration(policy)]
        ],
        judge=config["evaluation"]["judge"],
    log:
        "<logs>/scores.log",
    benchmark:
        "<benchmarks>/scores/all.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/scores.py {params.policies} --judge {params.judge:q} --settings {params.settings:q}"
        " --scores {output.scores:q} > {log:q} 2>&1"
