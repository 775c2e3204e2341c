"""Where a reply has a phrase."""

import re

# What a word goes on with: a letter or digit. An underscore is none, as it marks italics, nor is a
# letter of Thai, Japanese or Chinese, which do not part words.
_LETTER = r"[^\W_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"


def has(text: str, phrase: str, *, ending: bool = True) -> bool:
    """Whether `text` has the phrase, in any case and with either apostrophe, as whole words;
    without `ending`, its last word may go on."""
    sought = re.escape(straight(phrase.strip()))
    end = rf"(?!{_LETTER})" if ending else ""
    return re.search(rf"(?<!{_LETTER}){sought}{end}", straight(text), re.IGNORECASE) is not None


def straight(text: str) -> str:
    """`text` with straight apostrophes: a model writes either."""
    return text.replace("\u2019", "'")
