"""The tables of the data: exchanges, labels, pools, tasks, and the ledger."""

import dataframely as dy
import polars as pl

from drift.tables.columns import LABELS, POOLS, SPLITS, messages, one_of


class Turns(dy.Schema):
    """One row per exchange: what a user asked, what the deployment answered, what the user said
    next."""

    conversation_id = dy.String(primary_key=True, description="the conversation; unique over all sources: SOURCE:ID")
    turn = dy.Int32(primary_key=True, description="number of the exchange in its conversation, from 0")
    source = dy.String(description="name of the source in the configuration")
    language = dy.String(nullable=True, description="as the source names it; null where it does not say")
    model = dy.String(nullable=True, description="the model that answered; null where the source does not say")
    timestamp = dy.Datetime(time_unit="us", nullable=True, description="UTC; null where the source does not say")
    system = dy.String(nullable=True, description="the system prompt, on turn 0 only")
    unseen = dy.Bool(description="whoever answered later saw nothing of this exchange: it is no part of the prompts after it")
    user = dy.String(description="the user's message")
    response = dy.String(nullable=True, description="the deployment's reply; null where the log ends without one")
    feedback = dy.String(
        nullable=True,
        description="what the user said of the reply: a comment left with it, else the next message; null if neither",
    )
    source_label = one_of(LABELS, "what the source itself says of the reply; null where it says nothing", nullable=True)
    source_evidence = dy.List(
        dy.String(), nullable=True, description="what source_label rests on: annotation items, 'thumbs down', 'rating 1 of 5'"
    )
    user_id = dy.String(
        nullable=True,
        description="SOURCE:NUMBER, the same for one user's conversations; what the source knows the user by is not kept",
    )
    toxic = dy.Bool(nullable=True, description="the source calls the message or the reply toxic; null where it does not say")
    redacted = dy.Bool(nullable=True, description="the source masked personal data in either; null where it does not say")
    flags = dy.List(dy.String(), description="oddities of the record: merged_user, merged_response, ...")


class ClassProbabilities(dy.Schema):
    """What a classifier says of an exchange: a row a class, none where the exchange is too long for
    it."""

    conversation_id = dy.String(primary_key=True, description="turns.conversation_id")
    turn = dy.Int32(primary_key=True, description="turns.turn: the exchange that the classifier read")
    class_name = dy.String(primary_key=True, description="the class, as the model's config.json names it")
    probability = dy.Float64(min=0, max=1, description="of the class; those of an exchange sum to 1")


class Labels(dy.Schema):
    """What a labeler says of a reply, judged from the message with which the user answered it."""

    conversation_id = dy.String(primary_key=True, description="turns.conversation_id")
    turn = dy.Int32(primary_key=True, description="turns.turn: the exchange whose reply is judged")
    labeler = dy.String(primary_key=True, description="name of the labeler in the configuration")
    label = one_of(LABELS, "DSAT: the user was unhappy with the reply; SAT: satisfied; NEUTRAL: neither shows")
    evidence = dy.List(dy.String(), description="what led to the label: rule ids, rubric items and the user's words, thumbs")
    tier = one_of(("high", "medium", "low"), "how far the evidence is to be trusted; null where all is alike", nullable=True)
    score = dy.Float64(description="the labeler's confidence in the label, 0 to 1")


class Agreement(dy.Schema):
    """How far a labeler agrees with a reference: another labeler, or labels made elsewhere
    (data.label_files)."""

    labeler = dy.String(primary_key=True, description="name of the labeler in the configuration")
    reference = dy.String(primary_key=True, description="labeler or label file that is taken for the truth")
    target = one_of(
        ("DSAT strict", "DSAT", "SAT"),
        "the label in question; DSAT strict: the reference's complaints, corrections and error reports alone",
        primary_key=True,
    )
    metric = one_of(("precision", "recall", "f1", "kappa"), "kappa: Cohen's, of the label against all others", primary_key=True)
    value = dy.Float64(nullable=True, description="re-weighted to the population where strata are known; null where it is 0/0")
    low = dy.Float64(nullable=True, description="2.5th percentile of the bootstrap")
    high = dy.Float64(nullable=True, description="97.5th percentile of the bootstrap")
    n = dy.Int32(description="replies that both have judged")
    positives = dy.Int32(description="those of them to which the reference gives the label")
    given = dy.Int32(description="labels of the reference, those included that are about no reply of the run")


class _Pool(dy.Schema):
    prompt_id = dy.String(primary_key=True, description="CONVERSATION_ID/TURN of the reply in question")
    conversation_id = dy.String(description="turns.conversation_id")
    turn = dy.Int32(description="turns.turn")
    source = dy.String(description="turns.source")
    split = one_of(SPLITS, "test rows are never trained on; a user's conversations, and those that open alike, are on one side")
    cluster = dy.String(
        description="the same for rows of one user, and of conversations that open alike: they are on one side of the split, and "
        "statistics draw them together"
    )
    flipped = dy.Bool(description="label noise: the reply was labelled otherwise, and took the place of a true row")
    prompt = messages("the conversation up to the user message that got the reply: x")

    @dy.rule()
    def _test_rows_are_true(cls) -> pl.Expr:
        return ~(pl.col("flipped") & (pl.col("split") == "test"))


