"""Reading the replies of an OpenAI-compatible endpoint: whatever comes, an answer or a fault.

Replies are kept as they came, before anybody has read them, and servers write anything: so nothing
here trusts a type. What is odd costs itself alone, and what cannot be read is a fault of its row.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from drift.files import storable

# What servers call the two ways in which a reply ends by itself; others stay as they are.
ENDS = {
    **dict.fromkeys(("stop", "end_turn", "eos", "eos_token", "stop_sequence", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
}
# Ways to end in which the server failed, and not the model.
FAILED = ("error", "failed", "abort", "aborted", "cancelled", "canceled")
MAX_TOKENS = 2**31 - 1  # a column of 32 bits


@dataclass(frozen=True)
class Answer:
    """A reply, as far as anyone reads it."""

    text: str
    finish_reason: str
    model: str | None
    refusal: str | None
    # Why there is no text, where what stands there is not one.
    fault: str | None
    # The log-probabilities of the first token, by token; None where the server gave none.
    first: dict[str, float] | None
    # Tokens as the server counts them; None where it does not say.
    read: int | None
    written: int | None


def well_formed(content: bytes) -> dict[str, Any]:
    """`content` as a chat completion. Raises ValueError for anything else, one that says of itself
    that it failed included."""
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"the reply is not JSON but {content[:80]!r}") from None
    choice = choice_of(reply)
    if choice is None:
        raise ValueError(f"the reply holds no message: {content[:200]!r}")
    if isinstance(reason := choice.get("finish_reason"), str) and reason.lower() in FAILED:
        raise ValueError(
            f"the reply ended with {reason}: {words_of(choice.get('error') or reply.get('error') or content[:200])}"
        )
    return reply


def error_of(content: bytes) -> dict[str, Any] | None:
    """The error that a reply to a request that went well reports in place of a message."""
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError):
        return None
    reply = reply[0] if isinstance(reply, list) and reply else reply
    if not isinstance(reply, dict) or not reply.get("error") or choice_of(reply) is not None:
        return None
    return reply["error"] if isinstance(reply["error"], dict) else {"message": reply["error"]}


def words_of(error: object) -> str:
    """What a server says of an error, in one line, whatever it wraps it in."""
    for _ in range(8):
        if isinstance(error, list) and error:
            error = error[0]
        elif isinstance(error, dict) and (inner := next((error[key] for key in _WORDS if error.get(key)), None)):
            # What a form's field lacks is said beside its place.
            place = f"{'.'.join(map(str, error['loc']))}: " if isinstance(error.get("loc"), list) else ""
            error = f"{place}{inner}" if isinstance(inner, str) else inner
        else:
            break
    return storable(" ".join(str(error).split()))[:300]


_WORDS = ("error", "message", "msg", "detail", "title")


def choice_of(reply: object) -> dict[str, Any] | None:
    """The choice that counts: of several the one with index 0. None where there is no message."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    held = [
        choice
        for choice in (choices if isinstance(choices, list) else [])
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
    ]
    return next((choice for choice in held if choice.get("index") in (0, "0")), held[0] if held else None)


def read(reply: object) -> Answer:
    """A reply as it came from the wire or the store."""
    choice = choice_of(reply)
    if choice is None:
        return Answer("", "unknown", None, None, "the reply holds no message", None, None, None)
    message, usage = choice["message"], reply.get("usage")
    text, fault = _text(message.get("content"))
    refusal = message.get("refusal") or _part(message.get("content"), "refusal")
    reason, model = choice.get("finish_reason"), reply.get("model")
    reason = reason if isinstance(reason, str) and reason else "unknown"
    counts = usage if isinstance(usage, dict) else {}
    return Answer(
        text=text,
        finish_reason=storable(ENDS.get(reason.lower(), reason)),
        model=storable(model) if isinstance(model, str) and model else None,
        refusal=words_of(refusal) if refusal else None,
        fault=fault,
        first=_first_token(choice.get("logprobs")),
        read=_count(counts.get("prompt_tokens")),
        written=_count(counts.get("completion_tokens")),
    )


def _text(content: object) -> tuple[str, str | None]:
    """The text of a message's content, and why there is none. A content in parts is that of its
    text parts: thoughts and pictures are no part of an answer."""
    if content is None:
        return "", None
    if isinstance(content, str):
        return storable(content), None
    if isinstance(content, dict | list):
        parts = [content] if isinstance(content, dict) else content
        texts = [part if isinstance(part, str) else _part([part], "text") for part in parts]
        silent = any(part.get("type") in ("refusal", "thinking", "reasoning") for part in parts if isinstance(part, dict))
        if any(text is not None for text in texts) or silent or not parts:
            return storable("".join(text or "" for text in texts)), None
    return "", f"the content of the reply is no text: {words_of(content)[:80]}"


def _part(content: object, kind: str) -> str | None:
    """The first part of that `kind` in a content in parts."""
    kinds = (kind, f"output_{kind}", None)
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") in kinds and isinstance(part.get(kind), str):
            return part[kind]
    return None


def _first_token(logprobs: object) -> dict[str, float] | None:
    """The first token's log-probabilities by token: its own, and those of the likeliest ones. What
    is no finite number is left out; None where nothing is left."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    if not isinstance(first, dict):
        return None
    likeliest = first.get("top_logprobs")
    found: dict[str, float] = {}
    for one in [first, *(likeliest if isinstance(likeliest, list) else [])]:
        token, value = (one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None)
        # Rounding puts what is certain a little above 0.
        if isinstance(token, str) and _is_number(value) and value < 0.01:
            found[storable(token)] = min(float(value), 0.0)
    return found or None


def _count(value: object) -> int | None:
    """A count of tokens; None for what is no whole number that could be one."""
    if not _is_number(value) or value != int(value) or not 0 <= value <= MAX_TOKENS:
        return None
    return int(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)
