"""Chat logs of your own: JSON Lines, one conversation a line, with messages as OpenAI's chat API has them.

    {"id": "42", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}, ...]}

Optional beside them: "model", "language", and "timestamp" (seconds since 1970, or ISO 8601; UTC where it names no zone).
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

SUFFIX = ".jsonl"
UNIT = "lines"
NOT_JSON = "not a JSON object"
NO_ID = "no id (text or whole number)"
NO_MESSAGES = "no list of messages, each with role and text"
BAD_DETAIL = "model, language or timestamp that cannot be read"
DROPS = (NOT_JSON, NO_ID, NO_MESSAGES, BAD_DETAIL)
CONVERSATION_DROPS = ()


def read(file: Path, counts: Counter) -> Iterator[dict]:
    """Yield the conversations of a JSON Lines file; blank lines are skipped."""
    with file.open("rb") as lines:  # bytes: only a line feed ends a line, not U+2028 and its like
        for line in lines:
            if line.strip():
                counts[UNIT] += 1
                conversation = parse_line(line)
                if isinstance(conversation, str):
                    counts[conversation] += 1
                else:
                    counts["conversations"] += 1
                    yield conversation


def parse_line(line: bytes) -> dict | str:
    """The conversation on a line; or why there is none."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return NOT_JSON
    if not isinstance(record, dict):
        return NOT_JSON
    if not isinstance(record.get("id"), str | int) or isinstance(record["id"], bool) or record["id"] == "":
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
    return {"id": str(record["id"]), "messages": messages, "timestamp": time} | details


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


def _utc(value: float | str | None) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
