"""Every table of the pipeline: its columns, what they mean, and how it is written.

A table is declared once, here. Writing checks it against its schema and sorts it by its key, so that the same rows always
give the same bytes; the descriptions become the column comments of the catalog.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import dataframely as dy
import polars as pl
from polars.io.plugins import register_io_source

ROLES = ("system", "user", "assistant")
LABELS = ("DSAT", "SAT", "NEUTRAL")
SPLITS = ("train", "test")


def _messages(description: str, *, nullable: bool = False) -> dy.List:
    message = dy.Struct({"role": dy.String(nullable=False), "content": dy.String(nullable=False)})
    return dy.List(message, nullable=nullable, description=description)


def _one_of(values: Iterable[str], description: str, **options) -> dy.String:
    return dy.String(check=lambda column: column.is_in(list(values)), description=description, **options)


# ---------------------------------------------------------------------------------------------------------------- data


class Turns(dy.Schema):
    """One row per exchange: what a user asked, what the deployment answered, what the user said next."""

    conversation_id = dy.String(primary_key=True, description="the conversation; unique over all sources: SOURCE:ID")
    turn = dy.Int32(primary_key=True, description="number of the exchange in its conversation, from 0")
    source = dy.String(description="name of the source in the configuration")
    language = dy.String(nullable=True, description="as the source names it; null where it does not say")
    model = dy.String(nullable=True, description="the model that answered; null where the source does not say")
    timestamp = dy.Datetime(time_unit="us", nullable=True, description="UTC; null where the source does not say")
    system = dy.String(nullable=True, description="the system prompt, on turn 0 only")
    user = dy.String(description="the user's message")
    response = dy.String(nullable=True, description="the deployment's reply; null where the log ends without one")
    feedback = dy.String(
        nullable=True,
        description="what the user said of the reply: a comment left with it, else the next message; null if neither",
    )
    source_label = _one_of(LABELS, "what the source itself says of the reply; null where it says nothing", nullable=True)
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


class Labels(dy.Schema):
    """What a labeler says of a reply, judged from the message with which the user answered it."""

    conversation_id = dy.String(primary_key=True, description="turns.conversation_id")
    turn = dy.Int32(primary_key=True, description="turns.turn: the exchange whose reply is judged")
    labeler = dy.String(primary_key=True, description="name of the labeler in the configuration")
    label = _one_of(LABELS, "DSAT: the user was unhappy with the reply; SAT: satisfied; NEUTRAL: neither shows")
    evidence = dy.List(dy.String(), description="what led to the label: rule ids, rubric items and the user's words, thumbs")
    tier = _one_of(("high", "medium", "low"), "how far the evidence is to be trusted; null where all is alike", nullable=True)
    score = dy.Float64(description="the labeler's confidence in the label, 0 to 1")


class Agreement(dy.Schema):
    """How far a labeler agrees with a reference: another labeler, or labels made elsewhere (data.label_files)."""

    labeler = dy.String(primary_key=True, description="name of the labeler in the configuration")
    reference = dy.String(primary_key=True, description="labeler or label file that is taken for the truth")
    target = _one_of(
        ("DSAT strict", "DSAT", "SAT"),
        "the label in question; DSAT strict: the reference's complaints, corrections and error reports alone",
        primary_key=True,
    )
    metric = _one_of(
        ("precision", "recall", "f1", "kappa"), "kappa: Cohen's, of the label against all others", primary_key=True
    )
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
    split = _one_of(
        SPLITS, "test rows are never trained on; a user's conversations, and those that open alike, are on one side"
    )
    flipped = dy.Bool(description="label noise turned the label of the reply, or of the one that corrects it, round")
    prompt = _messages("the conversation up to the user message that got the reply: x")


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


class Seed(_Pool):
    """Corrections in the wild: a reply that disappointed, and the revised reply that then satisfied (the warm-up's pairs)."""

    rejected = dy.String(description="the reply that the user was unhappy with")
    feedback = dy.String(description="the user's next message, which shows the dissatisfaction")
    chosen = dy.String(description="the revised reply, which the user was satisfied with")


class Quarantine(dy.Schema):
    """Candidates for a pool that hold a benchmark's prompt: they are trained on by nobody."""

    pool = _one_of(("dsat", "sat", "seed"), "the pool it would have been in", primary_key=True)
    prompt_id = dy.String(primary_key=True, description="CONVERSATION_ID/TURN of the reply in question")
    benchmark = dy.String(description="name of the benchmark in the configuration")
    task = dy.String(description="tasks.prompt_id")
    how = _one_of(("id", "exact", "ngram", "minhash"), "the conversation's id, the same words, words in a row, or a like text")
    evidence = dy.String(description="the id, the task's message, the words in a row, or the similarity and the task's message")


class Contamination(Quarantine):
    """Training rows that hold the prompt of a benchmark that was not kept out (keep_out: false)."""

    pool = _one_of(("dsat", "sat", "seed"), "the pool it is in", primary_key=True)


class Tasks(dy.Schema):
    """A benchmark's tasks."""

    prompt_id = dy.String(primary_key=True, description="the task")
    prompt = _messages("the conversation to answer")
    baseline = dy.String(nullable=True, description="the reply to compare with in pairwise judging")
    references = dy.List(
        dy.Struct({"model": dy.String(nullable=False), "response": dy.String(nullable=False)}),
        nullable=True,
        description="other models' published answers to compare with as well; null where there are none",
    )
    feedback = dy.String(nullable=True, description="what the user said of the baseline, where known; never shown to a policy")
    categories = dy.List(
        dy.String(nullable=False), nullable=True, description="groups the task counts in; of WildBench the published five"
    )
    checklist = dy.List(dy.String(nullable=False), nullable=True, description="what a good answer does; shown to judges")
    difficulty = dy.Float64(nullable=True, description="AlpacaEval's estimate for the instruction, where one is given")


class Ledger(dy.Schema):
    """Where every row went, from raw records to trained pairs. Within a flow, a step starts with what the last one left."""

    flow = dy.String(primary_key=True, description="what is being followed: a source, a pool, or a policy's pairs")
    step = dy.Int32(primary_key=True, description="order within the flow, from 0")
    stage = dy.String(description="the program that did it")
    event = _one_of(("drop", "regroup"), "drop: rows_out = rows_in - dropped. regroup: rows become rows of another unit")
    reason = dy.String(description="why rows were dropped, or how they were regrouped")
    unit_in = dy.String(description="what rows_in counts: records, conversations, turns, replies, prompts, pairs")
    rows_in = dy.Int64(min=0, description="rows before the step")
    dropped = dy.Int64(min=0, description="rows that the step dropped")
    rows_out = dy.Int64(min=0, description="rows after the step")
    unit_out = dy.String(description="what rows_out counts; unit_in unless the rows were regrouped")

    @dy.rule()
    def _adds_up(cls) -> pl.Expr:
        return (pl.col("event") == "regroup") | (pl.col("rows_in") - pl.col("dropped") == pl.col("rows_out"))


# ------------------------------------------------------------------------------------------------------ generate, train


class Prompts(dy.Schema):
    """A pool or a benchmark, fitted to a model's context: the prompt x exactly as it is sampled from and trained on."""

    prompt_id = dy.String(primary_key=True, description="dsat, sat, seed or task prompt_id")
    split = _one_of(SPLITS, "the pool's split; test for benchmarks")
    prompt = _messages("x, less the oldest turns where the conversation was too long")
    prompt_token_ids = dy.List(dy.Int32(), description="x rendered with the model's chat template, ready for a reply")
    turns_trimmed = dy.Int32(description="how many of the oldest messages were left out")
    chosen = dy.String(nullable=True, description="the logged reply that satisfied, where there is one")
    rejected = dy.String(nullable=True, description="the logged reply that disappointed, where there is one")
    feedback = dy.String(nullable=True, description="the user's answer to the logged reply; never part of a training prompt")


class Requests(dy.Schema):
    """What an engine is asked: one row per completion."""

    request_id = dy.String(primary_key=True, description="PROMPT_ID#KIND-SAMPLE")
    prompt_id = dy.String(description="prompts.prompt_id")
    kind = dy.String(description="plain, guided; of a judge: pairwise-AB, pairwise-BA (AB: the policy's answer first), score")
    sample = dy.Int32(description="number of the sample, from 0; of a judge: of the answer in question")
    messages = _messages("the chat shown to the model")
    prompt_token_ids = dy.List(
        dy.Int32(),
        nullable=True,
        description="the same, rendered: what the engine really gets; null for an endpoint, which renders by itself",
    )
    seed = dy.Int64(description="of this completion: a hash of run seed, unit, prompt, kind and sample")


class Completions(dy.Schema):
    """What an engine answered: one row per request, one file per shard."""

    request_id = dy.String(primary_key=True, description="requests.request_id")
    text = dy.String(description="the reply, without special tokens")
    finish_reason = dy.String(
        description="stop: the model ended its turn; length: cut by max_tokens; error: no answer came; others as the engine says"
    )
    error = dy.String(nullable=True, description="why no answer came; null where one did")
    prompt_tokens = dy.Int32(description="tokens read")
    completion_tokens = dy.Int32(description="tokens written")
    choice_logprobs = dy.List(
        dy.Struct({"choice": dy.String(), "logprob": dy.Float64()}),
        nullable=True,
        description="log-probability of each allowed answer as the first token, where the request allowed only some",
    )
    policy_hash = dy.String(
        description="policy.json weights_sha256 of the model that wrote it; for an endpoint the model's name as it gives it"
    )


class Ranks(dy.Schema):
    """How good the ranker of a method found the candidates of a round; what it could not score has no row."""

    request_id = dy.String(primary_key=True, description="requests.request_id of the candidate")
    score = dy.Float64(description="the higher the better; of a judge 1 to 10, of a reward model its output")


class Dropped(dy.Schema):
    """Prompts that gave no pair, and why."""

    prompt_id = dy.String(primary_key=True, description="prompts.prompt_id")
    reason = dy.String(description="the first check that the candidate failed")
    detail = dy.String(nullable=True, description="the offending text or figure")


class Pairs(dy.Schema):
    """What DPO trains on. The prompt is always the plain x: neither the feedback nor the improve instruction is in it."""

    pair_id = dy.String(primary_key=True, description="the prompt_id")
    prompt = _messages("x")
    prompt_token_ids = dy.List(dy.Int32(), description="x as it was rendered for sampling; training must render the same")
    chosen = dy.String(description="y+")
    rejected = dy.String(description="y-")
    chosen_from = dy.String(description="user (a logged reply) or the request_id that was sampled")
    rejected_from = dy.String(description="user (a logged reply) or the request_id that was sampled")
    chosen_finish = dy.String(nullable=True, description="completions.finish_reason of a sampled y+; null for a logged one")
    rejected_finish = dy.String(nullable=True, description="completions.finish_reason of a sampled y-; null for a logged one")
    chosen_tokens = dy.Int32(description="length of y+ as trained, end of turn included")
    rejected_tokens = dy.Int32(description="length of y- as trained, end of turn included")

    @dy.rule()
    def _sides_differ(cls) -> pl.Expr:
        return pl.col("chosen").str.strip_chars() != pl.col("rejected").str.strip_chars()

    @dy.rule()
    def _sampled_replies_ended(cls) -> pl.Expr:
        return pl.all_horizontal(pl.col("chosen_finish", "rejected_finish").fill_null("stop") == "stop")


class TrainLog(dy.Schema):
    """The trainer's log, one row per logged step and metric."""

    step = dy.Int32(primary_key=True, description="optimizer step, from 1")
    metric = dy.String(primary_key=True, description="as the trainer names it: loss, rewards/margins, grad_norm, ...")
    value = dy.Float64(description="must be finite: a NaN fails the training")


class Margins(dy.Schema):
    """How far a round of training moved each of its pairs: s = beta [log-ratio(y+) - log-ratio(y-)] against the reference."""

    pair_id = dy.String(primary_key=True, description="pairs.pair_id")
    reference_chosen_logp = dy.Float64(description="log pi_ref(y+|x), summed over tokens")
    reference_rejected_logp = dy.Float64(description="log pi_ref(y-|x)")
    start_chosen_logp = dy.Float64(description="log pi(y+|x) before the round; the reference's, where that is the start")
    start_rejected_logp = dy.Float64(description="log pi(y-|x) before the round")
    policy_chosen_logp = dy.Float64(description="log pi(y+|x) after the round")
    policy_rejected_logp = dy.Float64(description="log pi(y-|x) after the round")
    s_before = dy.Float64(description="the margin before the round; 0 where the round starts from the reference")
    sigma_minus_s_before = dy.Float64(min=0.0, max=1.0, description="sigma(-s) before the round; 0.5 where s is 0")
    s = dy.Float64(description="the margin after the round")
    sigma_minus_s = dy.Float64(
        min=0.0, max=1.0, description="sigma(-s), the weight of the pair's DPO gradient, after the round"
    )


class Gradients(dy.Schema):
    """Gradients of the DPO loss of single pairs, over all weights: a seeded sample of the round's pairs."""

    pair_id = dy.String(primary_key=True, description="pairs.pair_id")
    moment = _one_of(("before", "after"), "before or after the round", primary_key=True)
    d_norm = dy.Float64(min=0.0, description="||d||, d = grad log pi(y+|x) - grad log pi(y-|x)")
    gradient_norm = dy.Float64(min=0.0, description="||grad loss|| = beta sigma(-s) ||d||")


class Diagnostics(dy.Schema):
    """What a round of training did, in single figures."""

    metric = dy.String(
        primary_key=True, description="mean_gradient_norm, kl_previous, ...; scripts/diagnostics.py defines each"
    )
    moment = _one_of(("before", "after"), "before or after the round", primary_key=True)
    value = dy.Float64(description="log-probabilities in nats")
    n = dy.Int32(min=1, description="pairs, or held-out replies, behind the value")


# ------------------------------------------------------------------------------------------------------------- evaluate


class Responses(dy.Schema):
    """A policy's answers to a benchmark."""

    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="number of the sample, from 0")
    response = dy.String(description="the answer; may be empty or cut, and is judged as it is")
    finish_reason = dy.String(description="completions.finish_reason")
    completion_tokens = dy.Int32(description="tokens written")


