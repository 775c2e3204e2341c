"""What is sent to an endpoint: a chat, and every value that shapes the reply."""

import json
from typing import Any

from drift.settings.sampling import GenerationSettings

# The most that OpenAI and vLLM give.
TOP_LOGPROBS = 20
# What the limit of a reply's tokens is called, here and where `parameters` give it another name.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def body_of(settings: GenerationSettings, request: dict) -> dict[str, Any]:
    """The body of a request, with the changes of `endpoint.parameters`.

    Of a field that would be sent anyway, null leaves it out, a text is its new name, and anything
    else its value; other fields are added.
    """
    body = _fields(settings, request)
    given = {"model": settings.endpoint.model, "messages": request["messages"]}
    for name, value in settings.endpoint.parameters.items():
        if name not in body:
            # A value of ours that is not sent this time is not sent in another form either.
            if name not in _OWN and value is not None:
                given[name] = value
        elif value is None:
            del body[name]
        elif isinstance(value, str):
            body[value] = body.pop(name)
        else:
            body[name] = value
    return given | body


_OWN = {"max_tokens", "temperature", "top_p", "top_k", "repetition_penalty", "seed", "stop"}
_OWN |= {"logprobs", "top_logprobs", "response_format"}


def _fields(settings: GenerationSettings, request: dict) -> dict[str, Any]:
    if settings.choices:
        return {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    decoding = settings.decoding
    body = {"max_tokens": decoding.max_tokens, "temperature": decoding.temperature, "top_p": decoding.top_p}
    if decoding.stop:
        body["stop"] = list(decoding.stop)
    if decoding.temperature > 0:
        body["seed"] = request["seed"]
    # OpenAI knows neither, and refuses what it does not know: they are sent where they are on.
    if decoding.top_k:
        body["top_k"] = decoding.top_k
    if decoding.repetition_penalty != 1:
        body["repetition_penalty"] = decoding.repetition_penalty
    if settings.json_schema:
        schema = {"name": "reply", "strict": True, "schema": json.loads(settings.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def draws_differ(settings: GenerationSettings) -> bool:
    """Whether two replies to one body may differ: they are drawn, and by no seed of the request."""
    if settings.choices:
        return False
    # A text is but another name of what is sent.
    renamed = {name: settings.endpoint.parameters.get(name, name) for name in ("temperature", "seed")}
    own = settings.decoding.temperature
    temperature = own if isinstance(renamed["temperature"], str) else renamed["temperature"]
    return temperature != 0 and not (own > 0 and isinstance(renamed["seed"], str))


def limit_of(body: dict[str, Any], otherwise: int) -> int:
    """The most tokens that a reply to `body` may have; `otherwise` where the body does not say."""
    return max((body[name] for name in LIMITS if isinstance(body.get(name), int)), default=otherwise)
