"""Reading the replies of an OpenAI-compatible endpoint."""

import json

import openai


def well_formed(content: bytes) -> dict:
    """`content` as a chat completion. Raises ValueError for anything else."""
    try:
        reply = json.loads(content)
    except ValueError:
        raise ValueError(f"the reply is not JSON but {content[:80]!r}") from None
    try:
        has_message = isinstance(reply["choices"][0]["message"], dict)
    except (TypeError, KeyError, IndexError):
        has_message = False
    if not has_message:
        raise ValueError(f"the reply holds no message: {content[:200]!r}")
    return reply


def has_logprobs(reply: dict) -> bool:
    """Whether a reply tells how likely its first token was."""
    return bool((reply["choices"][0].get("logprobs") or {}).get("content"))


def is_json_object(reply: dict) -> bool:
    """Whether a reply is an object of JSON, as a schema asks for."""
    try:
        return isinstance(json.loads(reply["choices"][0]["message"].get("content") or ""), dict)
    except ValueError:
        return False


def tokens_of(reply: dict) -> tuple[int, int]:
    """Tokens read and written, as the endpoint counts them; it charges for these."""
    usage = reply.get("usage") or {}
    return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0


def message_of(error: openai.APIError) -> str:
    """What the server says of an error, in one line."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return " ".join(str(message or error.message).split())[:300]
