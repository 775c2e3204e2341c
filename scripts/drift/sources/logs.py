"""Chat logs of your own: JSON Lines (a conversation a line) or Parquet (a row), with messages as in
OpenAI's chat API.

    {"id": "42", "messages": [{"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": "Hello!"}, ...]}

content is text, or the API's list of parts where all are text. Optional fields of a conversation:

    model, language    text
    timestamp          seconds since 1970, or ISO 8601; UTC where it names no zone
    user               text or whole number that is the same in all conversations of a user; the
                       tables get a number in its place

and of a reply (role assistant) "feedback", what the user thought of it, with any of

    thumbs     "up" or "down"
    rating     a number, with scale, its [worst, best] values: the lowest quarter is DSAT, the
               highest SAT, the rest NEUTRAL
    comment    what the user wrote about the reply outside of the chat; it is the feedback in place
               of the user's next message

The labeler `source` reads thumbs and ratings; where they differ, the worse one counts.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from numbers import Real
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from drift.cli import StageError
from drift.sources.conversations import frames, utc

SUFFIXES = (".jsonl", ".parquet")
UNIT = "lines"
NOT_JSON = "not a JSON object"
NO_ID = "no id (text or whole number)"
NO_MESSAGES = "no list of messages, each with role and text"
BAD_DETAIL = "model, language, timestamp or user that cannot be read"
BAD_FEEDBACK = "feedback that cannot be read"
DROPS = (NOT_JSON, NO_ID, NO_MESSAGES, BAD_DETAIL, BAD_FEEDBACK)
CONVERSATION_DROPS = ()

_THUMBS = {"up": "SAT", "down": "DSAT"}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations of JSON Lines and Parquet files; blank lines are skipped."""
    return frames(conversation for file in files for conversation in _conversations(file, counts))


def _conversations(file: Path, counts: Counter) -> Iterator[dict]:
    records = _rows(file) if file.suffix == ".parquet" else _lines(file)
    for record in records:
        counts[UNIT] += 1
        conversation = parse(record)
        if isinstance(conversation, str):
            counts[conversation] += 1
        else:
            counts["conversations"] += 1
            yield conversation


def _lines(file: Path) -> Iterator[object]:
    with file.open("rb") as lines:  # bytes: only a line feed ends a line, not U+2028 and its like
        for line in lines:
            if line.strip():
                try:
                    yield json.loads(line.decode("utf-8"))
                except (ValueError, RecursionError):
                    yield None


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
    if not _is_name(record.get("id")):
        return NO_ID
    messages = _messages(record.get("messages"))
    if not messages:
        return NO_MESSAGES
    try:
        time = _utc(record.get("timestamp"))
    except (ValueError, TypeError, OverflowError, OSError):
        return BAD_DETAIL
    details = {name: record.get(name) for name in ("model", "language")}
    if not all(value is None or isinstance(value, str) for value in details.values()):
        return BAD_DETAIL
    user = record.get("user")
    if user is not None and not _is_name(user):
        return BAD_DETAIL
    try:
        judged = [message | feedback(raw) for message, raw in zip(messages, record["messages"], strict=True)]
    except (ValueError, TypeError):
        return BAD_FEEDBACK
    return {"id": str(record["id"]), "messages": judged, "timestamp": time, "user": user and str(user)} | details


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
    share = (rating - worst) / (best - worst)
    if not 0 <= share <= 1:
        raise ValueError("rating outside of its scale")
    return "DSAT" if share <= 0.25 else "SAT" if share >= 0.75 else "NEUTRAL"


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


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


def _utc(value: float | str | datetime | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return utc(value)
    if isinstance(value, str):
        return utc(datetime.fromisoformat(value))
    return utc(datetime.fromtimestamp(value, UTC))
