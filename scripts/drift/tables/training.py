"""The tables of sampling and training: from fitted prompts to what a training run did."""

import dataframely as dy
import polars as pl

from drift.names import UNPAIRED_POOLS
from drift.tables.columns import SPLITS, choice_logprobs, messages, one_of


class Prompts(dy.Schema):
    """A pool or a benchmark, fitted to a model's context: the prompt x exactly as it is sampled
    from and trained on."""

    prompt_id = dy.String(primary_key=True, description="dsat, sat, corrections, wordless or task prompt_id")
    split = one_of(SPLITS, "the pool's split; test for benchmarks")
    cluster = dy.String(description="the pool's or the task's cluster: rows that statistics draw together")
    prompt = messages("x, less the oldest turns where the conversation was too long")
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
    messages = messages("the chat shown to the model")
    prompt_token_ids = dy.List(
        dy.Int32(),
        nullable=True,
        description="the same, rendered: what the engine gets; null for an endpoint, which renders by itself",
    )
    seed = dy.Int64(
        description="of this completion: a hash of the policy's or the data's seed, and of unit, prompt, kind, sample"
    )


class Completions(dy.Schema):
    """What an engine answered: one row per request, one file per shard."""

    request_id = dy.String(primary_key=True, description="requests.request_id")
    text = dy.String(description="the reply, without its thought and the token that ends its turn")
    thought = dy.String(
        nullable=True,
        description="what a reasoning model wrote between <think> and </think> before the reply; nobody is shown it",
    )
    finish_reason = dy.String(
        description="stop: the model ended its turn; length: cut by max_tokens; error: no answer came; others as the engine says"
    )
    error = dy.String(nullable=True, description="why no answer came; null where one did")
    prompt_tokens = dy.Int32(description="tokens read")
    completion_tokens = dy.Int32(description="tokens written")
    choice_logprobs = choice_logprobs(
        "log-probability of each allowed answer as the first token, where the request allowed only some"
    )
    policy_hash = dy.String(
        description="policy.json weights_sha256 of the model that wrote it; for an endpoint the model's name as it gives it"
    )


class Ranks(dy.Schema):
    """The scores that a ranker gave an iteration's candidates, or both sides of its pairs; what it
    could not score has no row."""

    request_id = dy.String(
        primary_key=True, description="requests.request_id of the candidate; of a pair PAIR_ID#chosen and PAIR_ID#rejected"
    )
    score = dy.Float64(description="the higher the better; of a judge 1 to 10, of a reward model its output")


class Likelihoods(dy.Schema):
    """How likely policies find an iteration's candidates, where the method ranks them by that."""

    request_id = dy.String(primary_key=True, description="requests.request_id of the candidate")
    back = dy.Int32(
        primary_key=True, min=1, description="the policy: 1, the one that the iteration starts from; 2, the one before it; ..."
    )
    logp = dy.Float64(description="log pi(y|x) in nats, summed over the tokens of the candidate")
    tokens = dy.Int32(min=1, description="length of the candidate in tokens, end of turn included unless it was cut")


class RankAgreement(dy.Schema):
    """How far two policies agree on the ranking of a prompt's candidates: the one that wrote them,
    and the one before it."""

    prompt_id = dy.String(primary_key=True, description="prompts.prompt_id")
    tau = dy.Float64(min=-1.0, max=1.0, description="Kendall's tau-b between both rankings")
    candidates = dy.Int32(min=2, description="candidates that both have ranked")


class PairQuality(dy.Schema):
    """How often the y+ of an iteration's pairs is better than their y-, by a judge or a ranker,
    over a seeded sample of the pairs."""

    rater = dy.String(primary_key=True, description="the judge or the ranker, by its name in the configuration")
    value = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="mean share of y+ against y-: 1 for a win, a tie counts half; of a judge that gives probabilities their mean "
        "over both orders. Null where no pair was rated",
    )
    low = dy.Float64(
        nullable=True,
        description="lower end of the 95% bootstrap interval over clusters of prompts; null where there is one cluster",
    )
    high = dy.Float64(nullable=True, description="its upper end")
    ties = dy.Float64(nullable=True, min=0.0, max=1.0, description="share of the rated pairs that are ties")
    n = dy.Int32(min=0, description="pairs that were rated")
    total = dy.Int32(min=1, description="pairs in the sample")


