"""A reply that the policy writes to the prompt alone."""

from drift.chat import Messages, render
from drift.sides import Needs, Reply, replies_of_kind

NEEDS = Needs()


def asks(recipe, n) -> dict[str, int]:
    """As many replies as are sampled for a prompt."""
    return {"plain": n}


def request(tokenizer, prompt, settings) -> tuple[Messages, list[int]]:
    """The prompt as it was fitted."""
    return prompt["prompt"], render(tokenizer, prompt["prompt"])


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All samples, the first one first."""
    return replies_of_kind("plain", prompt, sampled, scores)
