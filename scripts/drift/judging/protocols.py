"""How answers are judged: the three kinds of verdict, and what a judge is told to make of them.

letter  which of two answers is better, from the probabilities of two letters as the judge's first token
choice  which of two answers is better and by how much, in five levels; a JSON object
score   how good one answer is, 1 to 10; a JSON object

Rules import this module, so it imports nothing but the standard library.
"""

LEVELS = ("A++", "A+", "A=B", "B+", "B++")  # A much better, A better, tie, B better, B much better
PAIRWISE = ("letter", "choice")


def _object(**properties: dict) -> dict:
    """The JSON schema of an object with just these properties, in this order."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT = {"type": "string"}
# The grounds come first: a verdict that is written after them can follow from them.
SCHEMAS = {
    "letter": None,
    "choice": _object(of_a=_TEXT, of_b=_TEXT, comparison=_TEXT, choice={"type": "string", "enum": list(LEVELS)}),
    "score": _object(strengths=_TEXT, weaknesses=_TEXT, score={"type": "integer", "enum": list(range(1, 11))}),
}


def judging(benchmark: dict, judge: dict, default) -> dict:
    """How a judge judges a benchmark, from their rows of the configuration and the `Judging` of the benchmark's kind."""
    return {
        "verdict": judge["verdict"] or default.verdict,
        "order": judge["order"] or benchmark["order"] or default.order,
        "letters": list(default.letters),
        "votes": judge["votes"],
    }


def asked(how: dict, judge: dict) -> dict:
    """What `generate` is told of such questions: the allowed answers, or the schema of the reply and its decoding."""
    letters = how["verdict"] == "letter"
    return {
        "choices": how["letters"] if letters else None,
        "schema": SCHEMAS[how["verdict"]],
        "decoding": None if letters else judge["decoding"],
    }
