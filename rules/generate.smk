"""Everything an engine does: a table of requests and a model in, one shard of completions out.

Rules with one command: what differs is who answers (the previous policy, this policy, a judge) and
what is asked. rules/label.smk, rules/rank.smk and rules/quality.smk have more of them.
"""


rule sample:
    """Sample replies to the training prompts from the previous policy."""
    input:
        requests="<work>/requests.parquet",
        manifest=iterations.asked_manifest,
        policy=ancient(iterations.asked_policy),
    output:
        completions="<work>/completions/{i}-of-{n}.parquet",
        usage="<work>/completions/{i}-of-{n}.json",
    params:
        settings=generation.settings(generation.samples),
        code=code("generate"),
        engine=generation.runtime(generation.samples),
        state=paths.state,
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    priority: 10
    pathvars:
        work=f"<results>/{layout.FOLDERS['sampling']}",
    # A model behind an endpoint has neither policy nor manifest.
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/generate.py \
            --requests {input.requests:q} \
            --policy {input.policy:q} \
            --manifest {input.manifest:q} \
            --shard {wildcards.i} {wildcards.n} \
            --settings {params.settings:q} \
            --engine {params.engine:q} \
            --state {params.state:q} \
            --completions {output.completions:q} \
            --usage {output.usage:q} > {log:q} 2>&1
        """


use rule sample as sample_of with:
    """Sample replies to the training prompts from another model than the previous policy."""
    input:
        unpack(generation.sampled),
        requests="<work>/requests.parquet",
    pathvars:
        work=f"<results>/{layout.FOLDERS['sampling_of']}",


use rule sample as respond with:
    """Answer a benchmark's prompts with a policy."""
    input:
        requests=paths.benchmark_requests,
        manifest=paths.manifest,
        policy=ancient(paths.policy),
    params:
        settings=generation.settings(benchmarks.asked),
        engine=generation.runtime(benchmarks.asked),
    priority: 0
    pathvars:
        work=f"<results>/{layout.FOLDERS['answers']}",


use rule sample as judge with:
    """Ask a judge about a policy's answers to a benchmark."""
    input:
        unpack(judge_model),
        requests="<work>/requests.parquet",
    params:
        settings=generation.settings(judges.asked),
        engine=generation.runtime(judges.asked),
    priority: 0
    pathvars:
        work=f"<results>/{layout.FOLDERS['verdicts']}",


use rule judge as judge_published with:
    """Ask a judge about published answers as it is asked about those to a benchmark."""
    input:
        unpack(judge_model),
        requests="<work>/requests.parquet",
    pathvars:
        work=f"<results>/{layout.FOLDERS['judge_validation']}",
