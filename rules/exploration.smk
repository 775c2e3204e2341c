"""How much of what is worth writing each policy writes: the paper's section 4.3, where the section
`exploration` of the configuration asks for it.

answers of an iteration's policies and of the base model -> vectors, rewards -> what each policy
covers of the others' good answers, among the vectors and on maps of them.
"""


rule embedder:
    """Look at the encoder and at the benchmark before any answer is there."""
    input:
        model=exploration.encoder,
        tasks=exploration.tasks,
    output:
        embedder=paths.embedder,
    params:
        settings=exploration.embedder_settings,
        contents=exploration.encoder_contents,
        code=code("embedder"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    # Before the stages that take hours: what it refuses would be in vain.
    priority: 100
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/embedder.py \
            --model {input.model:q} \
            --tasks {input.tasks:q} \
            --settings {params.settings:q} \
            --embedder {output.embedder:q} > {log:q} 2>&1
        """


rule embed:
    """Embed a policy's answers to a benchmark."""
    input:
        responses=paths.responses,
        embedder=paths.embedder,
        model=exploration.encoder,
    output:
        embeddings=paths.embeddings,
    params:
        settings=exploration.embed_settings,
        code=code("embed"),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/embed.py \
            --responses {input.responses:q} \
            --model {input.model:q} \
            --settings {params.settings:q} \
            --embeddings {output.embeddings:q} > {log:q} 2>&1
        """


rule answer_rewards:
    """Say how good a policy's answers to a benchmark are, by a ranker."""
    input:
        tasks=paths.tasks,
        responses=paths.responses,
        path=exploration.ranker_path,
    output:
        rewards=paths.answer_rewards,
    params:
        settings=exploration.ranker_settings,
        contents=exploration.ranker_contents,
        code=code("answer_rewards", exploration.ranker_file),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/answer_rewards.py \
            --tasks {input.tasks:q} \
            --responses {input.responses:q} \
            --path {input.path:q} \
            --settings {params.settings:q} \
            --rewards {output.rewards:q} > {log:q} 2>&1
        """


rule checked_rewards:
    """Say how good a policy's answers to a benchmark are, by the checks that they keep."""
    input:
        checks=paths.checks,
    output:
        rewards=paths.checked_rewards,
    params:
        code=code("checked_rewards"),
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/checked_rewards.py \
            --checks {input.checks:q} \
            --rewards {output.rewards:q} > {log:q} 2>&1
        """


rule embedding_coverage:
    """Measure what each policy's answers cover of the others' good ones, among the vectors."""
    input:
        unpack(exploration.compared),
    output:
        coverage=paths.embedding_coverage,
    params:
        settings=exploration.coverage_settings,
        code=code("embedding_coverage"),
        policies=exploration.policy_options,
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/embedding_coverage.py {params.policies:q} \
            --tasks {input.tasks:q} \
            --settings {params.settings:q} \
            --coverage {output.coverage:q} > {log:q} 2>&1
        """


rule landscape:
    """Map the answers, and measure what each policy covers of the others' good ones there."""
    input:
        unpack(exploration.compared),
    output:
        coverage=paths.map_coverage,
        maps=paths.maps,
        landscape=paths.landscape,
    params:
        settings=exploration.landscape_settings,
        code=code("landscape"),
        policies=exploration.policy_options,
    resources:
        mem_mb=grows(8000),
        runtime=grows(120),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/landscape.py {params.policies:q} \
            --tasks {input.tasks:q} \
            --settings {params.settings:q} \
            --coverage {output.coverage:q} \
            --maps {output.maps:q} \
            --landscape {output.landscape:q} > {log:q} 2>&1
        """
