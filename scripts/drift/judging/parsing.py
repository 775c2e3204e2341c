"""What a judge's reply says. Apart from the making of questions, so that another reading of the replies asks nobody again."""

import json
import math
import re

import polars as pl

from drift.judging.prompts import Question
from drift.judging.protocols import LEVELS


def verdict(question: Question, completion: dict, how: dict) -> dict:
    """The verdict columns of Judgments that a judge's reply gives; error where it gives none.

    `completion`: a row of Completions. Preferences and outcomes are the policy's, whichever answer was shown first.
    how["written"]: the judge gives no probabilities at all, and a letter that it writes is a preference of 0 or 1.
    """
    if completion["error"] is not None:
        return {"error": completion["error"]}
    if how["verdict"] == "letter":
        return _letter(question, completion, how)
    field = {"choice": "choice", "score": "score"}[how["verdict"]]
    found = json_field(completion["text"], field)
    if found is None:
        cut = ", which the token limit cut" if completion["finish_reason"] == "length" else ""
        return {"error": f"no {field} in the reply{cut}"}
    if how["verdict"] == "choice":
        if found not in LEVELS:
            return {"error": f"the choice is none of {', '.join(LEVELS)}"}
        of_a = 2 - LEVELS.index(found)
        return {"outcome": of_a if question.order == "AB" else -of_a}
    try:
        score = float(found)
    except ValueError:
        score = math.nan
    return {"score": score} if 1 <= score <= 10 else {"error": "the score is no number from 1 to 10"}


def _letter(question: Question, completion: dict, how: dict) -> dict:
    """A preference from the probabilities of both letters; one that is not reported counts 0."""
    policy, other = how["letters"] if question.order == "AB" else reversed(how["letters"])
    if completion["choice_logprobs"] is None:
        letter = completion["text"].strip() if how["written"] else None
        if letter in (policy, other):
            return {"preference": float(letter == policy)}
        return {"error": "the reply has no probabilities" + (" and is no letter" if how["written"] else "")}
    mass = {entry["choice"]: math.exp(entry["logprob"]) for entry in completion["choice_logprobs"]}
    total = mass.get(policy, 0.0) + mass.get(other, 0.0)
    if total <= 0:
        return {"error": "the judge gives neither letter any probability"}
    return {"preference": mass.get(policy, 0.0) / total, "mass": total}


def written_letters(judgments: pl.DataFrame) -> pl.DataFrame:
    """The verdicts that are letters as a judge without probabilities wrote them: 0 or 1 for want of anything between."""
    return judgments.filter(pl.col("preference").is_in([0.0, 1.0]) & pl.col("mass").is_null())


def json_field(text: str, field: str) -> str | None:
    """The value of `field` in a JSON object; in a reply that is no JSON, the last value that is written like one.

    A value inside a quoted text (`\\"score\\": 10`) is somebody's words, not the judge's.
    """
    try:
        value = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        written = re.findall(rf'(?<!\\)"{field}"\s*:\s*"?([^",}}\s]+)', text)
        return written[-1] if written else None
    value = value.get(field) if isinstance(value, dict) else None
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else None
