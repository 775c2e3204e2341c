"""From pools to policies: the warm-up and the iterations.

Iteration k samples from policy k-1, pairs what it sampled with what users logged, and trains policy
k. The warm-up is iteration 0: the same rules with the corrections and the base model.
"""


rule register:
    """Make a model to improve the base policy."""
    input:
        model=generation.source(iterations.model_row),
    output:
        policy=directory(paths.base_policy),
        manifest=paths.base_manifest,
    params:
        settings=generation.registration(iterations.model_row, "{model}/base"),
        contents=generation.contents(iterations.model_row),
        code=code("register"),
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/register.py \
            --model {input.model:q} \
            --settings {params.settings:q} \
            --policy {output.policy:q} \
            --manifest {output.manifest:q} > {log:q} 2>&1
        """


rule prompts:
    """Fit a pool's prompts to the model: the oldest turns go where a conversation is too long."""
    input:
        pool=paths.pool,
        manifest=paths.base_manifest,
        policy=ancient(paths.base_policy),
    output:
        prompts=paths.prompts,
        ledger=paths.prompts_ledger,
    wildcard_constraints:
        table="dsat|sat|corrections|wordless",
    params:
        settings=pools.prompts_settings,
        code=code("prompts"),
        kind="{table}",
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/prompts.py \
            --kind {params.kind:q} \
            --pool {input.pool:q} \
            --policy {input.policy:q} \
            --settings {params.settings:q} \
            --prompts {output.prompts:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule requests:
    """Write down what the previous policy is asked: plain prompts, guided prompts, or both."""
    input:
        prompts=iterations.prompts,
        policy=ancient(paths.base_policy),
    output:
        requests=paths.sampling_requests,
    params:
        settings=iterations.requests_settings,
        code=code("policy_requests", iterations.sampled_sides),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/policy_requests.py \
            --prompts {input.prompts:q} \
            --policy {input.policy:q} \
            --settings {params.settings:q} \
            --requests {output.requests:q} > {log:q} 2>&1
        """


use rule requests as requests_of with:
    """Write down what another model than the previous policy is asked: the method's initial policy,
    one of the future, or a writer."""
    input:
        prompts=iterations.prompts,
        policy=generation.tokenizer,
    output:
        requests=paths.sampling_of_requests,


rule pairs:
    """Pair each prompt's chosen and rejected reply; drop what would teach the wrong thing."""
    input:
        unpack(iterations.paired),
        ranks=iterations.ranks,
        agreement=iterations.agreement,
        prompts=iterations.prompts,
        policy=ancient(paths.base_policy),
        benchmarks=list(inputs.kept_out.values()),
    output:
        pairs=paths.pairs,
        dropped=paths.dropped,
        ledger=paths.pairs_ledger,
    wildcard_constraints:
        trained=unpaired.paired,
    params:
        settings=iterations.pairs_settings,
        code=code("pairs", iterations.paired_sides),
        benchmarks=named(inputs.kept_out),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/pairs.py \
            --prompts {input.prompts:q} \
            --policy {input.policy:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --ranks {input.ranks:q} \
            --agreement {input.agreement:q} \
            --benchmark {params.benchmarks:q} \
            --settings {params.settings:q} \
            --pairs {output.pairs:q} \
            --dropped {output.dropped:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule unpaired:
    """Check the logged replies that a method trains on one by one, each desirable or undesirable."""
    input:
        unpack(unpaired.prompts),
        policy=ancient(paths.base_policy),
        benchmarks=list(inputs.kept_out.values()),
    output:
        unpaired=paths.unpaired,
        dropped=paths.dropped,
        ledger=paths.pairs_ledger,
    wildcard_constraints:
        trained=unpaired.trained,
    params:
        settings=unpaired.settings,
        code=code("unpaired"),
        benchmarks=named(inputs.kept_out),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/unpaired.py \
            --dsat {input.dsat:q} \
            --sat {input.sat:q} \
            --wordless {input.wordless:q} \
            --policy {input.policy:q} \
            --benchmark {params.benchmarks:q} \
            --settings {params.settings:q} \
            --unpaired {output.unpaired:q} \
            --dropped {output.dropped:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule train:
    """Train a policy on its pairs, or on single replies, from the policy before it."""
    input:
        rows=iterations.rows,
        replay=iterations.replay,
        prompts=iterations.gate_prompts,
        manifest=iterations.start_manifest,
        start=ancient(iterations.start_policy),
        reference_manifest=iterations.reference_manifest,
        reference=ancient(iterations.reference_policy),
        start_remainder=ancient(iterations.start_remainder),
        # Other limits, or other answers, stop a training that has not begun. They repeat none.
        behaviour=ancient(behaviour.of_start),
        reference_remainder=ancient(iterations.reference_remainder),
    output:
        policy=directory(paths.trained_policy),
        remainder=directory(paths.remainder),
        manifest=paths.trained_manifest,
        log=paths.train_log,
        reference_logps=paths.reference_logps,
        gates=paths.gates,
    params:
        settings=iterations.train_settings,
        code=code("train", iterations.losses),
        run=iterations.training_run,
        state=paths.state,
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime="8h",
    priority: 10
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/train.py \
            --rows {input.rows:q} \
            --replay {input.replay:q} \
            --prompts {input.prompts:q} \
            --start {input.start:q} \
            --start-manifest {input.manifest:q} \
            --start-remainder {input.start_remainder:q} \
            --behaviour {input.behaviour:q} \
            --reference {input.reference:q} \
            --reference-manifest {input.reference_manifest:q} \
            --reference-remainder {input.reference_remainder:q} \
            --state {params.state:q} \
            --settings {params.settings:q} \
            --run {params.run:q} \
            --code {params.code:q} \
            --policy {output.policy:q} \
            --remainder {output.remainder:q} \
            --manifest {output.manifest:q} \
            --log {output.log:q} \
            --reference-logps {output.reference_logps:q} \
            --gates {output.gates:q} > {log:q} 2>&1
        """


rule diagnostics:
    """Measure what an iteration did: margins, gradients, likelihoods, distance moved."""
    input:
        pairs=paths.pairs,
        reference_logps=paths.reference_logps,
        heldout=paths.prompts.replace("{table}", "dsat"),
        manifests=iterations.ancestor_manifests,
        policies=ancient(iterations.ancestor_policies),
        remainders=ancient(iterations.measured_remainders),
    output:
        margins=paths.margins,
        gradients=paths.gradients,
        diagnostics=paths.diagnostics,
    params:
        settings=iterations.diagnostics_settings,
        code=code("diagnostics"),
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/diagnostics.py \
            --pairs {input.pairs:q} \
            --reference-logps {input.reference_logps:q} \
            --heldout {input.heldout:q} \
            --policies {input.policies:q} \
            --remainders {input.remainders:q} \
            --settings {params.settings:q} \
            --margins {output.margins:q} \
            --gradients {output.gradients:q} \
            --diagnostics {output.diagnostics:q} > {log:q} 2>&1
        """


rule improvement:
    """Ask whether what an iteration's pairs teach is what users want, where code can check it."""
    input:
        unpack(improvement.tables),
        pairs=paths.pairs,
        ratings=improvement.ratings,
        policies=ancient(improvement.policies),
        remainders=ancient(iterations.measured_remainders),
    output:
        improvement=paths.improvement,
    params:
        settings=improvement.settings,
        code=code("improvement"),
    threads: 8
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/improvement.py \
            --pairs {input.pairs:q} \
            --ratings {input.ratings:q} \
            --requests {input.requests:q} \
            --responses {input.responses:q} \
            --checks {input.checks:q} \
            --checks-after {input.checks_after:q} \
            --policies {input.policies:q} \
            --remainders {input.remainders:q} \
            --settings {params.settings:q} \
            --improvement {output.improvement:q} > {log:q} 2>&1
        """
