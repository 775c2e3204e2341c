"""Finding the answer in what a model wrote: one JSON object, or one letter.

Whoever asks and whoever reads use the same functions: a reply that is an answer is never paid for
again, and one that is none is not kept as if it were. Rules import the readers, so this module
imports the standard library alone.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

from drift.engines.thoughts import CLOSES

# What may stand around a letter without changing what it says: spaces (the last three are those of
# tokens that a server does not decode), quotes, brackets, emphasis, an end.
_AROUND = " \t\r\n\"'`*()[].:" + "Ġ▁Ċ"
_DECODER = json.JSONDecoder()


def letter_of(text: str) -> str:
    """The letter that a token or a reply is, without what stands around it; any other text
    likewise."""
    return text.strip(_AROUND)


def json_answer(text: str, fields: Collection[str]) -> dict[str, Any] | None:
    """The JSON object in `text` that has all `fields`. None where there is none, and where there
    are several that differ in one of them: then nobody knows which one was meant."""
    found = json_answers(text, fields)
    same = all(value[field] == found[0][field] for value in found for field in fields)
    return found[-1] if found and same else None


def json_answers(text: str, fields: Collection[str]) -> list[dict[str, Any]]:
    """The outermost JSON objects in `text` that have all `fields`.

    Braces within a quoted text are text, and so is what stands around an object. What stands before
    the end of a thought counts where nothing after it is an answer.
    """
    for part in (text.rpartition(CLOSES)[2], text) if CLOSES in text else (text,):
        if found := [value for value in _objects(part) if all(field in value for field in fields)]:
            return found
    return []


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects in `text`, in their order."""
    start = text.find("{")
    while start >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
            yield value
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
