"""Simulated users: prompts with checks -> what a deployed model answers -> what its users say.

Writes data/simulated/{source}/conversations.jsonl, which rule turns reads as it reads the logs of
a real deployment.
"""

from drift.workflow.simulation import Simulations

simulations = Simulations(config, paths, pinned=ancient)
# The deployed model, as inputs of the rules that ask it.
deployed_model = generation.model(simulations.row, paths.deployed_policy, paths.deployed_manifest)


use rule register as register_deployed with:
    """Register the deployed model that simulated users talk to."""
    input:
        model=generation.source(simulations.row),
    output:
        policy=directory(paths.deployed_policy),
        manifest=paths.deployed_manifest,
    params:
        settings=generation.registration(simulations.row, "simulated/{source}"),
        contents=generation.contents(simulations.row),


rule first_questions:
    """Write down what simulated users ask the deployed model."""
    input:
        unpack(deployed_model),
        prompts=simulations.prompts,
    output:
        questions=paths.simulation_requests.replace("{turn}", "first"),
    params:
        settings=simulations.settings,
        contents=simulations.contents,
        code=code("user_requests", *simulations.modules),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/user_requests.py \
            --prompts {input.prompts:q} \
            --model {input.policy:q} \
            --settings {params.settings:q} \
            --questions {output.questions:q} > {log:q} 2>&1
        """


rule second_questions:
    """Write down what they ask whom its first answer disappointed."""
    input:
        unpack(deployed_model),
        unpack(simulations.first),
        prompts=simulations.prompts,
    output:
        questions=paths.simulation_requests.replace("{turn}", "again"),
    params:
        settings=simulations.settings,
        contents=simulations.contents,
        code=code("user_requests", *simulations.modules),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/user_requests.py \
            --prompts {input.prompts:q} \
            --model {input.policy:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --settings {params.settings:q} \
            --questions {output.questions:q} > {log:q} 2>&1
        """


use rule sample as answer_users with:
    """Answer the questions of simulated users with the deployed model."""
    input:
        unpack(deployed_model),
        requests="<work>/requests.parquet",
    params:
        settings=generation.settings(simulations.asked),
        engine=generation.runtime(simulations.asked),
    priority: 0
    pathvars:
        work=f"<results>/{layout.FOLDERS['simulation']}",


rule user_logs:
    """Write down the conversations of simulated users, as logs of a deployment."""
    input:
        unpack(simulations.first),
        unpack(simulations.again),
        prompts=simulations.prompts,
    output:
        logs=paths.simulated_logs,
    params:
        settings=simulations.settings,
        contents=simulations.contents,
        code=code("user_logs", *simulations.modules),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
        light=1,
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/user_logs.py \
            --prompts {input.prompts:q} \
            --requests {input.requests:q} \
            --completions {input.completions:q} \
            --again-requests {input.again_requests:q} \
            --again-completions {input.again_completions:q} \
            --settings {params.settings:q} \
            --logs {output.logs:q} > {log:q} 2>&1
        """
