"""Chat logs of your own: JSON Lines (a conversation a line) or Parquet (a row), with messages as in
OpenAI's chat API.

    {"id": "42", "messages": [{"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": "Hello!"}, ...]}

content is text, or the API's list of parts where all are text. Optional fields of a conversation:

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

import math
from collections import Counter
from collections.abc import Iterator
from numbers import Real
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from drift.cli import StageError
from drift.sources import details
from drift.sources.conversations import frames
from drift.sources.files import json_lines, suffix

SUFFIXES = (".jsonl", ".ndjson", ".parquet")
UNIT = "lines"
NOT_JSON = "not a JSON object"
NO_ID = "no id (text or whole number)"
NO_MESSAGES = "no list of messages, each with role and text"
BAD_FEEDBACK = "feedback that cannot be read"
DROPS = (NOT_JSON, NO_ID, NO_MESSAGES, BAD_FEEDBACK)
CONVERSATION_DROPS = ()

UNREADABLE_DETAIL = "unreadable_detail"
# The optional fields of a conversation, and how each is read.
_DETAILS = {"model": details.name, "language": details.name, "user": details.name, "timestamp": details.time}
_THUMBS = {"up": "SAT", "down": "DSAT"}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations of JSON Lines and Parquet files; blank lines are skipped."""
    return frames(conversation for file in files for conversation in _conversations(file, counts))


def _conversations(file: Path, counts: Counter) -> Iterator[dict]:
    records = _rows(file) if suffix(file) == ".parquet" else json_lines(file)
    for record in records:
        counts[UNIT] += 1
        conversation = parse(record)
        if isinstance(conversation, str):
            counts[conversation] += 1
        else:
            counts["conversations"] += 1
            yield conversation


def _rows(file: Path) -> Iterator[dict]:
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StageError(f"{file}: not a whole Parquet file ({error}). Copy it again.") from error


def parse(record: object) -> dict | str:
    """The conversation that a record holds, or the reason (of DROPS) why it holds none."""
    if not isinstance(record, dict):
        return NOT_JSON
    if (name := details.name(record.get("id"))) is None:
        return NO_ID
    messages = _messages(record.get("messages"))
    if not messages:
        return NO_MESSAGES
    try:
        judged = [message | feedback(raw) for message, raw in zip(messages, record["messages"], strict=True)]
    except (ValueError, TypeError, OverflowError):
        return BAD_FEEDBACK
    known = {field: read(record.get(field)) for field, read in _DETAILS.items()}
    if any(known[field] is None and not details.is_absent(record.get(field)) for field in known):
        judged[0]["flags"] = [UNREADABLE_DETAIL]
    return {"id": name, "messages": judged} | known


def feedback(message: dict) -> dict:
    """The label, evidence and comment in the `feedback` of a message.

    Raises ValueError or TypeError where it is malformed.
    """
    given = message.get("feedback") or {}
    if not isinstance(given, dict):
        raise ValueError("feedback is an object")
    given = {name: value for name, value in given.items() if value is not None}
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
        worst, best = given["scale"]
        labels.append(_rated(given["rating"], worst, best))
        evidence.append(f"rating {given['rating']:g} on {worst:g} to {best:g}")
    if not isinstance(given.get("comment", ""), str):
        raise ValueError("comment")
    worse = next((label for label in ("DSAT", "NEUTRAL", "SAT") if label in labels), None)
    return {"label": worse, "evidence": evidence, "comment": given.get("comment", "").strip() or None}


def _rated(rating: Real, worst: Real, best: Real) -> str:
    if any(isinstance(value, bool) for value in (rating, worst, best)) or worst == best:
        raise ValueError("rating")
    if not all(math.isfinite(value) for value in (rating, worst, best)):
        raise ValueError("rating without an end")
    share = (rating - worst) / (best - worst)
    if not 0 <= share <= 1:
        raise ValueError("rating outside of its scale")
    return "DSAT" if share <= 0.25 else "SAT" if share >= 0.75 else "NEUTRAL"


def _messages(value: object) -> list[dict] | None:
    if not isinstance(value, list):
        return None
    messages = []
    for message in value:
        content = _text(message.get("content")) if isinstance(message, dict) else None
        if content is None or not isinstance(message.get("role"), str):
            return None
        messages.append({"role": message["role"], "content": content})
    return messages


def _text(content: object) -> str | None:
    """A message's text: a string, or the API's list of parts where all are text."""
    if isinstance(content, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    return content if isinstance(content, str) else None
