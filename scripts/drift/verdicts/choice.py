"""Which of two answers is better and by how much, in five levels."""

from typing import Any

from drift.verdicts import Reply, json_object

# A much better, A better, tie, B better, B much better.
LEVELS = ("A++", "A+", "A=B", "B+", "B++")

PAIRWISE = True
TEMPLATE = "judge-choice.txt"
# The grounds come first: a verdict that is written after them can follow from them.
SCHEMA = json_object.schema(
    of_a=json_object.TEXT,
    of_b=json_object.TEXT,
    comparison=json_object.TEXT,
    choice={"type": "string", "enum": list(LEVELS)},
)
DRAW = {"outcome": 0}
LABEL = "choice of five"
TYPICAL_TOKENS = 220  # by the published usage of WildBench's judge


def choices(letters: tuple[str, str]) -> None:
    """None: the judge gives its grounds first."""


def read(reply: Reply) -> dict[str, Any]:
    """The level as the policy's outcome: 2 much better, 0 a tie, -2 much worse."""
    level = json_object.field(reply.text, "choice", cut=reply.cut)
    if level is None:
        return json_object.missing("choice", cut=reply.cut)
    if level not in LEVELS:
        return {"error": f"the choice is none of {', '.join(LEVELS)}"}
    outcome_of_first = 2 - LEVELS.index(level)
    return {"outcome": outcome_of_first if reply.policy_first else -outcome_of_first}
