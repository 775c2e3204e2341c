"""Chat logs of your own: JSON Lines (a conversation a line) or Parquet (a row), with messages as in
OpenAI's chat API.

    {"id": "42", "messages": [{"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": "Hello!"}, ...]}

content is text, or the API's list of parts where all are text; of a reply without content its
refusal. A conversation ends before its first call of a tool, or part that is no text (an image):
what follows rests on what is not there. Optional fields of a conversation:

    model, language    text
    timestamp          seconds or milliseconds since 1970, or ISO 8601; UTC where it names no zone
    user               text or whole number that is the same in all conversations of a user; the
                       tables get a number in its place

One of these that cannot be read is left out, and the conversation is flagged `unreadable_detail`.
Files may be compressed (.gz, .zst).

and of a reply (role assistant) "feedback", what the user thought of it, with any of

    thumbs     "up" or "down"
    rating     a number, with scale, its [worst, best] values: the lowest quarter is DSAT, the
               highest SAT, the rest NEUTRAL
    comment    what the user wrote about the reply outside of the chat; it is the feedback in place
               of the user's next message

The labeler `source` reads thumbs and ratings; where they differ, the worse one counts.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift.sources import details
from drift.sources.conversations import UNREADABLE_DETAIL, frames
from drift.sources.files import json_lines, suffix
from drift.sources.parquet import parquet_rows

SUFFIXES = (".jsonl", ".ndjson", ".parquet")
UNIT = "lines"
NOT_JSON = "not a JSON object"
NO_ID = "no id (text or whole number)"
NO_MESSAGES = "no list of messages, each with role and text"
TOOL = "no exchange before the first tool call"
NO_TEXT = "no exchange before the first part that is no text (image, audio, file)"
BAD_FEEDBACK = "feedback that cannot be read"
DROPS = (NOT_JSON, NO_ID, NO_MESSAGES, TOOL, NO_TEXT, BAD_FEEDBACK)
CONVERSATION_DROPS = ()

# Flags of a conversation that ends early, by the reason that it would be dropped for.
_CUT = {TOOL: "cut_at_tool_call", NO_TEXT: "cut_at_other_part"}
# The optional fields of a conversation, and how each is read.
_DETAILS = {"model": details.name, "language": details.name, "user": details.name, "timestamp": details.time}
_THUMBS = {"up": "SAT", "down": "DSAT"}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations of JSON Lines and Parquet files; blank lines are skipped."""
    return frames(conversation for file in files for conversation in _conversations(file, counts))


def _conversations(file: Path, counts: Counter) -> Iterator[dict]:
    records = parquet_rows(file) if suffix(file) == ".parquet" else json_lines(file)
    for record in records:
        counts[UNIT] += 1
        conversation = parse(record)
        if isinstance(conversation, str):
            counts[conversation] += 1
        else:
            counts["conversations"] += 1
            yield conversation


def parse(record: object) -> dict | str:
    """The conversation that a record holds, or the reason (of DROPS) why it holds none."""
    if not isinstance(record, dict):
        return NOT_JSON
    if (name := details.name(record.get("id"))) is None:
        return NO_ID
    messages, cut = _messages(record.get("messages"))
    if not messages or (cut and not any(message["role"] == "assistant" for message in messages)):
        return cut or NO_MESSAGES
    try:
        raw = record["messages"][: len(messages)]
        judged = [message | feedback(message, said.get("feedback")) for message, said in zip(messages, raw, strict=True)]
    except (ValueError, TypeError, OverflowError):
        return BAD_FEEDBACK
    known = {field: read(record.get(field)) for field, read in _DETAILS.items()}
    if any(known[field] is None and not details.is_absent(record.get(field)) for field in known):
        judged[0]["flags"] = [UNREADABLE_DETAIL]
    if cut:
        judged[-1]["flags"] = [*judged[-1].get("flags", ()), _CUT[cut]]
    return {"id": name, "messages": judged} | known


def feedback(message: dict, given: object) -> dict:
    """The label, evidence and comment in what is `given` as the feedback of a message.

    Raises ValueError or TypeError where it is malformed.
    """
    given = {} if details.is_absent(given) else given
    if not isinstance(given, dict):
        raise ValueError("feedback is an object")
    given = {name: value for name, value in given.items() if not details.is_absent(value)}
    if not given:
        return {}
    if message["role"] != "assistant" or not given.keys() <= {"thumbs", "rating", "scale", "comment"}:
        raise ValueError("feedback belongs to replies, and has other fields")
    if given.get("thumbs", "up") not in _THUMBS or ("rating" in given) != ("scale" in given):
        raise ValueError("thumbs are up or down, and a rating has a scale")
    labels, evidence = [], []
    if "thumbs" in given:
        labels.append(_THUMBS[given["thumbs"]])
        evidence.append(f"thumbs {given['thumbs']}")
    if "rating" in given:
        rating, (worst, best) = details.number(given["rating"]), map(details.number, given["scale"])
        labels.append(_rated(rating, worst, best))
        evidence.append(f"rating {rating:g} on {worst:g} to {best:g}")
    if not isinstance(given.get("comment", ""), str):
        raise ValueError("comment")
    worse = next((label for label in ("DSAT", "NEUTRAL", "SAT") if label in labels), None)
    return {"label": worse, "evidence": evidence, "comment": given.get("comment", "").strip() or None}


def _rated(rating: float | None, worst: float | None, best: float | None) -> str:
    if None in (rating, worst, best) or worst == best:
        raise ValueError("rating")
    share = (rating - worst) / (best - worst)
    if not 0 <= share <= 1:
        raise ValueError("rating outside of its scale")
    return "DSAT" if share <= 0.25 else "SAT" if share >= 0.75 else "NEUTRAL"


def _messages(value: object) -> tuple[list[dict], str | None]:
    """Messages up to the first that is no text (none where one is malformed), and what that is: a
    reason of DROPS, None where all are text."""
    messages = []
    for message in value if isinstance(value, list) else ():
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            return [], None
        if message["role"] in ("tool", "function") or message.get("tool_calls") or message.get("function_call"):
            return messages, TOOL
        content = message.get("content") if message.get("content") is not None else message.get("refusal")
        text = _text(content)
        if text is None:
            return (messages, NO_TEXT) if _is_parts(content) else ([], None)
        messages.append({"role": message["role"], "content": text})
    return messages, None


def _is_parts(content: object) -> bool:
    return isinstance(content, list) and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)


def _text(content: object) -> str | None:
    """A message's text: a string, or the API's list of parts where all are text or refusals."""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        parts = [part.get("text") if part.get("text") is not None else part.get("refusal") for part in content]
        return "".join(parts) if all(isinstance(part, str) for part in parts) else None
    return content if isinstance(content, str) else None
