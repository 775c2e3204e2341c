"""How a judge judges a benchmark: the one place that resolves it from the configuration.

A judge's row overrides the benchmark's row, which overrides what the benchmark's kind was published
with (its JUDGING). Rules and tools import this module, so it imports no library of the stages.
`config` is always the validated configuration (drift.config.load).
"""

from typing import Any

from drift import benchmarks, plugins, verdicts
from drift.config import SELF, Judge
from drift.config.base import listed
from drift.settings.judging import Protocol

# The verdict that ranks candidates, each by itself; and the one by which a judge compares both
# sides of a pair if its own verdict is not about two answers.
RANKING = "score"
COMPARING = "letter"


def judges_of(config: dict, benchmark: str) -> list[str]:
    """Who judges a benchmark, in the order of the configuration; nobody where code checks the
    answers and the benchmark names no judge."""
    row = config["evaluation"]["benchmarks"][benchmark]
    if row["judge"] is None and benchmarks.checked(row["kind"]):
        return []
    return named(row["judge"], config)


def judged(config: dict) -> list[tuple[str, str]]:
    """Every benchmark with each of its judges, in the order of the configuration."""
    return [(benchmark, judge) for benchmark in config["evaluation"]["benchmarks"] for judge in judges_of(config, benchmark)]


def protocol_of(config: dict, benchmark: str, judge: str) -> Protocol:
    """How `judge` judges `benchmark`."""
    benchmark_row = config["evaluation"]["benchmarks"][benchmark]
    judge_row = config["evaluation"]["judges"][judge]
    published = plugins.load(plugins.BENCHMARKS, benchmark_row["kind"]).JUDGING
    verdict = judge_row["verdict"] or published.verdict
    return Protocol(
        verdict=verdict,
        pairwise=verdicts.load(verdict).PAIRWISE,
        order=judge_row["order"] or benchmark_row["order"] or published.order,
        letters=published.letters,
        votes=judge_row["votes"],
    )


def ranking_judge(config: dict, recipe: dict) -> dict[str, Any]:
    """Who scores the candidates of a `recipe` that a judge ranks, or the policy itself, as a row of
    evaluation.judges.

    A policy that gives no score makes no pair, so that no share of verdicts is required of it.
    """
    if recipe["rank"] != SELF:
        return config["evaluation"]["judges"][recipe["rank"]]
    # Not validated: a judge has a path or an endpoint, which the policy itself has not.
    asked = {"context": config["sampling"]["context"], "min_verdicts": 0.0}
    return Judge.model_construct(**asked).model_dump(mode="json") | recipe["self_ranking"]


def ranking_protocol(votes: int) -> Protocol:
    """How a judge, or the policy itself, scores candidates: each by itself, `votes` times."""
    pairwise = verdicts.load(RANKING).PAIRWISE
    return Protocol(verdict=RANKING, pairwise=pairwise, order="random", letters=("A", "B"), votes=votes)


def raters_of(config: dict) -> list[str]:
    """Who rates pairs, judges and rankers, in the order of the configuration; nobody where no pair
    is rated."""
    quality = config["training"]["pair_quality"]
    if not quality["pairs"]:
        return []
    return named(quality["rater"], config)


def named(judge: str | list[str] | None, config: dict) -> list[str]:
    """The judges that a key names; null: evaluation.judge."""
    return listed(config["evaluation"]["judge"] if judge is None else judge)


def compares(judge: dict[str, Any]) -> bool:
    """Whether a judge, a row of evaluation.judges, has a verdict of its own that is about two
    answers."""
    return judge["verdict"] is not None and verdicts.load(judge["verdict"]).PAIRWISE


def comparing_protocol(judge: dict[str, Any]) -> Protocol:
    """How a judge, a row of evaluation.judges, compares both sides of a pair: in both orders."""
    verdict, votes = (judge["verdict"], judge["votes"]) if compares(judge) else (COMPARING, 1)
    return Protocol(verdict=verdict, pairwise=True, order="both", letters=("A", "B"), votes=votes)


def generation(protocol: Protocol, decoding: dict[str, Any]) -> dict[str, Any]:
    """What `generate` is told of a judge's questions: the allowed replies (choices), or the schema
    of the reply and its `decoding` (evaluation.judges.NAME.decoding)."""
    verdict = verdicts.load(protocol.verdict)
    choices = verdict.choices(protocol.letters)
    return {"choices": choices, "schema": verdict.SCHEMA, "decoding": None if choices else decoding}


def max_tokens(protocol: Protocol, decoding: dict[str, Any]) -> int:
    """Tokens that a verdict may have: one where its probabilities are read off."""
    return 1 if verdicts.load(protocol.verdict).choices(protocol.letters) else decoding["max_tokens"]


def questions_per_answer(protocol: Protocol) -> int:
    """How often an answer is judged, against one other answer where two are compared."""
    return protocol.votes * (2 if protocol.pairwise and protocol.order == "both" else 1)


_ORDERS = {
    "both": "both orders",
    "random": "one order a task",
    "alpacaeval": "AlpacaEval's order",
}


def words(protocol: Protocol) -> str:
    """The protocol in a few words, for the report."""
    parts = [verdicts.load(protocol.verdict).LABEL]
    if protocol.pairwise:
        parts.append(_ORDERS[protocol.order])
    if protocol.votes > 1:
        parts.append(f"{protocol.votes} votes")
    return ", ".join(parts)