class Judgments(dy.Schema):
    """A judge's verdict on an answer, by itself or against another one; a question without a verdict says why.

    One row per question: a question is a sample, an opponent, an order of presentation and a vote. Of preference, outcome, score
    and error exactly one is there.
    """

    request_id = dy.String(primary_key=True, description="requests.request_id, where the judge was asked")
    prompt_id = dy.String(description="tasks.prompt_id")
    sample = dy.Int32(description="responses.sample: which of the policy's answers")
    kind = _one_of(("pairwise", "score"), "pairwise: against the opponent's answer; score: by itself")
    opponent = dy.String(nullable=True, description="baseline, or a reference's model; null for a score")
    order = _one_of(("AB", "BA"), "AB: the policy's answer was shown first; BA: second; null for a score", nullable=True)
    vote = dy.Int32(min=0, description="number of the vote, from 0: the same question asked again")
    preference = dy.Float64(nullable=True, min=0.0, max=1.0, description="P(the policy's answer is the better one)")
    outcome = dy.Int32(
        nullable=True,
        min=-2,
        max=2,
        description="2: the policy's answer is much better, 1 better, 0 tie, -1 worse, -2 much worse",
    )
    score = dy.Float64(nullable=True, min=1.0, max=10.0, description="1 very poor to 10 perfect")
    mass = dy.Float64(
        nullable=True,
        min=0.0,
        description="share of the judge's first token that was a verdict at all, where the preference is read from it; null where "
        "a letter was written and no probability given",
    )
    policy_chars = dy.Int32(min=0, description="length of the policy's answer, characters")
    opponent_chars = dy.Int32(nullable=True, min=0, description="length of the opponent's answer; null for a score")
    error = dy.String(nullable=True, description="why there is no verdict")

    @dy.rule()
    def _one_verdict_or_error(cls) -> pl.Expr:
        return pl.sum_horizontal(pl.col("preference", "outcome", "score", "error").is_not_null()) == 1

    @dy.rule()
    def _pairwise_has_an_opponent(cls) -> pl.Expr:
        pairwise = pl.col("kind") == "pairwise"
        return pl.all_horizontal(pl.col("opponent", "order", "opponent_chars").is_not_null() == pairwise)

    @dy.rule()
    def _verdict_of_its_kind(cls) -> pl.Expr:
        compared = pl.any_horizontal(pl.col("preference", "outcome").is_not_null())
        return pl.when(pl.col("kind") == "score").then(~compared).otherwise(pl.col("score").is_null())


