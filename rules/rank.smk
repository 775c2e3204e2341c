"""Scores of an iteration's candidates, for methods that rank what they sample.

requests, completions -> candidates as answers to be judged -> questions -> replies -> verdicts ->
scores; or, of a ranker, scores at once.
"""

from drift.workflow.ranking import Ranking

ranking = Ranking(config, paths, iterations, judges, generation, pinned=ancient)


rule candidates:
    """Write the sampled replies of an iteration down as answers to be judged."""
    input:
        unpack(iterations.sampled),
        prompts=iterations.prompts,
    output:
        tasks=paths.ranking_tasks,
        responses=paths.ranking_responses,
    params:
        settings=ranking.candidates_settings,
        code=code("candidates"),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/candidates.py \
            --prompts {input.prompts:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --settings {params.settings:q} \
            --tasks {output.tasks:q} \
            --responses {output.responses:q} > {log:q} 2>&1
        """


use rule judge_requests as rank_requests with:
    """Ask how good each candidate is, of a judge or of the policy that wrote it."""
    input:
        unpack(ranking.model),
        tasks=paths.ranking_tasks,
        responses=paths.ranking_responses,
    output:
        requests=paths.ranking_requests,
    params:
        settings=ranking.question_settings,
        template=ranking.template,


use rule sample as rank with:
    """Score the candidates with a judge, or with the policy that wrote them."""
    input:
        unpack(ranking.model),
        requests="<work>/requests.parquet",
    params:
        settings=generation.settings(ranking.asked),
        engine=generation.runtime(ranking.asked),
    pathvars:
        work=f"<results>/{layout.FOLDERS['ranking']}",


use rule judgments as rank_judgments with:
    """Read the verdicts on the candidates."""
    input:
        tasks=paths.ranking_tasks,
        responses=paths.ranking_responses,
        requests=paths.ranking_requests,
        completions=ranking.completions,
    output:
        judgments=paths.ranking_judgments,
    params:
        settings=ranking.judgment_settings,
        code=code("judgments", ranking.verdict_file),
        min_verdicts=ranking.min_verdicts,


rule ranks:
    """Average a judge's scores of each candidate over its votes."""
    input:
        requests=iterations.requests,
        judgments=paths.ranking_judgments,
    output:
        ranks=paths.judge_scores,
    params:
        code=code("ranks"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/ranks.py \
            --requests {input.requests:q} \
            --judgments {input.judgments:q} \
            --ranks {output.ranks:q} > {log:q} 2>&1
        """


rule rewards:
    """Score the candidates with a ranker: a reward model, or a rule."""
    input:
        unpack(iterations.sampled),
        prompts=iterations.prompts,
        tasks=[],
        responses=[],
        path=ranking.ranker_path,
    output:
        ranks=paths.rewards,
    params:
        settings=ranking.ranker_settings,
        contents=ranking.ranker_contents,
        code=code("rewards", ranking.ranker_file),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/rewards.py \
            --prompts {input.prompts:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --tasks {input.tasks:q} \
            --responses {input.responses:q} \
            --path {input.path:q} \
            --settings {params.settings:q} \
            --ranks {output.ranks:q} > {log:q} 2>&1
        """


rule likelihoods:
    """Score the candidates with the likelihoods that policies give them."""
    input:
        unpack(iterations.sampled),
        prompts=iterations.prompts,
        manifests=iterations.ranking_manifests,
        policies=ancient(iterations.ranking_policies),
        remainders=ancient(iterations.ranking_remainders),
    output:
        likelihoods=paths.likelihoods,
    params:
        settings=ranking.candidates_settings,
        code=code("likelihoods"),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/likelihoods.py \
            --prompts {input.prompts:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --policies {input.policies:q} \
            --remainders {input.remainders:q} \
            --settings {params.settings:q} \
            --likelihoods {output.likelihoods:q} > {log:q} 2>&1
        """


rule implied_rewards:
    """Rank the candidates by the rewards that these likelihoods imply."""
    input:
        requests=iterations.requests,
        likelihoods=paths.likelihoods,
    output:
        ranks=paths.implied_rewards,
        agreement=paths.rank_agreement,
    params:
        code=code("implied_rewards"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/implied_rewards.py \
            --requests {input.requests:q} \
            --likelihoods {input.likelihoods:q} \
            --ranks {output.ranks:q} \
            --agreement {output.agreement:q} > {log:q} 2>&1
        """
