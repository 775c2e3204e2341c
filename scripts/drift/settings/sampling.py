"""Settings of the stages that ask models and rank what they answer."""

from typing import Annotated, Any, Literal

from pydantic import Field

from drift.config import Decoding, Endpoint, Engine, Model, Prompting, Ranker
from drift.config.endpoint import BaseAddress
from drift.config.training import Cut, Sampling
from drift.settings.base import Settings, like
from drift.settings.data import FreshSettings


class RegisterSettings(Settings):
    """Of register.py: which model becomes which policy."""

    name: str = Field(description="what the policy is called in its manifest, MODEL/base")
    path: str = like(Model, "path")
    chat_template_kwargs: dict[str, bool | int | float | str | None] = like(Model, "chat_template_kwargs", default={})


class RequestsSettings(Settings):
    """Of policy_requests.py: what a policy is asked about each prompt."""

    seed: int = Field(
        description="of the policy, or of the data for a benchmark; a request's own is a hash of it and of what the request is"
    )
    unit: str = Field(description="what the requests are for (METHOD/iterK, eval/BENCHMARK); part of every seed")
    split: Literal["train", "test"] = Field(description="whose prompts are asked about")
    samples: dict[str, Annotated[int, Field(ge=1)]] = Field(
        description="requests a prompt by kind; a kind is a sampled side of recipes (plain, guided)"
    )
    style: str | None = like(Prompting, "style", default=None)
    instruction: str | None = like(Prompting, "instruction", default=None)
    fresh: FreshSettings | None = Field(None, description="null: prompts of older and of newer data alike")


class DecodingSettings(Settings):
    """Every value that shapes a reply."""

    temperature: float = Field(description="0: the likeliest token, always")
    top_p: float = Field(description="share of the probability that is sampled from")
    top_k: int = like(Decoding, "top_k")
    repetition_penalty: float = Field(description="1: off")
    max_tokens: int = like(Decoding, "max_tokens")
    stop: tuple[str, ...] = Field((), description="texts at which a reply ends")


class EndpointAddress(Settings):
    """Which model answers, where it is behind an endpoint."""

    url: BaseAddress = like(Endpoint, "url")
    model: str = like(Endpoint, "model")
    parameters: dict[str, Any] = like(Endpoint, "parameters", default={})


class GenerationSettings(Settings):
    """Of generate.py, and of every engine: who answers and how. Exactly one of `decoding` and
    `choices` is set."""

    backend: Literal["vllm", "transformers", "openai"] = Field(description="openai: a model behind an endpoint")
    context: int | None = Field(description="prompt and reply together, tokens; null: the endpoint knows its own")
    decoding: DecodingSettings | None = Field(description="of a reply in words; null: an answer among choices")
    choices: tuple[str, ...] | None = Field(
        description="answers that are allowed, compared by their first token; null: free text"
    )
    # As text: settings are written with sorted keys, and a reply has its fields in this order.
    json_schema: str | None = Field(description="JSON schema that a reply has to follow; null: none")
    endpoint: EndpointAddress | None = Field(description="null: the model runs here")

    @property
    def max_tokens(self) -> int:
        """The longest reply, tokens. An answer among choices is its first token."""
        return 1 if self.choices else self.decoding.max_tokens


class EndpointRuntime(Settings):
    """How an endpoint is asked, which changes no reply."""

    key: str | None = like(Endpoint, "key")
    concurrency: int = like(Endpoint, "concurrency")
    timeout: float = like(Endpoint, "timeout")
    attempts: int = like(Endpoint, "attempts")
    input_price: float = like(Endpoint, "input_price")
    output_price: float = like(Endpoint, "output_price")
    budget: float | None = like(Endpoint, "budget")
    max_failed: float = like(Endpoint, "max_failed")


class EngineRuntime(Settings):
    """How an engine runs on this machine, which changes no reply."""

    tensor_parallel: int = like(Engine, "tensor_parallel")
    gpu_memory: float = like(Engine, "gpu_memory")
    prefix_caching: bool = like(Engine, "prefix_caching")
    cpu_cache_gib: int = like(Engine, "cpu_cache_gib")
    endpoint: EndpointRuntime | None = Field(description="null: the model runs here")


class CandidatesSettings(Settings):
    """Of candidates.py: which replies a judge scores."""

    cut: Cut = like(Sampling, "cut")


class RewardSettings(CandidatesSettings):
    """Of rewards.py: which ranker scores the candidates, and which of them."""

    kind: str = like(Ranker, "kind")
    path: str | None = like(Ranker, "path")
    max_length: int = like(Ranker, "max_length")
    weights: dict[str, float] | None = like(Ranker, "weights", default=None)
    on_topic: bool = like(Ranker, "on_topic", default=False)
    wrong: float = like(Ranker, "wrong")
    seed: int = Field(description="of the coins of `wrong`")
