"""{"phrase": "because"}: a word or phrase that a reply has, in any case, as whole words."""

from drift.checks import phrases


def passes(text: str, *, phrase: str) -> bool:
    """Whether the phrase is there."""
    if not phrase.strip():
        raise ValueError("phrase is empty")
    return phrases.has(text, phrase)


def direction(*, phrase: str) -> str:
    """Neither shorter nor longer."""
    return "neutral"


def wish(*, phrase: str) -> str:
    """As a user asks for it."""
    return f'Use the {_kind(phrase)} "{phrase}".'


def complaint(*, phrase: str) -> str:
    """As a user complains."""
    return f'You did not use the {_kind(phrase)} "{phrase}".'


def _kind(phrase: str) -> str:
    return "phrase" if " " in phrase.strip() else "word"
