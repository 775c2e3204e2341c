"""What users thought of a reply, in the words of several tools, as the feedback of a reply that
drift.sources.logs reads."""

import re
from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from drift.sources import details

_UP = {"up", "thumbs up", "thumbsup", "thumb up", "like", "liked", "good", "positive", "satisfied", "true", "yes"}
_UP |= {"+1", "1", "👍"}
_DOWN = {"down", "thumbs down", "thumbsdown", "thumb down", "dislike", "disliked", "bad", "negative", "dissatisfied"}
_DOWN |= {"false", "no", "-1", "0", "👎"}
# Names that applications keep the opinion, and the words about it, under.
_OPINIONS, _WORDS = ("thumbs", "score", "value"), ("comment", "reason", "text")
# Tools keep the scores of evaluators beside those of users; these names are of users.
_OF_USERS = re.compile(r"feedback|thumb|rating|vote|satisf|csat|user.?score|(?<![a-z])likes?(?![a-z])", re.IGNORECASE)


def thumbs(value: object) -> str | None:
    """ "up" or "down", where `value` says one of them: a word, true or false, 1, or -1 or 0, as
    number or text."""
    if isinstance(value, bool):
        return "up" if value else "down"
    number = as_number(value)
    word = f"{number:g}" if number is not None else str(value).strip().lower()
    spellings = {word, re.sub("[_-]", " ", word)}
    return "up" if spellings & _UP else "down" if spellings & _DOWN else None


def beyond_thumbs(value: object) -> bool:
    """Whether `value` is a number, or text of one, that is on a longer scale than that of thumbs,
    -1 to 1."""
    number = as_number(value)
    return number is not None and abs(number) > 1


def as_number(value: object) -> float | None:
    """A number, or that in a text, as CSV files have it; pandas writes 1.0 where another is
    missing."""
    if not isinstance(value, str):
        return details.number(value)
    try:
        return details.number(float(value))
    except ValueError:
        return None


def in_our_words(given: object) -> object:
    """The feedback of a reply as drift.sources.logs has it, of what an application wrote in its
    place: a thumb alone, or an object that calls it a score or value and the comment a reason or
    text. What is none of these stays as it is."""
    if not isinstance(given, dict):
        return {"thumbs": thumb} if (thumb := thumbs(given)) else given
    said = {name: value for name, value in given.items() if name not in (*_OPINIONS, *_WORDS)}
    opinion, words = (next((given[name] for name in names if _says(given.get(name))), None) for names in (_OPINIONS, _WORDS))
    if (number := as_number(opinion)) is not None and 0 < number < 1:
        said |= {"rating": number, "scale": [0, 1]}
    elif opinion is not None:
        said["thumbs"] = thumbs(opinion) or opinion
    return said | ({} if words is None else {"comment": words})


def _says(value: object) -> bool:
    # Exports have all of an application's fields, those too that the user left empty.
    return not details.is_absent(value.strip() if isinstance(value, str) else value)


class Score(NamedTuple):
    """A score as a tool of observation keeps it. Its thumb is known when all scores are: see
    `together`."""

    name: object
    value: object
    comment: object


def score(name: object, value: object, comment: object) -> dict[str, Any]:
    """The feedback in a score called `name`: thumbs, or a rating between 0 and 1. Nothing where
    the name is not one that scores of users have, or the value on a scale that is not known."""
    if not isinstance(name, str) or not _OF_USERS.search(name):
        return {}
    said: dict[str, Any] = {}
    number = as_number(value)
    if thumb := thumbs(value):
        said["thumbs"] = thumb
    elif number is not None and 0 < number < 1:
        said |= {"rating": number, "scale": [0, 1]}
    return said | ({"comment": comment} if isinstance(comment, str) and comment.strip() else {})


def together(scores: Iterable[Score], without_scale: Container[object] = ()) -> dict[str, Any]:
    """One feedback of several scores of a reply: the worse thumb and rating, and all comments. Of
    names `without_scale`, some of whose scores are beyond those of thumbs, the comments alone
    count: where there are five stars, 1 is no thumb up."""
    said: dict[str, Any] = {}
    comments: list[str] = []
    for name, value, comment in scores:
        one = score(name, None if isinstance(name, str) and name in without_scale else value, comment)
        if "thumbs" in one:
            said["thumbs"] = min(one["thumbs"], said.get("thumbs", "up"))  # down is before up
        if "rating" in one and ("rating" not in said or one["rating"] < said["rating"]):
            said |= {"rating": one["rating"], "scale": one["scale"]}
        if one.get("comment"):
            comments.append(one["comment"])
    return said | ({"comment": "\n\n".join(dict.fromkeys(comments))} if comments else {})
