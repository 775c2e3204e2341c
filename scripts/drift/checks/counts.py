"""How many of something a reply has, and how the limits on it are worded."""

import re

# A sentence ends with . ! ? or an ellipsis, perhaps in quotes, brackets or marks of bold or italic
# type, before a space or the end; in Chinese and Japanese no space follows.
_CLOSING = r"""["')\]*_\u201d\u2019\u00bb\u203a\u300d\u300f]*"""
_SENTENCE_END = re.compile(rf"(?<=[.!?\u2026]){_CLOSING}(?:\s+|$)|(?<=[\u3002\uff01\uff1f]){_CLOSING}")
# The number of a point in a list: its full stop ends no sentence, and a sentence begins after it.
_POINT = re.compile(r"^[ \t>*_]*\d+\.[*_]*\s", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n\s*\n")


def words(text: str) -> int:
    """Words: what white space separates."""
    return len(text.split())


def sentences(text: str) -> int:
    """Sentences. A rough rule: an abbreviation ("e.g. this") counts as an end."""
    parts = (part for passage in _POINT.split(text) for part in _SENTENCE_END.split(passage))
    return sum(any(map(str.isalnum, part)) for part in parts)


def paragraphs(text: str) -> int:
    """Paragraphs: what blank lines separate."""
    return sum(bool(part.strip()) for part in _BLANK_LINE.split(text))


def within(count: int, at_least: int | None, at_most: int | None) -> bool:
    """Whether `count` keeps both limits, as far as they are given."""
    _check(at_least, at_most)
    return (at_least is None or count >= at_least) and (at_most is None or count <= at_most)


def direction(*, at_least: int | None = None, at_most: int | None = None) -> str:
    """Of every check of a count, what its limits do to the length of a reply: an upper one
    shortens, a lower one lengthens, both together shorten."""
    _check(at_least, at_most)
    return "longer" if at_most is None else "shorter"


def limits(at_least: int | None, at_most: int | None, one: str, many: str) -> str:
    """The limits in words: "at most 30 words", "exactly one sentence"."""
    _check(at_least, at_most)

    def number(count: int) -> str:
        return f"one {one}" if count == 1 else f"{count} {many}"

    if at_least == at_most:
        return f"exactly {number(at_most)}"
    if at_most is None:
        return f"at least {number(at_least)}"
    return f"at most {number(at_most)}" if at_least is None else f"{at_least} to {number(at_most)}"


def _check(at_least: int | None, at_most: int | None) -> None:
    if at_least is None and at_most is None:
        raise ValueError("give at_least, at_most, or both")
    if min(value for value in (at_least, at_most) if value is not None) < 1:
        raise ValueError("at_least and at_most are 1 or more")
    if at_least is not None and at_most is not None and at_least > at_most:
        raise ValueError(f"at_least {at_least} is above at_most {at_most}")
