"""The work of a run but its trainings: what engines and endpoints are asked, in tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drift import benchmarks, layout, plugins, sides, verdicts
from drift.config import LIKELIHOOD, SELF, effective, is_unpaired, warms_up
from drift.judging.protocols import (
    comparing_protocol,
    judges_of,
    protocol_of,
    questions_per_answer,
    ranking_judge,
    ranking_protocol,
    raters_of,
)
from drift.names import WRITER
from drift.settings.judging import Protocol
from drift.workflow.arrivals import Arrivals

# Rows that the data will have where the configuration sets no maximum: the paper's full setting.
ROWS = {"dsat": 11000, "sat": 4500, "corrections": 491, "replies": 89000}
# Tasks of a benchmark whose kind does not say how many were published, prompts of simulated users
# where nothing limits them, and published answers that judges are validated on.
TASKS = 500
# Tokens that a request to a judge holds besides prompt and answers, and one to a rubric labeler
# besides prompt, reply and feedback; tokens of a label.
JUDGE_READS, RUBRIC_READS, RUBRIC_WRITES = 250, 600, 80


@dataclass(frozen=True)
class Lengths:
    """Mean lengths in tokens. WildFeedback's records of prompt, reply and feedback have 10 kB, some
    2,400 tokens."""

    prompt: float = 1200
    reply: float = 400
    feedback: float = 60


@dataclass(frozen=True)
class Answerer:
    """A model that is not one of those to improve: a judge, a writer, a reward model, that of a
    labeler, or the deployed model of simulated users."""

    name: str
    path: str | None
    endpoint: dict[str, Any] | None  # a configuration's Endpoint


@dataclass(frozen=True)
class Generation:
    """What an engine or an endpoint is asked in a rule, for one model to improve."""

    rule: str
    repeats: int  # iterations, with every seed, or policies that it is done for; the rest is of one of them
    requests: float
    read: float  # tokens of a request
    written: float  # tokens of a reply
    context: int  # most tokens of request and reply together
    shards: int  # jobs
    answerer: Answerer | None = None  # None: the model itself


@dataclass(frozen=True)
class Reading:
    """Texts that a model reads in one pass each and writes nothing: log-probabilities, rewards,
    classes."""

    rule: str
    repeats: int  # as of Generation
    texts: float
    length: float  # tokens of a text
    answerer: Answerer | None = None  # None: the model itself
    context: int | None = None  # most tokens of a text; None: as sampling has it


def generations(config: dict, rows: dict[str, float], lengths: Lengths) -> list[Generation]:
    """What is asked for one model: by users of its policies, samples, their rankings and
    comparisons of pairs by method, then answers and verdicts by benchmark. `rows`: prompts, by
    pool."""
    work = list(_compared(config, 1, rows["corrections"], lengths)) if warms_up(config) else []  # the warm-up's pairs
    for method in config["methods"]:
        work += _deployed(config, method, lengths)
        work += _sampled(config, method, rows, lengths)
        work += _ranked(config, method, rows, lengths)
        if not is_unpaired(recipe := config["recipes"][method]):
            work += _compared(config, _iterations(config), rows[recipe["prompts"]], lengths)
    for benchmark in config["evaluation"]["benchmarks"]:
        work += _evaluated(config, benchmark, lengths)
    return work


def readings(config: dict, rows: dict[str, float], lengths: Lengths) -> list[Reading]:
    """What is read for one model: candidates and sides of pairs by reward models, held-out
    corrections by every policy. `rows`: prompts, by pool."""
    length = sum(_prompt_and_reply(config, lengths))
    work = []
    for iterations, method in [(warms_up(config), None), *((_iterations(config), name) for name in config["methods"])]:
        recipe = config["recipes"][method] if method else None
        if recipe and is_unpaired(recipe):
            continue
        pairs = rows[recipe["prompts"] if recipe else "corrections"]
        if recipe and (ranker := _reward_model(config, recipe["rank"])):
            work.append(Reading("rewards", iterations, len(recipe["candidates"]) * pairs, length, ranker))
        for name in raters_of(config):
            if iterations and (ranker := _reward_model(config, name)):
                texts = 2 * min(pairs, config["training"]["pair_quality"]["pairs"])
                work.append(Reading("pair_scores", int(iterations), texts, length, ranker))
    if heldout := config["data"]["test_correction_conversations"]:
        work.append(Reading("logps", _policies(config), 2 * heldout, length))
    return work + _explored(config, lengths)


def _explored(config: dict, lengths: Lengths) -> list[Reading]:
    """Answers of the base model and of the explored iterations' policies that are scored by a
    reward model. What an encoder takes is seconds."""
    section = config["exploration"]
    if section is None or (ranker := _reward_model(config, section["reward"])) is None:
        return []
    row = config["evaluation"]["benchmarks"][section["benchmark"]]
    iterations = len(set(section["iterations"] or [config["iterations"]]))
    policies = 1 + len(config["methods"]) * len(config["seeds"]) * iterations
    length = _prompt_and_reply(config, lengths)[0] + min(lengths.reply, row["decoding"]["max_tokens"])
    return [Reading("answer_rewards", policies, _tasks(config, row) * row["samples"], length, ranker)]


def _reward_model(config: dict, name: str | None) -> Answerer | None:
    """The model of a row of rankers; None of another name, and of a ranker without a model."""
    row = config["rankers"].get(name)
    if row is None or plugins.load(plugins.RANKERS, row["kind"]).NEEDS_PATH != "a model":
        return None
    return Answerer(name, row["path"], None)


def for_all_models(config: dict, replies: float, lengths: Lengths) -> list[Generation]:
    """What is asked once for all models: deployed models by simulated users, rubric labelers about
    `replies`, judges about published answers."""
    return [*_simulated(config, lengths), *_labelled(config, replies, lengths), *_validated(config, lengths)]


def _simulated(config: dict, lengths: Lengths) -> Iterator[Generation]:
    """What users ask the deployed models of the sources."""
    for name, source in config["data"]["sources"].items():
        if row := source["simulation"]:
            yield from _asked_by_users("answer_users", row, 1, lengths, Answerer(name, row["path"], row["endpoint"]))


def _deployed(config: dict, method: str, lengths: Lengths) -> Iterator[Generation]:
    """What users ask the policies of a method that learns from what they said to these."""
    for source in config["data"]["sources"].values():
        row = source["simulation"]
        if row and row["deployed"] == "previous" and config["recipes"][method]["fresh"] != 0:
            iterations = config["iterations"] - max(1, source["from_iteration"] - 1)
            if iterations:  # nobody learns from what the last policy is told
                yield from _asked_by_users("later_answer_users", row, iterations * len(config["seeds"]), lengths, None)


def _asked_by_users(rule: str, row: dict, repeats: int, lengths: Lengths, answerer: Answerer | None) -> Iterator[Generation]:
    """First and second questions; every user whom an answer disappointed is taken to ask again."""
    asked = (row["max_prompts"] or TASKS) * row["samples"]
    room, reply = row["context"] - row["decoding"]["max_tokens"], min(lengths.reply, row["decoding"]["max_tokens"])
    first, again = (1, lengths.prompt), (row["ask_again"], lengths.prompt + reply + lengths.feedback)
    for share, read in (first, again) if row["ask_again"] else (first,):
        yield Generation(
            rule=rule,
            repeats=repeats,
            requests=share * asked,
            read=min(read, room),
            written=reply,
            context=row["context"],
            shards=row["shards"],
            answerer=answerer,
        )


def _validated(config: dict, lengths: Lengths) -> Iterator[Generation]:
    """A judge that judges several benchmarks in the same way is asked once."""
    if config["evaluation"]["validation"] is None:
        return
    prompt, reply = _prompt_and_reply(config, lengths)
    asked = {
        (name, protocol_of(config, benchmark, name))
        for benchmark in config["evaluation"]["benchmarks"]
        for name in judges_of(config, benchmark)
    }
    for name, protocol in sorted(asked, key=str):
        judge = config["evaluation"]["judges"][name]
        answerer = Answerer(name, judge["path"], judge["endpoint"])
        numbers = {"repeats": 1, "answers": TASKS, "prompt": prompt, "reply": reply, "shards": 1}
        yield _asked("judge_published", answerer, judge, protocol, **numbers)


def _labelled(config: dict, replies: float, lengths: Lengths) -> list[Generation]:
    read = lengths.prompt + lengths.reply + lengths.feedback + RUBRIC_READS
    return [
        Generation(
            rule=rule,
            repeats=repeats,
            requests=min(row["max_replies"] or replies, replies),
            read=min(read, row["context"]),
            written=RUBRIC_WRITES,
            context=row["context"],
            shards=row["shards"],
            answerer=Answerer(name, row["path"], row["endpoint"]),
        )
        for name, row in config["data"]["labelers"].items()
        if row["kind"] in plugins.ASKING
        for rule, repeats in _data(config, "annotate")
    ]


def classifications(config: dict, replies: float, lengths: Lengths) -> list[Reading]:
    """What the classifiers of labelers read for all models, of each of `replies`."""
    parts = {"user": lengths.prompt, "response": lengths.reply, "feedback": lengths.feedback}
    return [
        Reading(
            rule=rule,
            repeats=repeats,
            texts=replies,
            length=min(sum(parts[part] for part in row["reads"]), row["context"]),
            answerer=Answerer(name, row["path"], None),
            context=row["context"],
        )
        for name, row in config["data"]["labelers"].items()
        if row["kind"] in plugins.CLASSIFYING
        for rule, repeats in _data(config, "classify")
    ]


def _data(config: dict, rule: str) -> Iterator[tuple[str, int]]:
    """The data that a rule is about: those of the start, and how many come later. These have all of
    the start in them, and are taken to be as large."""
    yield rule, 1
    arrivals = Arrivals(config, layout.paths(""))
    if later := {data for model in config["models"] for data, _ in arrivals.learned_from(model)}:
        yield f"later_{rule}", len(later)


def _prompt_and_reply(config: dict, lengths: Lengths) -> tuple[float, float]:
    """Tokens of a sampled prompt, as far as the context holds it, and of the reply."""
    sampling = config["sampling"]
    return (
        min(lengths.prompt, sampling["context"] - sampling["max_tokens"]),
        min(lengths.reply, sampling["max_tokens"]),
    )


def _iterations(config: dict) -> int:
    """Iterations of a method, with every seed."""
    return config["iterations"] * len(config["seeds"])


def _policies(config: dict) -> int:
    """Policies of a model that are evaluated: the base model and the warm-up among them."""
    return 1 + warms_up(config) + len(config["methods"]) * _iterations(config)


def _sampled(config: dict, method: str, rows: dict[str, float], lengths: Lengths) -> Iterator[Generation]:
    sampling, recipe = config["sampling"], config["recipes"][method]
    prompt, reply = _prompt_and_reply(config, lengths)
    asked = sides.samples(recipe, effective(config, "sampling", recipe)["n"]).values()
    for kind, samples in (request for kinds in asked for request in kinds.items()):
        # The disappointing reply and the feedback on it, where they are shown.
        shown = lengths.reply + lengths.feedback if plugins.load(plugins.SIDES, kind).NEEDS.shown else 0
        # A writer writes once a seed, whatever the policy is.
        writes = sides.asked_of(kind) == WRITER
        writer = config["evaluation"]["judges"][recipe["writer"]] if writes else None
        yield Generation(
            rule="sample",
            repeats=len(config["seeds"]) if writes else _iterations(config),
            requests=samples * rows[recipe["prompts"]],
            read=min(prompt + shown, sampling["context"] - sampling["max_tokens"]),
            written=reply,
            context=sampling["context"],
            shards=sampling["shards"],
            answerer=writer and Answerer(recipe["writer"], writer["path"], writer["endpoint"]),
        )


def _ranked(config: dict, method: str, rows: dict[str, float], lengths: Lengths) -> Iterator[Generation]:
    """Rankings by a judge or by the policy itself, which writes. What a ranker reads is among the
    readings; a policy whose likelihoods rank is left out."""
    recipe, ranker = config["recipes"][method], config["recipes"][method]["rank"]
    if ranker in (None, LIKELIHOOD) or ranker in config["rankers"]:
        return
    judge = ranking_judge(config, recipe)
    prompt, reply = _prompt_and_reply(config, lengths)
    yield _asked(
        "rank",
        None if ranker == SELF else Answerer(ranker, judge["path"], judge["endpoint"]),
        judge,
        ranking_protocol(judge["votes"]),
        repeats=_iterations(config),
        answers=len(recipe["candidates"]) * rows[recipe["prompts"]],
        prompt=prompt,
        reply=reply,
        shards=config["sampling"]["shards"],
    )


def _compared(config: dict, iterations: int, pairs: float, lengths: Lengths) -> Iterator[Generation]:
    """Comparisons of both sides of pairs by judges. What a ranker reads is among the readings."""
    prompt, reply = _prompt_and_reply(config, lengths)
    for name in raters_of(config):
        if name in config["rankers"]:
            continue
        judge = config["evaluation"]["judges"][name]
        yield _asked(
            "compare",
            Answerer(name, judge["path"], judge["endpoint"]),
            judge,
            comparing_protocol(judge),
            repeats=iterations,
            answers=min(pairs, config["training"]["pair_quality"]["pairs"]),
            prompt=prompt,
            reply=reply,
            shards=1,
        )


def _evaluated(config: dict, benchmark: str, lengths: Lengths) -> Iterator[Generation]:
    row = config["evaluation"]["benchmarks"][benchmark]
    policies = _policies(config)
    answers = _tasks(config, row) * row["samples"]
    prompt, _ = _prompt_and_reply(config, lengths)
    answer = 1 if benchmarks.choices(row["kind"]) else min(lengths.reply, row["decoding"]["max_tokens"])
    context = row["context"] or config["sampling"]["context"]
    yield Generation("respond", policies, answers, prompt, answer, context, row["shards"])
    for name in judges_of(config, benchmark):
        judge, protocol = config["evaluation"]["judges"][name], protocol_of(config, benchmark, name)
        yield _asked(
            "judge",
            Answerer(name, judge["path"], judge["endpoint"]),
            judge,
            protocol,
            repeats=policies,
            answers=answers,
            prompt=prompt,
            reply=answer,
            shards=row["shards"],
        )


def _asked(
    rule: str,
    answerer: Answerer | None,
    judge: dict,
    protocol: Protocol,
    *,
    repeats: int,
    answers: float,
    prompt: float,
    reply: float,
    shards: int,
) -> Generation:
    """Questions to a judge, a row of evaluation.judges, about `answers` of `reply` tokens each, to
    prompts of `prompt` tokens; `answerer` None: the policy itself is asked."""
    return Generation(
        rule=rule,
        repeats=repeats,
        requests=questions_per_answer(protocol) * answers,
        read=min(prompt + _answers_shown(protocol) * reply + JUDGE_READS, judge["context"]),
        written=verdicts.load(protocol.verdict).TYPICAL_TOKENS,
        context=judge["context"],
        shards=shards,
        answerer=answerer,
    )


def _tasks(config: dict, benchmark: dict) -> int:
    """The tasks of a benchmark: as published, of the held-out one a task a conversation."""
    published = plugins.load(plugins.BENCHMARKS, benchmark["kind"]).SIZE or TASKS
    tasks = config["data"]["test_conversations"] if benchmark["path"] is None else published
    return min(tasks, benchmark["max_tasks"] or tasks)


def _answers_shown(protocol: Protocol) -> int:
    return 2 if protocol.pairwise else 1