class Published(dy.Schema):
    """Answers whose figures somebody published, for judges to be tried on; of preference and score one is there."""

    prompt_id = dy.String(primary_key=True, description="id in the file")
    preference = dy.Float64(
        nullable=True, min=0.0, max=1.0, description="how far the first answer is the better one; 0.5 a tie"
    )
    score = dy.Float64(nullable=True, min=1.0, max=10.0, description="how good the answer is, 1 very poor to 10 perfect")
    model = dy.String(nullable=True, description="who gave the (first) answer; null where the file does not say")
    opponent = dy.String(nullable=True, description="who gave the second answer")

    @dy.rule()
    def _one_figure(cls) -> pl.Expr:
        return pl.col("preference").is_null() != pl.col("score").is_null()


class Validation(dy.Schema):
    """How far a judge agrees with published figures, when it judges as it does for a benchmark."""

    judge = dy.String(primary_key=True, description="name of the judge in the configuration")
    benchmark = dy.String(primary_key=True, description="the benchmark whose judge prompt, verdict and order were used")
    metric = dy.String(
        primary_key=True,
        description="pearson, spearman, kappa (of scores: quadratic weights), agreement (same side; of scores: within a point), "
        "rank_agreement (Kendall's tau of models), position_flip_rate, judged (share with a verdict)",
    )
    value = dy.Float64(nullable=True, description="null where it is not defined: too few items, or all of them alike")
    low = dy.Float64(nullable=True, description="2.5th percentile of the bootstrap over items")
    high = dy.Float64(nullable=True, description="97.5th percentile of the bootstrap over items")
    n = dy.Int32(min=0, description="items behind the value; models behind rank_agreement")


