"""Everything an engine does: a table of requests and a model in, one shard of completions out.

Three rules with one command: what differs is who answers (the previous policy, this policy, the judge) and how.
"""


rule sample:
    """Sample replies to the training prompts from the policy of the iteration before."""
    input:
        requests="<results>/{model}/{trained}/requests.parquet",
        manifest=lambda wildcards: f"{RESULTS}/{wildcards.model}/{iterations.previous(wildcards.trained)}/policy.json",
        policy=lambda wildcards: ancient(f"{RESULTS}/{wildcards.model}/{iterations.previous(wildcards.trained)}/policy"),
    output:
        completions="<results>/{model}/{trained}/completions/{i}-of-{n}.parquet",
        usage="<results>/{model}/{trained}/completions/{i}-of-{n}.json",
    params:
        settings=lambda wildcards: generation(context=config["sampling"]["context"], decoding=sampling_of(wildcards.trained)),
        code=code("generate"),
        engine=engine(),
        # A model behind an endpoint has neither.
        model=lambda wildcards, input: (["--policy", input.policy, "--manifest", input.manifest] if input.policy else []),
        state=f"{RESULTS}/state",
    log:
        "<logs>/sample/{model}/{trained}/{i}-of-{n}.log",
    benchmark:
        "<timings>/sample/{model}/{trained}/{i}-of-{n}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    priority: 10
    shell:
        "{GPU:q} {SCRIPTS:q}/generate.py --requests {input.requests:q} {params.model:q}"
        " --shard {wildcards.i} {wildcards.n} --settings {params.settings:q} --engine {params.engine:q}"
        " --state {params.state:q} --completions {output.completions:q} --usage {output.usage:q} 2>&1 | tee {log:q}"


use rule sample as respond with:
    input:
        requests="<results>/{model}/eval/{benchmark}/requests.parquet",
        manifest="<results>/{model}/{policy}/policy.json",
        policy=ancient("<results>/{model}/{policy}/policy"),
    output:
        completions="<results>/{model}/{policy}/eval/{benchmark}/completions/{i}-of-{n}.parquet",
        usage="<results>/{model}/{policy}/eval/{benchmark}/completions/{i}-of-{n}.json",
    params:
        settings=lambda wildcards: generation(
            context=benchmarks.context(wildcards),
            decoding=config["evaluation"]["benchmarks"][wildcards.benchmark]["decoding"],
        ),
    log:
        "<logs>/respond/{model}/{policy}/{benchmark}/{i}-of-{n}.log",
    benchmark:
        "<timings>/respond/{model}/{policy}/{benchmark}/{i}-of-{n}.jsonl"
    priority: 0


use rule sample as judge with:
    input:
        unpack(judge_model),
        requests="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/requests.parquet",
    output:
        completions="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/completions/{i}-of-{n}.parquet",
        usage="<results>/{model}/{policy}/eval/{benchmark}/judge/{judge}/completions/{i}-of-{n}.json",
    params:
        settings=lambda wildcards: generation(**judges.asked(wildcards)),
        engine=engine(judges.endpoint),
    log:
        "<logs>/judge/{model}/{policy}/{benchmark}/{judge}/{i}-of-{n}.log",
    benchmark:
        "<timings>/judge/{model}/{policy}/{benchmark}/{judge}/{i}-of-{n}.jsonl"
    priority: 0


use rule judge as judge_published with:
    input:
        unpack(judge_model),
        requests="<results>/judges/{judge}/validation/{benchmark}/requests.parquet",
    output:
        completions="<results>/judges/{judge}/validation/{benchmark}/completions/{i}-of-{n}.parquet",
        usage="<results>/judges/{judge}/validation/{benchmark}/completions/{i}-of-{n}.json",
    log:
        "<logs>/judge_published/{judge}/{benchmark}/{i}-of-{n}.log",
    benchmark:
        "<timings>/judge_published/{judge}/{benchmark}/{i}-of-{n}.jsonl"
