"""Data that come after the start: the tables of the data once more, beside those of the start, with
all that counts by then. Policies that were trained before, and all evaluation, never read them.

Where simulated users talk to policies (simulation.deployed: previous), each policy of a method and
seed is deployed, its users' conversations are collected, and the next one is trained on them.
"""


use rule turns as later_turns with:
    """Read every source that counts by an iteration into one table of exchanges."""
    output:
        turns=paths.later_turns,
        ledger=paths.later_stage_ledger.replace("{stage}", "turns"),


use rule label_requests as later_label_requests with:
    """Write down what a rubric labeler asks its model about later data."""
    input:
        unpack(labeler_model),
        turns=paths.later_turns,
    output:
        requests=paths.later_labeling_requests,


use rule annotate as later_annotate with:
    """Answer a rubric labeler's questions about later data."""
    pathvars:
        work=f"<results>/{layout.FOLDERS['later_labeling']}",


use rule classify as later_classify with:
    """Have a classifier say how probable each of its classes is for every exchange of later data."""
    input:
        turns=paths.later_turns,
        model=generation.source(labelers.row),
    output:
        probabilities=paths.later_class_probabilities,


use rule labels as later_labels with:
    """Label each reply of later data."""
    input:
        unpack(labelers.files),
        turns=paths.later_turns,
    output:
        labels=paths.later_labels,
        ledger=paths.later_stage_ledger.replace("{stage}", "labels"),


use rule pools as later_pools with:
    """Pick training rows of later data; what the start holds out stays out."""
    input:
        turns=paths.later_turns,
        labels=paths.later_labels,
        first=[paths.dsat, paths.sat, paths.corrections, paths.wordless],
        benchmarks=list(inputs.kept_out.values()),
    output:
        dsat=paths.later_dsat,
        sat=paths.later_sat,
        corrections=paths.later_corrections,
        wordless=paths.later_wordless,
        quarantine=paths.later_quarantine,
        ledger=paths.later_stage_ledger.replace("{stage}", "pools"),


use rule contamination as later_contamination with:
    """Look for the prompts of a benchmark in the training rows of later data."""
    input:
        dsat=paths.later_dsat,
        sat=paths.later_sat,
        corrections=paths.later_corrections,
        wordless=paths.later_wordless,
        tasks=paths.tasks,
    output:
        contamination=paths.later_contamination,


use rule prompts as later_prompts with:
    """Fit a pool's prompts of later data to the model."""
    input:
        pool=paths.later_pool,
        manifest=paths.base_manifest,
        policy=ancient(paths.base_policy),
    output:
        prompts=paths.later_prompts,
        ledger=paths.later_prompts_ledger,


# --------------------------------------------------------------------------- users of a policy


use rule first_questions as later_first_questions with:
    """Write down what simulated users ask a policy."""
    input:
        unpack(simulations.policy),
        prompts=simulations.prompts,
    output:
        questions=paths.later_simulation_requests.replace("{turn}", "first"),


use rule second_questions as later_second_questions with:
    """Write down what they ask whom the first answer of a policy disappointed."""
    input:
        unpack(simulations.policy),
        unpack(simulations.first),
        prompts=simulations.prompts,
    output:
        questions=paths.later_simulation_requests.replace("{turn}", "again"),


use rule answer_users as later_answer_users with:
    """Answer the questions of simulated users with a policy."""
    input:
        unpack(simulations.policy),
        requests="<work>/requests.parquet",
    pathvars:
        work=f"<results>/{layout.FOLDERS['later_simulation']}",


use rule user_logs as later_user_logs with:
    """Write down the conversations of a policy's simulated users, as logs of a deployment."""
    output:
        logs=paths.later_simulated_logs,
