"""A call a record as LiteLLM logs it: the rows of its table of spend logs, with prompts and
responses stored (https://docs.litellm.ai/docs/proxy/ui_logs), and the standard payload of its
callbacks (https://docs.litellm.ai/docs/proxy/logging_spec).

A spend log has request_id, session_id, startTime, end_user, messages and response, or the messages
within proxy_server_request; a payload id, trace_id, startTime, end_user, messages and response.
LiteLLM keeps no opinion of users.
"""

from drift.sources.shapes.base import NO_REPLY, Call, first
from drift.sources.shapes.bodies import decoded, messages_of, reply_of

NAME = "LiteLLM"
KEYS = "messages, response"


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "messages" in record and "response" in record


def read(record: dict) -> Call | str:
    """The call, or why there is none."""
    messages = messages_of(record["messages"]) or messages_of(record.get("proxy_server_request"))
    reply = reply_of(record["response"])
    if not messages or not reply:
        return NO_REPLY
    metadata = decoded(record.get("metadata"))
    return Call(
        id=first(record, "request_id", "id"),
        messages=[*messages, reply],
        conversation=first(record, "session_id", "trace_id") or first(metadata, "session_id", "trace_id"),
        model=first(record, "model_group", "model"),
        user=first(record, "end_user", "user"),
        timestamp=first(record, "startTime", "start_time"),
    )