class Dropped(dy.Schema):
    """Prompts that gave no pair, or whose reply is not trained on by itself, and why."""

    prompt_id = dy.String(primary_key=True, description="prompts.prompt_id")
    reason = dy.String(description="the first check that the candidate failed")
    detail = dy.String(nullable=True, description="the offending text or number")


class Pairs(dy.Schema):
    """What DPO trains on. The prompt is always the plain x: neither the feedback nor the improve
    instruction is in it."""

    pair_id = dy.String(primary_key=True, description="the prompt_id")
    prompt = messages("x")
    prompt_token_ids = dy.List(dy.Int32(), description="x as rendered for sampling; training must render the same")
    chosen = dy.String(description="y+ as far as it is trained on")
    rejected = dy.String(description="y- as far as it is trained on")
    chosen_from = dy.String(description="logged (the deployment's reply) or the request_id that was sampled")
    rejected_from = dy.String(description="logged (the deployment's reply) or the request_id that was sampled")
    chosen_finish = dy.String(nullable=True, description="completions.finish_reason of a sampled y+; null for a logged one")
    rejected_finish = dy.String(nullable=True, description="completions.finish_reason of a sampled y-; null for a logged one")
    chosen_cut = dy.Bool(description="y+ is a prefix: it did not end within sampling.max_tokens and has no end of turn")
    rejected_cut = dy.Bool(description="the same of y-")
    chosen_token_ids = dy.List(
        dy.Int32(), description="y+ as rendered and checked, end of turn included unless cut; training must render the same"
    )
    rejected_token_ids = dy.List(dy.Int32(), description="y- as rendered and checked, end of turn included unless cut")
    chosen_tokens = dy.Int32(description="length of y+ in tokens, end of turn included unless cut")
    rejected_tokens = dy.Int32(description="length of y- in tokens, end of turn included unless cut")
    consistency = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="of a method that ranks by likelihood: the mean of (tau + 1) / 2 over all prompts with two rankings "
        "(rank_agreement), the same for each pair; null where one policy ranks alone",
    )
    alludes = dy.Bool(
        description="y+, as it is trained on, opens with words on feedback that x does not show; a rough measure, in English alone"
    )

    @dy.rule()
    def _sides_differ(cls) -> pl.Expr:
        return pl.col("chosen").str.strip_chars() != pl.col("rejected").str.strip_chars()

    @dy.rule()
    def _sampled_replies_ended_or_are_prefixes(cls) -> pl.Expr:
        sides = [(pl.col(f"{side}_finish"), pl.col(f"{side}_cut")) for side in ("chosen", "rejected")]
        return pl.all_horizontal(
            finish.is_null() | (finish == pl.when(cut).then(pl.lit("length")).otherwise(pl.lit("stop")))
            for finish, cut in sides
        )


class Unpaired(dy.Schema):
    """Logged replies that a method trains on one by one, each desirable or not. The prompt is
    always the plain x."""

    prompt_id = dy.String(primary_key=True, description="prompts.prompt_id")
    pool = one_of(UNPAIRED_POOLS, "the pool it is from; wordless: disappointed without a word")
    prompt = messages("x")
    prompt_token_ids = dy.List(dy.Int32(), description="x as rendered for sampling; training must render the same")
    reply = dy.String(description="the logged reply as far as it is trained on")
    desirable = dy.Bool(description="whether it satisfied; false: it disappointed")
    cut = dy.Bool(description="the reply is a prefix: it did not end within sampling.max_tokens and has no end of turn")
    reply_token_ids = dy.List(
        dy.Int32(),
        description="the reply as rendered and checked, end of turn included unless cut; training must render the same",
    )
    reply_tokens = dy.Int32(description="its length in tokens, end of turn included unless cut")
    hindsight_token_ids = dy.List(
        dy.Int32(),
        nullable=True,
        description="of self-distillation: x with the user's answer to the reply at its end, as the teacher reads it; else null",
    )


