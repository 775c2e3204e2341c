"""A reply to the prompt alone by a policy of the future: the previous one, trained on the pairs
that the other candidates make.

Temporal Self-Rewarding (arXiv 2508.06026, phase 2) takes the chosen reply from it where that ranks
above those of the previous policy.
"""

from drift.chat import Messages, render
from drift.names import FUTURE
from drift.sides import Needs, Reply, replies_of_kind

NEEDS = Needs(only="chosen", asked=FUTURE)


def asks(recipe, n) -> dict[str, int]:
    """As many replies as are sampled for a prompt."""
    return {"plain@future": n}


def request(tokenizer, prompt, settings) -> tuple[Messages, list[int]]:
    """The prompt as it was fitted."""
    return prompt["prompt"], render(tokenizer, prompt["prompt"])


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All samples, the first one first."""
    return replies_of_kind("plain@future", prompt, sampled, scores)
