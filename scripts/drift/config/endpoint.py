"""The configuration of a model behind an endpoint, and the addresses that follow from it."""

from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, field_validator

from drift.config.base import Section

# What a chat is sent to, behind the base address.
CHAT = "/chat/completions"
# What `parameters` cannot set: another question, or a reply of another form.
FIXED = ("model", "messages", "stream", "n")


def base_address(url: str) -> str:
    """`url` in the one form that replies are kept under: without spaces around it, the slash at its
    end and the path of chats. Raises ValueError for what is no address of a server, or holds a
    secret."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no address of a server; write http://HOST/v1 or https://HOST/v1")
    if parts.password is not None:
        raise ValueError("holds a password; put it into an environment variable, and its name into `key`")
    if parts.fragment:
        raise ValueError("has a part after '#', which is never sent; leave it out")
    path = parts.path.rstrip("/").removesuffix(CHAT).rstrip("/")
    return urlunsplit(parts._replace(path=path))


def address_of(base: str, path: str) -> str:
    """The address of `path` (/models, /chat/completions) at an endpoint; a query of the base
    address stays behind the path."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path + path))


# An address of the configuration, as `base_address` writes it.
BaseAddress = Annotated[str, AfterValidator(base_address)]


class Endpoint(Section):
    """A model behind an OpenAI-compatible chat endpoint: OpenAI, `vllm serve`, and the like."""

    url: BaseAddress = Field(
        pattern=r"^\s*https?://", description="base address, with /v1 where the server has it; a query is sent along"
    )
    model: str = Field(min_length=1, description="the model's name at the endpoint; a dated one, where there is one")
    parameters: dict[str, Any] = Field(
        {},
        description="changes of what is sent, for endpoints that refuse a part of it: `temperature: null` leaves a field out, "
        "`max_tokens: max_completion_tokens` renames one, and any other field and value are added",
    )
    key: str | None = Field("OPENAI_API_KEY", description="the environment variable that holds the key; null: none is needed")
    concurrency: int = Field(32, ge=1, description="requests in flight at once")
    timeout: float = Field(120.0, gt=0, description="seconds that one request may take")
    attempts: int = Field(6, ge=1, description="how often a request is tried before its row is recorded as failed")
    input_price: float = Field(0.0, ge=0, description="USD per million tokens read")
    output_price: float = Field(0.0, ge=0, description="USD per million tokens written")
    budget: float | None = Field(None, ge=0, description="USD that one job may spend; null: no limit")
    max_failed: float = Field(0.02, ge=0, lt=1, description="share of a job's requests that may fail before the job does")

    @field_validator("parameters")
    @classmethod
    def _leaves_the_question(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if fixed := parameters.keys() & set(FIXED):
            raise ValueError(f"{min(fixed)} cannot be changed here")
        return parameters