class Logps(dy.Schema):
    """Log-probabilities of both sides of held-out pairs under one policy."""

    pair_id = dy.String(primary_key=True, description="prompts.prompt_id of a held-out correction")
    chosen_logp = dy.Float64(description="log pi(y+|x), summed over tokens")
    rejected_logp = dy.Float64(description="log pi(y-|x), summed over tokens")


class Scores(dy.Schema):
    """One row per model, method, iteration, benchmark, judge and metric. Scores of different judges are different scores."""

    model = dy.String(primary_key=True, description="name of the base model in the configuration")
    method = dy.String(primary_key=True, description="the method's name; base and warmup before the first iteration")
    iteration = dy.Int32(primary_key=True, description="-1 base, 0 warm-up, k after round k")
    benchmark = dy.String(primary_key=True, description="name of the benchmark in the configuration")
    judge = dy.String(primary_key=True, description="the judge's name; empty where nobody judged")
    judge_prompt = dy.String(
        nullable=True, description="SHA-256 of the file with the judge prompt: scores by two prompts are two measures"
    )
    metric = dy.String(
        primary_key=True,
        description="win_rate, wb_score_task_macro, margin, ...; NAME:X is NAME against the reference X, or over the group X. "
        "Shares are 0 to 1; WildBench's and ratings as their leaderboards show them",
    )
    value = dy.Float64(nullable=True, description="null where it is not defined")
    low = dy.Float64(nullable=True, description="2.5th percentile of the bootstrap over items; null for elo, which has none")
    high = dy.Float64(nullable=True, description="97.5th percentile of the bootstrap over items")
    n = dy.Int32(description="items behind the value")
    total = dy.Int32(description="items that there are")
    samples = dy.Int32(min=1, description="answers per item, each sampled with a seed of its own")
    spread = dy.Float64(
        nullable=True, description="standard deviation between the samples' own values; null where there is one"
    )


