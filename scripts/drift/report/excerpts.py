"""Texts of conversations as the page shows them: an opening, and the rest on demand."""

import re
from dataclasses import dataclass
from typing import Any

# The part of a text that is open (characters, lines), and the part that is in the page at all.
OPEN_CHARACTERS, OPEN_LINES, LONGEST = 500, 12, 5000
# Control characters, which move the cursor of a terminal, and the marks that reverse the order of
# all text after them, would change how what is around them reads.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e]")


@dataclass(frozen=True)
class Excerpt:
    """A text as the page shows it."""

    head: str  # always open
    rest: str  # to unfold
    left_out: int  # characters that are not in the page


def safe(value: Any) -> Any:
    """A text with U+FFFD for each unsafe character, ids and names included; anything else as it is.
    What is markup already stays markup."""
    return type(value)(_UNSAFE.sub("\ufffd", value)) if isinstance(value, str) else value


def excerpt(text: str) -> Excerpt:
    """The first LONGEST characters of a text, unsafe ones replaced by U+FFFD."""
    shown = safe(text[:LONGEST].replace("\r\n", "\n"))
    head = "".join(shown[:OPEN_CHARACTERS].splitlines(keepends=True)[:OPEN_LINES])
    return Excerpt(head, shown[len(head) :], max(0, len(text) - LONGEST))
