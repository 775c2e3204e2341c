"""Verdicts that are a field of a JSON object: the schema of the reply, and how the field is
read."""

import re
from typing import Any

from drift.engines.answers import json_answer, json_answers

TEXT = {"type": "string"}


def schema(**properties: dict) -> dict[str, Any]:
    """The JSON schema of an object with just these properties, in this order."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def field(text: str, name: str, *, cut: bool = False) -> str | None:
    """The value of `name` in a reply's JSON object; in a reply without a whole object that has it,
    the last value written like one. None where two objects say different things, and where the
    token limit, which `cut` the reply, may have cut the value: a 1 may be the beginning of a 10.

    A value inside a quoted text (`\\"score\\": 10`) is somebody else's words, not the judge's.
    """
    if not json_answers(text, [name]):
        written = list(re.finditer(rf'(?<!\\)"{name}"\s*:\s*"?([^",}}\s]+)', text))
        return written[-1][1] if written and not (cut and written[-1].end() == len(text)) else None
    answer = json_answer(text, [name])
    value = answer.get(name) if answer else None
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def missing(name: str, *, cut: bool) -> dict[str, str]:
    """The verdict columns of a reply without that field."""
    return {"error": f"no {name} in the reply" + (", which the token limit cut" if cut else "")}