class Comparisons(dy.Schema):
    """One row per metric of two policies of a model, one judge's verdicts on the same items."""

    model = dy.String(primary_key=True, description="name of the base model in the configuration")
    method = dy.String(primary_key=True, description="of the policy in question")
    iteration = dy.Int32(primary_key=True, description="of the policy in question")
    other_method = dy.String(primary_key=True, description="of the policy that it is compared with")
    other_iteration = dy.Int32(primary_key=True, description="of the policy that it is compared with")
    against = dy.String(
        primary_key=True,
        description="base, previous (the iteration before; of the first the warm-up), or method (same iteration)",
    )
    benchmark = dy.String(primary_key=True, description="scores.benchmark")
    judge = dy.String(primary_key=True, description="scores.judge")
    metric = dy.String(primary_key=True, description="scores.metric")
    difference = dy.Float64(nullable=True, description="the policy's value less the other's, over the items that both have")
    low = dy.Float64(nullable=True, description="2.5th percentile of the paired bootstrap over items")
    high = dy.Float64(nullable=True, description="97.5th percentile of the paired bootstrap over items")
    p = dy.Float64(nullable=True, min=0.0, max=1.0, description="two-sided paired permutation test")
    p_holm = dy.Float64(
        nullable=True, min=0.0, max=1.0, description="p corrected for the number of rows of this table (Holm 1979)"
    )
    n = dy.Int32(description="items that both have")


