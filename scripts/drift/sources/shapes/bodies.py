"""What was sent to a model and what came back, as tools of observation keep it: any JSON, or JSON
as text."""

import json
from typing import Any

# Of an object without messages: the fields that applications keep a question, and a reply, in.
_QUESTIONS = ("question", "input", "query", "prompt", "user_input", "message", "text", "content")
_REPLIES = ("output", "answer", "response", "result", "completion", "message", "text", "content")
# Roles of LangChain's messages, which have a type (or a class) in place of OpenAI's role.
_ROLES = {
    **{"human": "user", "ai": "assistant", "HumanMessage": "user", "AIMessage": "assistant", "AIMessageChunk": "assistant"},
    **{"SystemMessage": "system", "ToolMessage": "tool", "FunctionMessage": "function"},
}


def decoded(value: object) -> object:
    """`value`, or the list or object whose JSON it is, as databases and CSV files keep them."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, dict | list) else value
    return value


def messages_of(value: object) -> list[dict[str, Any]] | None:
    """The messages that a model was sent; None where there are none."""
    value = decoded(value)
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": value}]
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], list):  # LangChain: a list a prompt of a batch
            return messages_of(value[0])
        messages = [_message(part) for part in value]
        return messages if messages and None not in messages else None
    if isinstance(value, dict):
        if "messages" in value:
            return messages_of(value["messages"])
        if message := _message(value):
            return [message]
        found = next((found for name in _QUESTIONS if (found := messages_of(value.get(name)))), None)
        # OpenAI's Responses API has the system prompt in a field of its own, beside "input".
        prompt = value.get("instructions") if "input" in value else None
        return [{"role": "system", "content": prompt}, *found] if found and isinstance(prompt, str) and prompt else found
    return None


def reply_of(value: object) -> dict[str, Any] | None:
    """The reply in what came back; None where there is none."""
    value = decoded(value)
    if isinstance(value, str) and value.strip():
        return {"role": "assistant", "content": value}
    if isinstance(value, list) and value:
        return reply_of(value[-1])
    if isinstance(value, dict):
        for name in ("choices", "generations"):
            if isinstance(value.get(name), list) and value[name]:
                chosen = value[name][0][0] if isinstance(value[name][0], list) and value[name][0] else value[name][0]
                return reply_of(chosen.get("message") or chosen.get("text")) if isinstance(chosen, dict) else None
        if "messages" in value:
            return reply_of(value["messages"])
        if (message := _message(value)) and message["role"] == "assistant":
            return message
        if "role" not in value:
            return next((found for name in _REPLIES if (found := reply_of(value.get(name)))), None)
    return None


def _message(value: object) -> dict[str, Any] | None:
    """A message in OpenAI's words: itself, or one of LangChain's, plain or serialised."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("kwargs"), dict) and isinstance(value.get("id"), list) and value["id"]:
        role = _ROLES.get(str(value["id"][-1]))
        return {**value["kwargs"], "role": role} if role else None
    if isinstance(value.get("role"), str):
        return {**value, "role": _ROLES.get(value["role"], value["role"])}
    # Elsewhere "type" is that of a part, or of a step.
    kind = value.get("type")
    role = _ROLES.get(kind, kind if kind in ("system", "tool") else None) if isinstance(kind, str) else None
    if role and isinstance(value.get("data"), dict):
        return {**value["data"], "role": role}
    return {**value, "role": role} if role and "content" in value else None
