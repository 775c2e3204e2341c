"""{"at_least": 5}, {"at_most": 30}, or both: how many paragraphs a reply has."""

from drift.checks import counts

direction = counts.direction


def passes(text: str, *, at_least: int | None = None, at_most: int | None = None) -> bool:
    """Whether the paragraphs are as many as that."""
    return counts.within(counts.paragraphs(text), at_least, at_most)


def wish(*, at_least: int | None = None, at_most: int | None = None) -> str:
    """As a user asks for it."""
    return f"Write {counts.limits(at_least, at_most, 'paragraph', 'paragraphs')}, separated by blank lines."


def complaint(*, at_least: int | None = None, at_most: int | None = None) -> str:
    """As a user complains."""
    return f"I asked for {counts.limits(at_least, at_most, 'paragraph', 'paragraphs')}."
