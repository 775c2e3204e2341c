"""A call a record: the body of the request to OpenAI's chat API, and that of the response
(https://platform.openai.com/docs/api-reference/chat); or to its Responses API, with "input" in
place of the messages and "instructions" as the system prompt
(https://platform.openai.com/docs/api-reference/responses). An input with other items than messages,
such as calls of tools, is not read.

    {"request": {"model", "messages", "user", "metadata"}, "response": {"id", "created", "choices"}}

The call belongs to the conversation that the record, or the request's metadata, names. "feedback"
of the record is about the reply.
"""

from drift.sources.shapes.base import NO_REPLY, Call, first
from drift.sources.shapes.bodies import decoded, messages_of, reply_of

NAME = "request and response"
KEYS = "request, response"
CONVERSATION = ("conversation_id", "session_id", "thread_id", "chat_id")


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "request" in record and "response" in record


def read(record: dict) -> Call | str:
    """The call, or why there is none."""
    request, response = decoded(record["request"]), decoded(record["response"])
    messages, reply = messages_of(request), reply_of(response)
    if not messages or not reply:
        return NO_REPLY
    given = record.get("feedback")
    said = {"feedback": given} if given or given == 0 else {}  # 0 and false are thumbs down
    return Call(
        id=first(record, "id", "request_id") or first(response, "id"),
        messages=[*messages, reply | said],
        conversation=first(record, *CONVERSATION) or first(first(request, "metadata"), *CONVERSATION),
        model=first(response, "model") or first(request, "model"),
        user=first(record, "user", "user_id") or first(request, "user"),
        timestamp=first(record, "timestamp", "created_at", "time") or first(response, "created"),
    )
