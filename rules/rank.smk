"""Which candidates of an iteration are the best and the worst, for methods that rank what they sample.

requests, completions -> candidates as a judge sees answers -> its verdicts -> scores; or a reward model's figures at once.
"""

from drift.judging.protocols import RANKING, ranking_protocol


def ranking_arguments(wildcards):
    """The judge that scores an iteration's candidates, and how it judges them."""
    row = ranking_judge(wildcards)
    return row, ranking_protocol(row["votes"])


rule candidates:
    """Lay the sampled replies of an iteration out as answers to be judged."""
    input:
        unpack(iterations.sampled),
        prompts=iterations.prompts,
    output:
        tasks="<results>/{model}/{trained}/rank/tasks.parquet",
        responses="<results>/{model}/{trained}/rank/responses.parquet",
    params:
        code=code("candidates"),
    log:
        "<logs>/candidates/{model}/{trained}.log",
    benchmark:
        "<timings>/candidates/{model}/{trained}.jsonl"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        "{CPU:q} {SCRIPTS:q}/candidates.py --prompts {input.prompts:q} --requests {input.requests:q}"
        " --completions {input.completions:q} --tasks {output.tasks:q} --responses {output.responses:q} > {log:q} 2>&1"


use rule judge_requests as rank_requests with:
    input:
        unpack(ranking_answerer),
        tasks="<results>/{model}/{trained}/rank/tasks.parquet",
        responses="<results>/{model}/{trained}/rank/responses.parquet",
    output:
        requests="<results>/{model}/{trained}/rank/requests.parquet",
    params:
        settings=lambda wildcards: judges.questions_of(*ranking_arguments(wildcards)),
        template=lambda wildcards, resources: judges.template_of(*ranking_arguments(wildcards)),
    log:
        "<logs>/rank_requests/{model}/{trained}.log",
    benchmark:
        "<timings>/rank_requests/{model}/{trained}.jsonl"


use rule sample as rank with:
    input:
        unpack(ranking_answerer),
        requests="<results>/{model}/{trained}/rank/requests.parquet",
    output:
        completions="<results>/{model}/{trained}/rank/completions/{i}-of-{n}.parquet",
        usage="<results>/{model}/{trained}/rank/completions/{i}-of-{n}.json",
    params:
        settings=lambda wildcards: generation(**judges.asked_of(*ranking_arguments(wildcards))),
        engine=engine(lambda wildcards: ranking_judge(wildcards)["endpoint"]),
    log:
        "<logs>/rank/{model}/{trained}/{i}-of-{n}.log",
    benchmark:
        "<timings>/rank/{model}/{trained}/{i}-of-{n}.jsonl"


use rule judgments as rank_judgments with:
    input:
        tasks="<results>/{model}/{trained}/rank/tasks.parquet",
        responses="<results>/{model}/{trained}/rank/responses.parquet",
        requests="<results>/{model}/{trained}/rank/requests.parquet",
        completions=lambda wildcards: shards(
            f"{RESULTS}/{wildcards.model}/{wildcards.trained}/rank", config["sampling"]["shards"]
        ),
    output:
        judgments="<results>/{model}/{trained}/rank/judgments.parquet",
    params:
        settings=lambda wildcards: judges.reading_of(ranking_arguments(wildcards)[1]),
        code=READING[RANKING],
        min_verdicts=lambda wildcards, resources: ranking_judge(wildcards)["min_verdicts"],
    log:
        "<logs>/rank_judgments/{model}/{trained}.log",
    benchmark:
        "<timings>/rank_judgments/{model}/{trained}.jsonl"


rule ranks:
    """Take the judge's scores of the candidates together."""
    input:
        requests="<results>/{model}/{trained}/requests.parquet",
        judgments="<results>/{model}/{trained}/rank/judgments.parquet",
    output:
        ranks="<results>/{model}/{trained}/rank/scores.parquet",
    params:
        code=code("ranks"),
    log:
        "<logs>/ranks/{model}/{trained}.log",
    benchmark:
        "<timings>/ranks/{model}/{trained}.jsonl"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    shell:
        "{CPU:q} {SCRIPTS:q}/ranks.py --requests {input.requests:q} --judgments {input.judgments:q} --ranks {output.ranks:q}"
        " > {log:q} 2>&1"


rule rewards:
    """Score the candidates with a reward model."""
    input:
        unpack(iterations.sampled),
        prompts=iterations.prompts,
        model=lambda wildcards: ancient(located(config["rankers"][iterations.recipe(wildcards.trained)["rank"]]["path"])),
    output:
        ranks="<results>/{model}/{trained}/rank/rewards.parquet",
    params:
        settings=lambda wildcards: settings(**config["rankers"][iterations.recipe(wildcards.trained)["rank"]]),
        code=code("rewards"),
    log:
        "<logs>/rewards/{model}/{trained}.log",
    benchmark:
        "<timings>/rewards/{model}/{trained}.jsonl"
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    shell:
        "{GPU:q} {SCRIPTS:q}/rewards.py --prompts {input.prompts:q} --requests {input.requests:q}"
        " --completions {input.completions:q} --model {input.model:q} --settings {params.settings:q} --ranks {output.ranks:q}"
        " 2>&1 | tee {log:q}"
