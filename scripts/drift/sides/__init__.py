"""Sides of a recipe: where the chosen or the rejected reply of a pair comes from. A module each.

A side is a module with

    NEEDS                                what the recipe and its pool must have (Needs)
    asks(recipe, n)                      requests a prompt, by kind: {} where nothing is sampled
    replies(prompt, side, sampled, scores)   the replies that it may take, the best first

and, where it is sampled under its own name, so that it is a kind of requests as well,

    request(tokenizer, prompt, settings)     messages and token ids that a policy is asked with
    stops(style)                             texts at which its replies end; may be absent

Without a tokenizer there are no token ids (None): a writer may be behind an endpoint.

`recipe` is a row of `recipes`, `n` is sampling.n, `style` prompting.style, `prompt` a row of
Prompts, `side` "chosen" or "rejected", `settings` a RequestsSettings. `sampled` holds the
completions of the prompt by kind, each list in the order of sample numbers; `scores` the rankings
by request_id. A new side is such a module and its line in plugins.SIDES.

The configuration and the rules load sides: their top level imports neither polars nor torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypedDict

from drift import plugins
from drift.cli import StageError
from drift.names import PREVIOUS, Asked

# A completion as a row of Completions, with the kind and sample number of its request.
Completion = dict

# text    what the pair will hold
# from    "logged", or the request_id of the completion
# reply   the completion; None of a logged reply
# score   its score; None where it was not ranked
Reply = TypedDict("Reply", {"text": str, "from": str, "reply": Completion | None, "score": float | None})


@dataclass(frozen=True)
class Needs:
    """What a side needs; the configuration checks each recipe for it."""

    # The reply that was logged on this side: dsat has a rejected one, sat a chosen one.
    logged: bool = False
    # Columns of Prompts that its requests show to the policy besides the prompt.
    shown: tuple[str, ...] = ()
    # `candidates` and `rank`: it takes one end of a ranking.
    ranking: bool = False
    # The only side of a pair that it can be; None: either.
    only: str | None = None
    # The policy that its requests are put to.
    asked: Asked = PREVIOUS


def of(recipe: Mapping) -> list[str]:
    """The sides of a recipe's pairs: chosen, rejected, and what that is mixed with; none where it
    trains on single replies."""
    mix = recipe.get("mix")
    return [side for side in (recipe["chosen"], recipe["rejected"], mix and mix["side"]) if side]


def samples(recipe: Mapping, n: int) -> dict[Asked, dict[str, int]]:
    """How many requests of each kind a recipe makes of a prompt, by the policy that they are put
    to. `n`: samples a prompt."""
    kinds: dict[str, int] = {}
    for side in of(recipe):
        kinds |= plugins.load(plugins.SIDES, side).asks(recipe, n)
    asked: dict[Asked, dict[str, int]] = {}
    for kind, count in sorted(kinds.items()):
        asked.setdefault(asked_of(kind), {})[kind] = count
    return asked


def asked_of(kind: str) -> Asked:
    """The policy that a kind of requests is put to."""
    return plugins.load(plugins.SIDES, kind).NEEDS.asked


def can_ask(side: str, prompt: Mapping) -> bool:
    """Whether a prompt has what requests of a side show: a published pair has no feedback."""
    return all(prompt[column] is not None for column in plugins.load(plugins.SIDES, side).NEEDS.shown)


def stops(kinds: Iterable[str], style: str) -> list[str]:
    """Texts at which sampled replies of these kinds end."""
    sampled = [plugins.load(plugins.SIDES, kind) for kind in kinds]
    texts = [text for side in sampled if hasattr(side, "stops") for text in side.stops(style)]
    return list(dict.fromkeys(texts))


def candidates(
    prompt: Mapping,
    completions: Mapping[tuple[str, str], list[Completion]],
    recipe: Mapping[str, str],
    scores: Mapping[str, float],
) -> list[dict[str, Reply]]:
    """Both sides of a prompt's pair before any check, the pair to try first in front.

    One candidate for each reply that a side may take; for each two where both sides are sampled.
    `completions` are the sampled replies by (prompt_id, kind). Raises StageError for a prompt
    without the requests that its recipe needs.
    """
    sampled = {
        kind: completions[prompt["prompt_id"], kind]
        for kind in sorted(plugins.SIDES)
        if (prompt["prompt_id"], kind) in completions
    }
    chosen, rejected = (
        plugins.load(plugins.SIDES, recipe[side]).replies(prompt, side, sampled, scores) for side in ("chosen", "rejected")
    )
    return [
        {"chosen": better, "rejected": worse}
        for better, worse in product(chosen, rejected)
        # The same completion cannot be both ends of a ranking.
        if better["reply"] is None or better["from"] != worse["from"]
    ]


def replies_of_kind(
    kind: str, prompt: Mapping, sampled: Mapping[str, list[Completion]], scores: Mapping[str, float]
) -> list[Reply]:
    """For sides that are sampled: every reply of a kind, in the order of sample numbers; none where
    the prompt lacks what is shown."""
    if not can_ask(kind, prompt):
        return []
    if kind not in sampled:
        raise StageError(f"prompt {prompt['prompt_id']} has no {kind} request; rebuild the requests from these prompts")
    return [_reply(completion, scores) for completion in sampled[kind]]


def ranked_replies(sampled: Mapping[str, list[Completion]], scores: Mapping[str, float], side: str) -> list[Reply]:
    """For sides that are an end of a ranking: every reply that has a score and may be on `side`,
    from the highest score on where that is chosen, from the lowest on where it is rejected."""
    kinds = [kind for kind in sampled if plugins.load(plugins.SIDES, kind).NEEDS.only in (None, side)]
    scored = [_reply(reply, scores) for kind in kinds for reply in sampled[kind] if reply["request_id"] in scores]
    return sorted(scored, key=lambda reply: reply["score"], reverse=side == "chosen")


def _reply(completion: Completion, scores: Mapping[str, float]) -> Reply:
    request_id = completion["request_id"]
    return {
        "text": completion["text"].strip(),
        "from": request_id,
        "reply": completion,
        "score": scores.get(request_id),
    }