class Dsat(_Pool):
    """The anchored negatives: real replies that users were unhappy with."""

    rejected = dy.String(description="the reply that the user was unhappy with: y-")
    feedback = dy.String(description="the user's next message, which shows the dissatisfaction")
    labeler = dy.String(description="labels.labeler")
    evidence = dy.List(dy.String(), description="labels.evidence")
    score = dy.Float64(description="labels.score")


class Sat(_Pool):
    """Real replies that users were satisfied with (the gold side of SPIN)."""

    chosen = dy.String(description="the reply that the user was satisfied with")
    feedback = dy.String(nullable=True, description="what the user said of it; null for a thumb or a rating alone")
    labeler = dy.String(description="labels.labeler")
    evidence = dy.List(dy.String(), description="labels.evidence")
    score = dy.Float64(description="labels.score")


class Corrections(_Pool):
    """Corrections in the wild: a reply that disappointed, and the revised reply that then satisfied
    (the warm-up's pairs); published pairs are among them."""

    rejected = dy.String(description="the reply that the user was unhappy with")
    feedback = dy.String(
        nullable=True, description="the user's next message, which shows the dissatisfaction; null in a published pair"
    )
    chosen = dy.String(description="the revised reply, which the user was satisfied with; see data.allusions")
    alludes = dy.Bool(
        description="the revised reply, as logged, opens with words on the feedback, which the prompt does not show; a rough "
        "measure, in English alone"
    )


class Wordless(_Pool):
    """Real replies that users were unhappy with and said nothing of: a thumb down alone, or the
    rejected reply of a published pair."""

    rejected = dy.String(description="the reply that the user was unhappy with")
    labeler = dy.String(description="labels.labeler")
    evidence = dy.List(dy.String(), description="labels.evidence")
    score = dy.Float64(description="labels.score")


class Quarantine(dy.Schema):
    """Candidates for a pool that hold a benchmark's prompt: they are trained on by nobody."""

    pool = one_of(POOLS, "the pool it would have been in", primary_key=True)
    prompt_id = dy.String(primary_key=True, description="CONVERSATION_ID/TURN of the reply in question")
    benchmark = dy.String(description="name of the benchmark in the configuration")
    task = dy.String(description="tasks.prompt_id")
    how = one_of(("exact", "ngram", "coverage"), "the same words, words in a row, or most of the task's message")
    evidence = dy.String(
        description="the task's message, the words in a row, or the share of the message and the message; of a short message the words that hold it"
    )


class Contamination(Quarantine):
    """Training rows that hold the prompt of a benchmark that was not kept out (keep_out: false)."""

    pool = one_of(POOLS, "the pool it is in", primary_key=True)


class Tasks(dy.Schema):
    """A benchmark's tasks."""

    prompt_id = dy.String(primary_key=True, description="the task")
    cluster = dy.String(description="the same for tasks that statistics draw together: dsat.cluster, or the task by itself")
    prompt = messages("the conversation to answer")
    examples = messages("solved examples that a policy is shown before it, as turns; null where there are none", nullable=True)
    baseline = dy.String(nullable=True, description="the reply to compare with in pairwise judging")
    references = dy.List(
        dy.Struct({"model": dy.String(nullable=False), "response": dy.String(nullable=False)}),
        nullable=True,
        description="other models' published answers to compare with as well; null where there are none",
    )
    feedback = dy.String(nullable=True, description="what the user said of the baseline, where known; never shown to a policy")
    categories = dy.List(
        dy.String(nullable=False),
        nullable=True,
        description="groups the task counts in; of WildBench the published five, of multiple choice the subject",
    )
    checklist = dy.List(dy.String(nullable=False), nullable=True, description="what a good answer does; shown to judges")
    checks = dy.List(
        dy.Struct(
            {"name": dy.String(nullable=False), "arguments": dy.String(nullable=False), "direction": dy.String(nullable=False)}
        ),
        nullable=True,
        description="what code checks in an answer, where it does: a check of scripts/drift/checks/ or of the benchmark's kind, its "
        "arguments as JSON, and whether keeping it makes answers shorter, longer, or neither (neutral)",
    )
    topics = dy.List(
        dy.String(nullable=False),
        nullable=True,
        description="an answer that names one of them is about what was asked; null where nothing says so",
    )
    difficulty = dy.Float64(nullable=True, description="AlpacaEval's estimate for the instruction, where one is given")


class Ledger(dy.Schema):
    """Where every row went, from raw records to trained pairs. A step of a lineage starts with what
    the one before left."""

    lineage = dy.String(primary_key=True, description="what is being followed: a source, a pool, or a policy's pairs")
    step = dy.Int32(primary_key=True, description="order within the lineage, from 0")
    stage = dy.String(description="the program that did it")
    event = one_of(("drop", "regroup"), "drop: rows_out = rows_in - dropped. regroup: rows become rows of another unit")
    reason = dy.String(description="why rows were dropped, or how they were regrouped")
    unit_in = dy.String(description="what rows_in counts: records, conversations, turns, replies, prompts, pairs")
    rows_in = dy.Int64(min=0, description="rows before the step")
    dropped = dy.Int64(min=0, description="rows that the step dropped")
    rows_out = dy.Int64(min=0, description="rows after the step")
    unit_out = dy.String(description="what rows_out counts; unit_in unless the rows were regrouped")

    @dy.rule()
    def _adds_up(cls) -> pl.Expr:
        return (pl.col("event") == "regroup") | (pl.col("rows_in") - pl.col("dropped") == pl.col("rows_out"))
