"""A reply to the prompt alone by the policy that the method starts from: an old reply that nobody
complained of.

As the rejected side it says whether a reply that disappointed is worth more than any old one; among
candidates it is the anchor of Temporal Self-Rewarding (arXiv 2508.06026, phase 1).
"""

from drift.chat import Messages, render
from drift.names import INITIAL
from drift.sides import Needs, Reply, replies_of_kind

NEEDS = Needs(only="rejected", asked=INITIAL)


def asks(recipe, n) -> dict[str, int]:
    """As many replies as are sampled for a prompt."""
    return {"plain@initial": n}


def request(tokenizer, prompt, settings) -> tuple[Messages, list[int]]:
    """The prompt as it was fitted."""
    return prompt["prompt"], render(tokenizer, prompt["prompt"])


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All samples, the first one first."""
    return replies_of_kind("plain@initial", prompt, sampled, scores)