class TrainLog(dy.Schema):
    """The trainer's log, one row per logged step and metric."""

    step = dy.Int32(primary_key=True, description="optimizer step, from 1")
    metric = dy.String(
        primary_key=True,
        description="as the trainer names it: loss, rewards/margins, grad_norm, ...; train_runtime and what is per second are of "
        "the last job of a training that was resumed",
    )
    value = dy.Float64(description="must be finite: a NaN fails the training")


class Margins(dy.Schema):
    """How far an iteration moved each of its pairs: s = beta [log-ratio(y+) - log-ratio(y-)]
    against the reference."""

    pair_id = dy.String(primary_key=True, description="pairs.pair_id")
    reference_chosen_logp = dy.Float64(description="log pi_ref(y+|x), summed over tokens")
    reference_rejected_logp = dy.Float64(description="log pi_ref(y-|x)")
    start_chosen_logp = dy.Float64(description="log pi(y+|x) before the iteration; the reference's, where that is the start")
    start_rejected_logp = dy.Float64(description="log pi(y-|x) before the iteration")
    policy_chosen_logp = dy.Float64(description="log pi(y+|x) after the iteration")
    policy_rejected_logp = dy.Float64(description="log pi(y-|x) after the iteration")
    s_before = dy.Float64(description="the margin before the iteration; 0 where the iteration starts from the reference")
    sigma_minus_s_before = dy.Float64(min=0.0, max=1.0, description="sigma(-s) before the iteration; 0.5 where s is 0")
    s = dy.Float64(description="the margin after the iteration")
    sigma_minus_s = dy.Float64(
        min=0.0, max=1.0, description="sigma(-s), the weight of the pair's DPO gradient, after the iteration"
    )


class Gradients(dy.Schema):
    """Gradients of the DPO loss of single pairs, over all weights: a seeded sample of the
    iteration's pairs."""

    pair_id = dy.String(primary_key=True, description="pairs.pair_id")
    moment = one_of(("before", "after"), "before or after the iteration", primary_key=True)
    d_norm = dy.Float64(min=0.0, description="||d||, d = grad log pi(y+|x) - grad log pi(y-|x)")
    gradient_norm = dy.Float64(min=0.0, description="||grad loss|| = beta sigma(-s) ||d||")
    mean_product = dy.Float64(
        nullable=True,
        description="mean inner product of grad loss with that of each other pair of the sample: below 0 where the pair pulls "
        "against the others; its mean over pairs is mean_gradient_norm_squared. Null for a single pair",
    )


class Diagnostics(dy.Schema):
    """What an iteration of training did, in single numbers."""

    metric = dy.String(
        primary_key=True, description="mean_gradient_norm_squared, kl_previous, ...; scripts/diagnostics.py defines each"
    )
    moment = one_of(("before", "after"), "before or after the iteration", primary_key=True)
    value = dy.Float64(description="log-probabilities and divergences in nats")
    low = dy.Float64(
        nullable=True, description="lower end of the 95% interval: of gradients by jackknife, of divergences by bootstrap"
    )
    high = dy.Float64(nullable=True, description="its upper end; both are null where no interval is computed")
    n = dy.Int32(min=1, description="pairs, or held-out replies, behind the value")


class Improvement(dy.Schema):
    """Whether what an iteration's pairs teach is what its users want, where code can check it."""

    metric = one_of(
        ("p_imp", "p_tie", "p_worse", "measured_gain", "predicted_gain", "lambda_imp", "lambda_rest"),
        "scripts/improvement.py defines each",
        primary_key=True,
    )
    value = dy.Float64(
        description="of a gain in shares of the checks, of lambda per unit of the weights times their squared norm"
    )
    low = dy.Float64(nullable=True, description="lower end of the 95% bootstrap interval over prompts; null where there is one")
    high = dy.Float64(nullable=True, description="its upper end")
    n = dy.Int32(min=1, description="prompts behind the value; of p_imp, p_tie and p_worse pairs")
