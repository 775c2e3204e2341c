"""A reply that another, stronger model writes with the reply that disappointed and the feedback in
view: the positives of WildFeedback (Shi et al. 2024, arXiv 2408.15549).

Theirs summarises what the user prefers first, and shows the summary to the writer as system text.
Here it reads the conversation itself, as the policy does for a guided reply.
"""

from drift.chat import Messages, guided, render
from drift.names import WRITER
from drift.sides import Needs, Reply, replies_of_kind

NEEDS = Needs(shown=("rejected", "feedback"), asked=WRITER)


def asks(recipe, n) -> dict[str, int]:
    """As many replies as are sampled for a prompt."""
    return {"written": n}


def request(tokenizer, prompt, settings) -> tuple[Messages, list[int] | None]:
    """The conversation, the reply that disappointed, the feedback, and the request to improve."""
    messages = guided(prompt["prompt"], prompt["rejected"], prompt["feedback"], settings.instruction)
    return messages, render(tokenizer, messages) if tokenizer else None


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All samples, the first one first."""
    return replies_of_kind("written", prompt, sampled, scores)
