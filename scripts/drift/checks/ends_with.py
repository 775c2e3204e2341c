"""{"text_at_end": "?"}: how a reply ends, white space and marks of bold or italic type apart."""

from string import whitespace

from drift.checks import phrases


def passes(text: str, *, text_at_end: str) -> bool:
    """Whether it ends so."""
    if not text_at_end.strip():
        raise ValueError("text_at_end is empty")
    end, said = phrases.straight(text_at_end).rstrip(), phrases.straight(text).rstrip()
    return said.endswith(end) or said.rstrip(whitespace + "*_").endswith(end)


def direction(*, text_at_end: str) -> str:
    """Neither shorter nor longer."""
    return "neutral"


def wish(*, text_at_end: str) -> str:
    """As a user asks for it."""
    return "End your answer with a question." if text_at_end == "?" else f'End your answer with "{text_at_end}".'


def complaint(*, text_at_end: str) -> str:
    """As a user complains."""
    return (
        "Your answer does not end with a question." if text_at_end == "?" else f'Your answer does not end with "{text_at_end}".'
    )