# ---------------------------------------------------------------------------------------------------------- read, write


class TableError(Exception):
    """A table is not what its schema says; the message names the file, the rule and the number of rows."""


def write_table(rows: pl.DataFrame, schema: type[dy.Schema], path: str | Path) -> None:
    """Check `rows` against `schema`, sort them by key and write them to `path` as zstd Parquet, whole or not at all.

    Columns that the schema does not name are left out. Raises TableError where a rule of the schema is broken; nothing is
    written then.
    """
    rows = _valid(rows, schema, path).sort(schema.primary_key())
    with atomic_path(path) as temporary:
        rows.write_parquet(temporary, compression="zstd", statistics=True)


# Rows that are compressed at once when a table is written in batches.
ROW_GROUP = 20_000


def write_batches(batches: Iterable[pl.DataFrame], schema: type[dy.Schema], path: str | Path) -> int:
    """As `write_table`, for rows that come sorted by key, in batches of any size, and need not fit in memory. Returns their number.

    The bytes depend on the rows alone, not on how they are cut into batches or on the number of threads. The next batch is made
    by another thread while one is compressed, column by column, by all. Raises what `batches` raises, and TableError.
    """
    written = 0

    def checked(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal written
        for rows in _checked(batches, schema, path):
            written += rows.height
            yield rows

    rows = register_io_source(checked, schema=schema.create_empty().schema)
    with atomic_path(path) as temporary:
        # The first level takes two thirds of the time of the third, which is the default, and a tenth more space.
        rows.sink_parquet(temporary, compression="zstd", compression_level=1, statistics=True, row_group_size=ROW_GROUP)
    return written


def _valid(rows: pl.DataFrame, schema: type[dy.Schema], path: str | Path) -> pl.DataFrame:
    """The schema's columns of `rows`, cast to their types. Raises TableError where a rule of the schema is broken."""
    try:
        return schema.validate(rows.select(schema.column_names()), cast=True)
    except (dy.exc.ValidationError, dy.exc.SchemaError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{path}: rows that are not {schema.__name__}: {error}") from error


def _checked(batches: Iterable[pl.DataFrame], schema: type[dy.Schema], path: str | Path) -> Iterator[pl.DataFrame]:
    """The batches, each with the schema's columns and valid, and sorted by key from the first to the last. Raises TableError."""
    last = None
    for rows in batches:
        rows = _valid(rows, schema, path)
        keys = rows.select(schema.primary_key())
        if not keys.is_empty():
            if not keys.equals(keys.sort(keys.columns)) or (last is not None and last >= keys.row(0)):
                raise TableError(f"{path}: rows that are not sorted by {', '.join(keys.columns)}, or come twice")
            last = keys.row(-1)
        yield rows


def read_table(schema: type[dy.Schema], *paths: str | Path) -> pl.DataFrame:
    """The rows of all `paths` (shards of one table), sorted by key. Raises TableError for a missing column or a broken rule."""
    frames = []
    for path in paths:
        try:
            frames.append(pl.read_parquet(path, columns=schema.column_names(), hive_partitioning=False))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TableError(
                f"{path}: not a readable {schema.__name__} table: {error}. Delete it and run again to have it rebuilt."
            ) from error
    rows = pl.concat(frames) if frames else schema.create_empty()
    try:
        return schema.validate(rows.sort(schema.primary_key()))
    except (dy.exc.ValidationError, dy.exc.SchemaError) as error:
        raise TableError(f"{', '.join(map(str, paths))}: rows that are not {schema.__name__}: {error}") from error


class atomic_path:
    """`with atomic_path(path) as temporary:` write to `temporary`; it becomes `path` if the block ends well, else it goes."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self.temporary.unlink(missing_ok=True)
            return
        with open(self.temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private to the user; results are shared like any other file the user writes.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(self.temporary, 0o666 & ~umask)
        os.replace(self.temporary, self.path)


class LedgerBook:
    """Counts what a stage drops and why: `book.drop(...)` in the order of the checks, then `book.rows()`."""

    def __init__(self, flow: str, stage: str, unit: str, rows_in: int):
        self.flow, self.stage, self.unit, self.rows, self._rows = flow, stage, unit, rows_in, []

    def drop(self, reason: str, dropped: int) -> None:
        """`dropped` of the rows that were left go, for `reason`. Steps that drop nothing are kept: they show the check ran."""
        self._add("drop", reason, dropped, self.rows - dropped, self.unit)

    def regroup(self, reason: str, unit: str, rows_out: int) -> None:
        """The rows become `rows_out` rows of another `unit` (records -> conversations, conversations -> turns)."""
        self._add("regroup", reason, 0, rows_out, unit)

    def _add(self, event: str, reason: str, dropped: int, rows_out: int, unit_out: str) -> None:
        self._rows.append(
            {
                "flow": self.flow,
                "step": len(self._rows),
                "stage": self.stage,
                "event": event,
                "reason": reason,
                "unit_in": self.unit,
                "rows_in": self.rows,
                "dropped": dropped,
                "rows_out": rows_out,
                "unit_out": unit_out,
            }
        )
        self.rows, self.unit = rows_out, unit_out

    def table(self) -> pl.DataFrame:
        """The ledger rows so far, as a Ledger table."""
        return pl.DataFrame(self._rows, schema=Ledger.create_empty().schema)
