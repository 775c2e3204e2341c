"""A trace, or one of its observations, a record as Langfuse exports them
(https://langfuse.com/docs/api-and-data-platform/features/export-from-ui,
https://langfuse.com/faq/all/export-single-trace-or-session).

A trace has id, timestamp, userId, sessionId, input, output, observations and scores; input and
output are any JSON. Where a trace has none of its own, those of its last generation count. An
observation has id, traceId, type, startTime, model, input and output, and only those of type
GENERATION are calls. A session is a conversation.

Scores have name, value, stringValue, source and comment. Those of users (by their name, and not of
an evaluator, source EVAL) are the feedback.
"""

from drift.sources.shapes.base import NO_REPLY, STEP, Call, first
from drift.sources.shapes.bodies import decoded, messages_of, reply_of
from drift.sources.shapes.opinions import Score

NAME = "Langfuse"
KEYS = "input, output and one of sessionId, traceId, observations, scores"
_MARKS = {"sessionId", "session_id", "traceId", "trace_id", "observations", "scores", "htmlPath"}


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "input" in record and "output" in record and not _MARKS.isdisjoint(record)


def read(record: dict) -> Call | str:
    """The call that a trace or a generation is, or why there is none."""
    kind = record.get("type")
    if isinstance(kind, str) and kind.upper() != "GENERATION":
        return STEP
    generation = _last_generation(record)
    messages = messages_of(record["input"]) or messages_of(generation.get("input"))
    reply = reply_of(record["output"]) or reply_of(generation.get("output"))
    if not messages or not reply:
        return NO_REPLY
    return Call(
        id=record.get("id"),
        messages=[*messages, reply | {Score: _scores(record)}],
        conversation=first(record, "sessionId", "session_id", "traceId", "trace_id"),
        model=first(record, "model", "providedModelName") or first(generation, "model"),
        user=first(record, "userId", "user_id"),
        timestamp=first(record, "timestamp", "startTime", "start_time"),
    )


def _objects(record: dict, name: str) -> list[dict]:
    """The objects in a list of a record."""
    listed = decoded(record.get(name))
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _last_generation(record: dict) -> dict:
    found = [part for part in _objects(record, "observations") if part.get("type") == "GENERATION"]
    return max(found, key=lambda part: str(part.get("startTime")), default={})


def _scores(record: dict) -> list[Score]:
    return [
        Score(one.get("name"), first(one, "stringValue") or one.get("value"), one.get("comment"))
        for one in _objects(record, "scores")
        if one.get("source") != "EVAL"
    ]
