"""The engines that generate: vLLM, transformers where vLLM cannot be installed, and endpoints.

An engine takes request rows and gives completion rows, in any order. The engines that run here get
token ids, so none adds a special token of its own; every decoding value comes from the settings,
none from the model's generation_config.json but the tokens that end a reply
(drift.chat.stop_tokens). These are no part of a reply's text, and any other control token is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from drift.cli import StageError
from drift.settings.sampling import EngineRuntime, GenerationSettings


class EngineProtocol(Protocol):
    """What `generate.py` needs of an engine."""

    usage: dict  # what the engine wants recorded of its work, besides what the rows hold

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows (Requests), as columns of Completions. policy_hash may
        be absent where policy.json has it."""


def load_engine(
    policy: Path | None,
    settings: GenerationSettings,
    runtime: EngineRuntime,
    state: Path | None = None,
    longest: Sequence[int] = (),
) -> EngineProtocol:
    """The engine of `settings.backend`, ready to answer.

    `settings` shape the replies, `runtime` does not. `policy` is the folder of a model that runs
    here; an endpoint has none, and keeps its replies under `state`. `longest`: how many tokens each
    request may come to, its reply included, where that is known. Raises StageError where the policy
    is missing.
    """
    if settings.backend == "openai":
        from drift.engines.endpoint import EndpointEngine

        return EndpointEngine(settings, runtime.endpoint, state)
    if policy is None:
        raise StageError(f"the {settings.backend} backend runs a model: give its folder with --policy and --manifest")
    if settings.backend == "vllm":
        from drift.engines.vllm import VllmEngine

        return VllmEngine(policy, settings, runtime, longest)
    from drift.engines.transformers import TransformersEngine

    return TransformersEngine(policy, settings)


def choice_tokens(tokenizer, choices: tuple[str, ...] | None) -> dict[int, str] | None:
    """The allowed answers by their token; None for free text. Raises StageError for an answer that
    is not one token."""
    if choices is None:
        return None
    ids = [tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
    if any(len(tokens) != 1 for tokens in ids):
        raise StageError(
            f"the answers {list(choices)} are not single tokens of this judge's vocabulary; use a judge for which they are"
        )
    return {tokens[0]: choice for tokens, choice in zip(ids, choices, strict=True)}


def check_lengths(requests: list[dict], settings: GenerationSettings) -> None:
    """Raise StageError for a request that was not rendered, or not fitted to the context."""
    for request in requests:
        name, ids = request["request_id"], request["prompt_token_ids"]
        if ids is None:
            raise StageError(f"request {name} has no prompt_token_ids: it was written for an endpoint; rebuild the requests")
        if len(ids) + settings.max_tokens > settings.context:
            raise StageError(
                f"request {name} has {len(ids)} prompt tokens, which leaves no room for {settings.max_tokens} more in a "
                f"context of {settings.context}; fit the prompts first"
            )
