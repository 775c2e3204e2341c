"""The engines that generate: vLLM, transformers where vLLM cannot be installed, and OpenAI-compatible endpoints.

An engine takes request rows and gives completion rows, in any order. The engines that run here get token ids, so none adds a
special token of its own; every decoding value comes from the settings, none from the model's generation_config.json.
"""

from pathlib import Path
from typing import Protocol

from drift.cli import StageError

# Prompt and reply share the context. A request that is longer was not fitted, and is a fault of the stage before.
_TOO_LONG = "request {} has {} prompt tokens, which leaves no room for {} more in a context of {}; fit the prompts first"


class EngineProtocol(Protocol):
    """What `generate.py` needs of an engine."""

    usage: dict  # what the engine wants recorded of its work, beside what the rows say

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows. policy_hash may be absent where policy.json says it."""


def load_engine(policy: Path | None, settings: dict, runtime: dict, state: Path | None = None) -> EngineProtocol:
    """The engine that `settings["backend"]` names, ready to answer.

    `settings` shape the result: backend, context, decoding, choices (allowed answers, judged by their first token; null for
    free text), schema (JSON schema that a reply has to follow), endpoint (url, model). `runtime` does not: tensor_parallel,
    gpu_memory, prefix_caching, cpu_cache_gib, and an endpoint's key, concurrency, prices and so on. `policy` is the folder of a model that
    runs here; an endpoint has none, and keeps its replies under `state`.
    """
    if settings["backend"] == "openai":
        from drift.engines.endpoint import EndpointEngine

        return EndpointEngine(settings, runtime["endpoint"], state)
    if policy is None:
        raise StageError(f"the {settings['backend']} backend runs a model: say which with --policy and --manifest")
    if settings["backend"] == "vllm":
        from drift.engines.vllm import VllmEngine

        return VllmEngine(policy, settings, runtime)
    from drift.engines.transformers import TransformersEngine

    return TransformersEngine(policy, settings)


def choice_tokens(tokenizer, choices: list[str] | None) -> dict[int, str] | None:
    """The allowed answers by their token; None for free text. Raises StageError for an answer that is not one token."""
    if choices is None:
        return None
    ids = [tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
    if any(len(tokens) != 1 for tokens in ids):
        raise StageError(
            f"the answers {choices} are not single tokens of this judge's vocabulary; use a judge for which they are"
        )
    return {tokens[0]: choice for tokens, choice in zip(ids, choices, strict=True)}


def check_lengths(requests: list[dict], settings: dict) -> None:
    """Raise StageError for a request that was not rendered, or not fitted to the context."""
    context, max_tokens = settings["context"], 1 if settings["choices"] else settings["decoding"]["max_tokens"]
    for request in requests:
        if request["prompt_token_ids"] is None:
            raise StageError(
                f"request {request['request_id']} has no prompt_token_ids: it was written for an endpoint; rebuild the requests"
            )
        if len(request["prompt_token_ids"]) + max_tokens > context:
            raise StageError(_TOO_LONG.format(request["request_id"], len(request["prompt_token_ids"]), max_tokens, context))
