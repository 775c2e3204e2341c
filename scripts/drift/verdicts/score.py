"""How good one answer is, from 1 to 10."""

import math
from typing import Any

from drift.verdicts import Reply, json_object

PAIRWISE = False
TEMPLATE = "judge-score.txt"
# The grounds come first: a verdict that is written after them can follow from them.
SCHEMA = json_object.schema(
    strengths=json_object.TEXT,
    weaknesses=json_object.TEXT,
    score={"type": "integer", "enum": list(range(1, 11))},
)
DRAW = None
LABEL = "score 1 to 10"
TYPICAL_TOKENS = 220  # by the published usage of WildBench's judge


def choices(letters: tuple[str, str]) -> None:
    """None: the judge gives its grounds first."""


def read(reply: Reply) -> dict[str, Any]:
    """The score; one outside 1 to 10, or that is not a number, is an error."""
    written = json_object.field(reply.text, "score", cut=reply.cut)
    if written is None:
        return json_object.missing("score", cut=reply.cut)
    try:
        score = float(written)
    except ValueError:
        score = math.nan
    return {"score": score} if 1 <= score <= 10 else {"error": "the score is not a number from 1 to 10"}
