"""No digits in a reply."""

import re

_PATTERN = re.compile(r"\d")


def passes(text: str) -> bool:
    """Whether there are none."""
    return _PATTERN.search(text) is None


def direction() -> str:
    """Neither shorter nor longer."""
    return "neutral"


def wish() -> str:
    """As a user asks for it."""
    return "Do not use any digits."


def complaint() -> str:
    """As a user complains."""
    return "There are digits in your answer."
