"""Which of two answers is better, from the probabilities of two letters as the judge's first
token."""

from typing import Any

from drift.engines.answers import letter_of
from drift.verdicts import Reply

PAIRWISE = True
TEMPLATE = "judge-letter.txt"
SCHEMA = None
DRAW = {"preference": 0.5}
LABEL = "letter"
TYPICAL_TOKENS = 1


def choices(letters: tuple[str, str]) -> list[str]:
    """The two letters."""
    return list(letters)


def read(reply: Reply) -> dict[str, Any]:
    """The policy's share of the probability of both letters; a letter without probability counts 0.

    `mass` is the probability of both letters together; with too little of it there is no verdict. A
    letter that was merely written is another measure, 0 or 1: it counts, without `mass`, where the
    judge gives no probabilities at all.
    """
    policy, other = reply.letters if reply.policy_first else reversed(reply.letters)
    if reply.probabilities is None:
        letter = letter_of(reply.text) if reply.written else None
        if letter in (policy, other):
            return {"preference": float(letter == policy)}
        return {"error": "the reply has no probabilities" + (" and is not a letter" if reply.written else "")}
    mass = reply.probabilities.get(policy, 0.0) + reply.probabilities.get(other, 0.0)
    if not mass or mass < reply.least_mass:
        begins = f"; its reply begins with {reply.text[:20]!r}" if reply.text else ""
        return {"error": f"the judge gives both letters together less than {reply.least_mass:.0%} of its first token{begins}"}
    return {"preference": reply.probabilities.get(policy, 0.0) / mass, "mass": mass}
