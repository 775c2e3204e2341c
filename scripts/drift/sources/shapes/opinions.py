"""What users thought of a reply, in the words of several tools, as the feedback of a reply that
drift.sources.logs reads."""

import re
from collections.abc import Iterable
from typing import Any

from drift.sources import details

_UP = {"up", "thumbs up", "thumbsup", "thumb up", "like", "liked", "good", "positive", "satisfied", "true", "yes"}
_UP |= {"+1", "1", "👍"}
_DOWN = {"down", "thumbs down", "thumbsdown", "thumb down", "dislike", "disliked", "bad", "negative", "dissatisfied"}
_DOWN |= {"false", "no", "-1", "0", "👎"}
# Tools keep the scores of evaluators beside those of users; these names are of users.
_OF_USERS = re.compile(r"feedback|thumb|rating|vote|satisf|csat|user.?score|(?<![a-z])likes?(?![a-z])", re.IGNORECASE)


def thumbs(value: object) -> str | None:
    """ "up" or "down", where `value` says one of them: a word, true or false, 1, or -1 or 0."""
    if isinstance(value, bool):
        return "up" if value else "down"
    number = details.number(value)
    word = f"{number:g}" if number is not None else str(value).strip().lower()
    spellings = {word, re.sub("[_-]", " ", word)}
    return "up" if spellings & _UP else "down" if spellings & _DOWN else None


def score(name: object, value: object, comment: object) -> dict[str, Any]:
    """The feedback in a score called `name`: thumbs, or a rating between 0 and 1. Nothing where
    the name is not one that scores of users have, or the value on a scale that is not known."""
    if not isinstance(name, str) or not _OF_USERS.search(name):
        return {}
    said: dict[str, Any] = {}
    number = details.number(value)
    if thumb := thumbs(value):
        said["thumbs"] = thumb
    elif number is not None and 0 < number < 1:
        said |= {"rating": number, "scale": [0, 1]}
    return said | ({"comment": comment} if isinstance(comment, str) and comment.strip() else {})


def together(given: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One feedback of several about a reply: the worse thumb and rating, and all comments."""
    said: dict[str, Any] = {}
    comments: list[str] = []
    for one in given:
        if "thumbs" in one:
            said["thumbs"] = min(one["thumbs"], said.get("thumbs", "up"))  # down is before up
        if "rating" in one and ("rating" not in said or one["rating"] < said["rating"]):
            said |= {"rating": one["rating"], "scale": one["scale"]}
        if one.get("comment"):
            comments.append(one["comment"])
    return said | ({"comment": "\n\n".join(dict.fromkeys(comments))} if comments else {})
