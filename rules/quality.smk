"""How good an iteration's pairs are: how often a judge or a ranker finds y+ better than y-.

pairs -> a sample of them as answers to be rated -> questions -> replies -> verdicts -> quality; or,
of a ranker, scores at once.
"""

from drift.workflow.quality import PairQuality

quality = PairQuality(config, paths, judges, generation, pinned=ancient)


rule rated_pairs:
    """Write a sample of an iteration's pairs down as answers to be rated."""
    input:
        pairs=paths.pairs,
        prompts=iterations.prompts,
    output:
        tasks=paths.rated_tasks,
        responses=paths.rated_responses,
    params:
        settings=quality.settings,
        code=code("rated_pairs"),
    resources:
        mem_mb=grows(4000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/rated_pairs.py \
            --pairs {input.pairs:q} \
            --prompts {input.prompts:q} \
            --settings {params.settings:q} \
            --tasks {output.tasks:q} \
            --responses {output.responses:q} > {log:q} 2>&1
        """


use rule judge_requests as compare_requests with:
    """Ask a judge which side of each pair is better, in both orders."""
    input:
        unpack(quality.model),
        tasks=paths.rated_tasks,
        responses=paths.rated_responses,
    output:
        requests=paths.comparing_requests,
    params:
        settings=quality.question_settings,
        template=quality.template,


use rule judge as compare with:
    """Compare both sides of each pair with a judge."""
    input:
        unpack(quality.model),
        requests="<work>/requests.parquet",
    params:
        settings=generation.settings(quality.asked),
        engine=generation.runtime(quality.asked),
    pathvars:
        work=f"<results>/{layout.FOLDERS['comparing']}",


use rule judgments as compare_judgments with:
    """Read the verdicts on the pairs."""
    input:
        tasks=paths.rated_tasks,
        responses=paths.rated_responses,
        requests=paths.comparing_requests,
        completions=quality.completions,
    output:
        judgments=paths.pair_judgments,
    params:
        settings=quality.judgment_settings,
        code=code("judgments", quality.verdict_file),
        min_verdicts=quality.min_verdicts,


use rule rewards as pair_scores with:
    """Score both sides of each pair with a ranker."""
    input:
        prompts=[],
        requests=[],
        completions=[],
        tasks=paths.rated_tasks,
        responses=paths.rated_responses,
        path=quality.ranker_path,
    output:
        ranks=paths.pair_scores,
    params:
        settings=quality.ranker_settings,
        contents=quality.ranker_contents,
        code=code("rewards", quality.ranker_file),


rule pair_quality:
    """Say how often y+ is better than y-, with an interval."""
    input:
        unpack(quality.ratings),
        tasks=paths.rated_tasks,
    output:
        quality=paths.pair_quality,
    params:
        settings=quality.quality_settings,
        code=code("pair_quality"),
        ratings=lambda wildcards: [f"--{name}={path}" for name, path in quality.ratings(wildcards).items()],
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/pair_quality.py {params.ratings:q} \
            --tasks {input.tasks:q} \
            --settings {params.settings:q} \
            --quality {output.quality:q} > {log:q} 2>&1
        """
