"""No list in a reply: no line that begins with a bullet or a number."""

import re

_PATTERN = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s", re.MULTILINE)


def passes(text: str) -> bool:
    """Whether there are none."""
    return _PATTERN.search(text) is None


def direction() -> str:
    """Neither shorter nor longer."""
    return "neutral"


def wish() -> str:
    """As a user asks for it."""
    return "Do not use a list."


def complaint() -> str:
    """As a user complains."""
    return "You used a list."
