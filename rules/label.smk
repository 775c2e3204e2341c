"""Who was satisfied with what. Reads data/turns.parquet; writes data/{labels,agreement}.parquet.

A rubric labeler asks a model: requests (CPU) -> answers (GPU or endpoint) -> labels (CPU), so that
reading the answers in another way asks nobody again. A classifier gives every class a probability
(GPU), and labels are made of those (CPU).
"""

from drift.workflow.data import LabelFiles, Labelers, named

labelers = Labelers(config, paths)
label_files = LabelFiles(config)
# The model that a labeler asks, as inputs of the rules that ask it.
labeler_model = generation.model(labelers.row, paths.labeler_policy, paths.labeler_manifest)


use rule register as register_labeler with:
    """Register the model that a labeler asks."""
    input:
        model=generation.source(labelers.row),
    output:
        policy=directory(paths.labeler_policy),
        manifest=paths.labeler_manifest,
    params:
        settings=generation.registration(labelers.row, "labelers/{labeler}"),
        contents=generation.contents(labelers.row),


rule label_requests:
    """Write down what a rubric labeler asks its model: a question about every answered reply."""
    input:
        unpack(labeler_model),
        turns=paths.turns,
    output:
        requests=paths.labeling_requests,
    params:
        settings=labelers.questions,
        code=code("label_requests", "templates/rubric.txt"),
    resources:
        mem_mb=grows(8000),
        runtime=grows(120),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/label_requests.py \
            --turns {input.turns:q} \
            --model {input.policy:q} \
            --settings {params.settings:q} \
            --requests {output.requests:q} > {log:q} 2>&1
        """


use rule sample as annotate with:
    """Answer a rubric labeler's questions."""
    input:
        unpack(labeler_model),
        requests="<work>/requests.parquet",
    params:
        settings=generation.settings(labelers.asked),
        engine=generation.runtime(labelers.asked),
    priority: 0
    pathvars:
        work=f"<results>/{layout.FOLDERS['labeling']}",


rule classify:
    """Have a classifier say how probable each of its classes is for every answered exchange."""
    input:
        turns=paths.turns,
        model=generation.source(labelers.row),
    output:
        probabilities=paths.class_probabilities,
    params:
        settings=labelers.classification,
        contents=generation.contents(labelers.row),
        code=code("classify"),
    threads: 8
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    shell:
        r"""
        {GPU:q} {SCRIPTS:q}/classify.py \
            --turns {input.turns:q} \
            --model {input.model:q} \
            --shard {wildcards.i} {wildcards.n} \
            --settings {params.settings:q} \
            --probabilities {output.probabilities:q} > {log:q} 2>&1
        """


rule labels:
    """Label each reply from the message with which the user answered it."""
    input:
        unpack(labelers.files),
        turns=paths.turns,
    output:
        labels=paths.labels,
        ledger=paths.stage_ledger.format(stage="labels"),
    params:
        settings=labelers.settings,
        code=code("labels", *labelers.modules),
        requests=lambda wildcards: named(labelers.requests(wildcards)),
        completions=lambda wildcards: named(labelers.completions(wildcards)),
        probabilities=lambda wildcards: named(labelers.probabilities(wildcards)),
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/labels.py \
            --turns {input.turns:q} \
            --requests {params.requests:q} \
            --completions {params.completions:q} \
            --probabilities {params.probabilities:q} \
            --settings {params.settings:q} \
            --labels {output.labels:q} \
            --ledger {output.ledger:q} > {log:q} 2>&1
        """


rule agreement:
    """Compare every labeler with every other, and with labels made elsewhere."""
    input:
        turns=paths.turns,
        labels=paths.labels,
        files=label_files.files,
    output:
        agreement=paths.agreement,
    params:
        settings=label_files.settings,
        code=code("agreement"),
        files=named(label_files.labels),
        strata=named(label_files.strata),
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    shell:
        r"""
        {CPU:q} {SCRIPTS:q}/agreement.py \
            --turns {input.turns:q} \
            --labels {input.labels:q} \
            --file {params.files:q} \
            --strata {params.strata:q} \
            --settings {params.settings:q} \
            --agreement {output.agreement:q} > {log:q} 2>&1
        """
