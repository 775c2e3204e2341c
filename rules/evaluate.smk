"""What every policy is worth: answers to benchmarks, verdicts on them, held-out preferences, and
scores with intervals; and what the judges are worth, by answers with published figures."""

# ------------------------------------------------------------------------------------------ answers


use rule prompts as benchmark_prompts with:
    """Fit a benchmark's prompts to the model, as those of the pools are."""
    input:
        pool=paths.tasks,
        manifest=paths.base_manifest,
        policy=ancient(paths.base_policy),
    output:
        prompts=paths.benchmark_prompts,
        ledger=paths.benchmark_prompts_ledger,
    params:
        settings=benchmarks.prompts_settings,
        kind="tasks",


use rule requests as benchmark_requests with:
    """Ask a benchmark's prompts, the same of every policy of a model."""
    input:
        prompts=paths.benchmark_prompts,
        policy=ancient(paths.base_policy),
    output:
        requests=paths.benchmark_requests,
    params:
        settings=benchmarks.requests_settings,
        code=code("policy_requests", benchmarks.side_file),


rule responses:
    """Collect a policy's answers to a benchmark."""
    input:
        requests=paths.benchmark_requests,
        completions=benchmarks.completions,
    output:
        responses=paths.responses,
    params:
        code=code("responses"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/responses.py \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --responses {output.responses:q} > {log:q} 2>&1
        """


rule checks:
    """Check a policy's answers by code."""
    input:
        tasks=paths.tasks,
        responses=paths.responses,
        files=inputs.check_files,
    output:
        checks=paths.checks,
    params:
        files=inputs.check_options,
        settings=evaluation.check_settings,
        code=code("checks", evaluation.check_modules),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/checks.py \
            --tasks {input.tasks:q} \
            --responses {input.responses:q} \
            --file {params.files:q} \
            --settings {params.settings:q} \
            --checks {output.checks:q} > {log:q} 2>&1
        """


rule behaviour:
    """Compare how a policy writes with the policy before it and the base model, by limits."""
    input:
        unpack(behaviour.answers),
    output:
        behaviour=paths.behaviour,
    params:
        settings=behaviour.settings,
        code=code("behaviour"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/behaviour.py \
            --responses {input.responses:q} \
            --before {input.before:q} \
            --base {input.base:q} \
            --tasks {input.tasks:q} \
            --settings {params.settings:q} \
            --behaviour {output.behaviour:q} > {log:q} 2>&1
        """


# ----------------------------------------------------------------------------------------- verdicts


use rule register as register_judge with:
    """Register a judge's model, as the base model is."""
    input:
        model=generation.source(judges.row),
    output:
        policy=directory(paths.judge_policy),
        manifest=paths.judge_manifest,
    params:
        settings=generation.registration(judges.row, "judges/{judge}"),
        contents=generation.contents(judges.row),


rule judge_requests:
    """Ask a judge about a policy's answers: which of two is better, or how good one is."""
    input:
        unpack(judge_model),
        tasks=paths.tasks,
        responses=paths.responses,
    output:
        requests=paths.verdicts_requests,
    params:
        settings=judges.question_settings,
        code=code("judge_requests"),
        template=judges.template,
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/judge_requests.py \
            --tasks {input.tasks:q} \
            --responses {input.responses:q} \
            --template {params.template:q} \
            --tokenizer {input.policy:q} \
            --settings {params.settings:q} \
            --requests {output.requests:q} > {log:q} 2>&1
        """


rule judgments:
    """Read the verdicts of a judge on a policy's answers."""
    input:
        tasks=paths.tasks,
        responses=paths.responses,
        requests=paths.verdicts_requests,
        completions=judges.completions,
    output:
        judgments=paths.judgments,
    params:
        settings=judges.judgment_settings,
        code=code("judgments", judges.verdict_file),
        min_verdicts=judges.min_verdicts,
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/judgments.py \
            --tasks {input.tasks:q} \
            --responses {input.responses:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --min-verdicts {params.min_verdicts:q} \
            --settings {params.settings:q} \
            --judgments {output.judgments:q} > {log:q} 2>&1
        """


# ----------------------------------------------------------------------------- validation of judges


rule published_answers:
    """Read answers with published figures, the validation set for judges."""
    input:
        source=lambda wildcards: inputs.file(config["evaluation"]["validation"]),
    output:
        tasks=paths.published_tasks,
        responses=paths.published_responses,
        published=paths.published,
    wildcard_constraints:
        kind="pairwise|score",
    params:
        code=code("validation_tasks"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/validation_tasks.py \
            --source {input.source:q} \
            --kind {wildcards.kind:q} \
            --tasks {output.tasks:q} \
            --responses {output.responses:q} \
            --published {output.published:q} > {log:q} 2>&1
        """


use rule judge_requests as published_requests with:
    """Ask a judge about the published answers as it is asked about a benchmark's."""
    input:
        unpack(judge_model),
        tasks=judges.published_tasks,
        responses=judges.published_responses,
    output:
        requests=paths.judge_validation_requests,


use rule judgments as published_judgments with:
    """Read the verdicts of a judge on the published answers."""
    input:
        tasks=judges.published_tasks,
        responses=judges.published_responses,
        requests=paths.judge_validation_requests,
        completions=paths.judge_validation_completions.replace("{i}-of-{n}", "1-of-1"),
    output:
        judgments=paths.published_judgments,


rule validation:
    """Measure how far each judge agrees with published figures."""
    input:
        judgments=[one.judgments for one in judges.validations()],
        published=[one.published for one in judges.validations()],
    output:
        validation=paths.validation,
    params:
        settings=judges.validation_settings(),
        code=code("validation"),
        judges=judges.validation_options(),
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/validation.py {params.judges:q} \
            --settings {params.settings:q} \
            --validation {output.validation:q} > {log:q} 2>&1
        """


# ------------------------------------------------------------------------------------------- scores


rule logps:
    """Score the held-out corrections: does the policy prefer what users preferred?"""
    input:
        prompts=paths.prompts.replace("{table}", "corrections"),
        manifest=paths.manifest,
        policy=ancient(paths.policy),
    output:
        logps=paths.logps,
    params:
        code=code("logps"),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/logps.py \
            --prompts {input.prompts:q} \
            --policy {input.policy:q} \
            --logps {output.logps:q} > {log:q} 2>&1
        """


rule scores:
    """Score every policy, with bootstrap intervals, and compare the policies."""
    input:
        tasks=evaluation.tasks,
        corrections=paths.corrections,
        files=[inputs.file(address) for address in evaluation.file_addresses],
        responses=evaluation.responses,
        checks=evaluation.checks,
        judgments=evaluation.judgments,
        logps=evaluation.logps,
    output:
        scores=paths.scores,
        comparisons=paths.comparisons,
    params:
        # Read when the job is looked at: it hashes every judge prompt.
        settings=lambda wildcards: evaluation.score_settings(judges.prompts_of),
        code=code("scores", *evaluation.modules),
        tables=evaluation.options,
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/scores.py {params.tables:q} \
            --corrections {input.corrections:q} \
            --settings {params.settings:q} \
            --scores {output.scores:q} \
            --comparisons {output.comparisons:q} > {log:q} 2>&1
        """
