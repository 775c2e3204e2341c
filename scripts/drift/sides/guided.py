"""A reply that the policy writes with the reply that disappointed and the feedback in view."""

from drift.chat import TRANSCRIPT_STOPS, Messages, render_guided
from drift.sides import Needs, Reply, replies_of_kind

NEEDS = Needs(shown=("rejected", "feedback"))


def asks(recipe, n) -> dict[str, int]:
    """As many replies as are sampled for a prompt."""
    return {"guided": n}


def request(tokenizer, prompt, settings) -> tuple[Messages, list[int]]:
    """The conversation, the reply that disappointed, the feedback, and the request to improve."""
    return render_guided(
        tokenizer, prompt["prompt"], prompt["rejected"], prompt["feedback"], settings.style, settings.instruction
    )


def stops(style) -> list[str]:
    """A reply to a transcript ends where it begins another turn."""
    return TRANSCRIPT_STOPS if style == "paper" else []


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All samples, the first one first."""
    return replies_of_kind("guided", prompt, sampled, scores)
