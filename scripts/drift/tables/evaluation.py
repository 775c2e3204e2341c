"""The tables of the evaluation: answers, verdicts, scores and comparisons."""

import dataframely as dy
import polars as pl

from drift.names import DIRECTIONS
from drift.tables.columns import choice_logprobs, one_of


class Responses(dy.Schema):
    """A policy's answers to a benchmark."""

    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="number of the sample, from 0")
    response = dy.String(description="the answer; may be empty or cut, and is judged as it is")
    finish_reason = dy.String(description="completions.finish_reason")
    completion_tokens = dy.Int32(description="tokens written")
    choice_logprobs = choice_logprobs(
        "completions.choice_logprobs: where answers are one of few words, which are read off and not written; null elsewhere"
    )


class Behaviour(dy.Schema):
    """How a trained policy writes, next to the policy before it and the base model, by their
    answers to one benchmark; no rows where nothing is compared."""

    measure = dy.String(
        primary_key=True,
        description="tokens_p25, tokens_median, tokens_p75 (length of an answer), empty, identical, ended, distinct_2, repeated_4, "
        "script, on_prompt; drift/metrics/behaviour.py defines each",
    )
    benchmark = dy.String(description="the benchmark, by its name in the configuration")
    value = dy.Float64(
        nullable=True, description="of the policy; null where it is not defined, as distinct_2 of single words is"
    )
    before = dy.Float64(nullable=True, description="of the policy that it was trained from")
    base = dy.Float64(nullable=True, description="of the base model")
    low = dy.Float64(nullable=True, description="least value that passes, by training.behaviour; null: none")
    high = dy.Float64(nullable=True, description="greatest value that passes; null: none")
    passed = dy.Bool(
        nullable=True, description="whether the value is within both; null where no limit applies or there are too few answers"
    )
    stops = dy.Bool(description="nothing is trained from this policy: it did not pass, and training.behaviour.outcome is fail")
    detail = dy.String(description="the measure in words, with its limits")
    n = dy.Int32(min=0, description="answers of the policy, or of one of the other two if it has fewer")

    @dy.rule()
    def _stops_where_it_did_not_pass(cls) -> pl.Expr:
        return ~pl.col("stops") | ~pl.col("passed").fill_null(True)


class Checks(dy.Schema):
    """What code found in a policy's answers: one row per answer and check of its task."""

    prompt_id = dy.String(primary_key=True, description="tasks.prompt_id")
    sample = dy.Int32(primary_key=True, description="responses.sample: which of the policy's answers")
    check = dy.String(
        primary_key=True,
        description="name and arguments of the check, words(at_most=30); of IFEval the instruction, with (loose) where it may be kept "
        "loosely; of GSM8K how the number was found; of multiple choice: right, letter first",
    )
    direction = one_of(DIRECTIONS, "what keeping it does to the length of an answer; neutral: neither")
    passed = dy.Bool(description="whether the answer keeps it; an empty answer keeps none")


class Judgments(dy.Schema):
    """A judge's verdict on an answer, by itself or against another one; a question without a
    verdict says why.

    One row per question: a question is a sample, an opponent, an order of presentation and a vote.
    Of preference, outcome, score and error exactly one is there.
    """

    request_id = dy.String(primary_key=True, description="requests.request_id, where the judge was asked")
    prompt_id = dy.String(description="tasks.prompt_id")
    sample = dy.Int32(description="responses.sample: which of the policy's answers")
    kind = one_of(("pairwise", "score"), "pairwise: against the opponent's answer; score: by itself")
    opponent = dy.String(nullable=True, description="baseline, or a reference's model; null for a score")
    order = one_of(("AB", "BA"), "AB: the policy's answer was shown first; BA: second; null for a score", nullable=True)
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
    """Answers with published figures, by which judges are validated; exactly one of preference and
    score is set."""

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
    """One row per model, method, iteration, seed, benchmark, judge and metric. Scores of different
    judges are different scores."""

    model = dy.String(primary_key=True, description="name of the base model in the configuration")
    method = dy.String(primary_key=True, description="the method's name; base and warmup before the first iteration")
    iteration = dy.Int32(primary_key=True, description="-1 base, 0 warm-up, k after iteration k")
    seed = dy.Int32(
        primary_key=True,
        min=0,
        description="the policy's row of `seeds`; 0: the mean over all seeds, and base and warmup, which all share",
    )
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
    low = dy.Float64(
        nullable=True,
        description="lower end of the 95% bootstrap interval over clusters of items; of a mean over seeds over seeds as well; "
        "null for elo, which has none, and where there is one cluster",
    )
    high = dy.Float64(nullable=True, description="its upper end")
    n = dy.Int32(description="items behind the value; of a mean over seeds those of the seed with the fewest")
    total = dy.Int32(description="items that there are")
    samples = dy.Int32(min=1, description="answers per item, each sampled with a seed of its own")
    spread = dy.Float64(
        nullable=True,
        description="standard deviation between the samples' own values, of a mean over seeds the mean of theirs; null where there "
        "is one sample",
    )
    seeds = dy.Int32(min=1, description="trained policies behind the value")
    seed_spread = dy.Float64(nullable=True, description="standard deviation between the seeds' values; null where there is one")


class Comparisons(dy.Schema):
    """One row per metric of two policies of a model, one judge's verdicts on the same items; of
    methods the means over their seeds."""

    model = dy.String(primary_key=True, description="name of the base model in the configuration")
    method = dy.String(primary_key=True, description="of the policy in question")
    iteration = dy.Int32(primary_key=True, description="of the policy in question")
    other_method = dy.String(primary_key=True, description="of the policy that it is compared with")
    other_iteration = dy.Int32(primary_key=True, description="of the policy that it is compared with")
    against = dy.String(
        primary_key=True,
        description="base, previous (the policy that the iteration started from), or method (same iteration)",
    )
    benchmark = dy.String(primary_key=True, description="scores.benchmark")
    judge = dy.String(primary_key=True, description="scores.judge")
    metric = dy.String(primary_key=True, description="scores.metric")
    difference = dy.Float64(nullable=True, description="the policy's value less the other's, over the items that both have")
    family = one_of(
        ("primary", "exploratory"), "primary: declared before the run (evaluation.primary); exploratory: all others"
    )
    low = dy.Float64(
        nullable=True, description="lower end of the paired 95% bootstrap interval, over seeds and clusters of items"
    )
    high = dy.Float64(nullable=True, description="its upper end")
    p = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="two-sided paired permutation test, which exchanges clusters of items: given the policies that were trained",
    )
    p_seeds = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="two-sided sign-flip test over seeds; null with fewer than 6, of which no result could be below 0.05",
    )
    p_holm = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="p corrected for the number of primary rows (Holm 1979); null for the others",
    )
    p_fdr = dy.Float64(
        nullable=True,
        min=0.0,
        max=1.0,
        description="p corrected for the number of exploratory rows: the false share of those at or below it (Benjamini and "
        "Hochberg 1995); null for primary ones",
    )
    n = dy.Int32(description="items that both have; the fewest of any seed")
    seeds = dy.Int32(min=1, description="seeds behind the difference; of policies that all seeds share 1")
