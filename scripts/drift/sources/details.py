"""Details of a conversation as logs have them: a value, None where it cannot be read."""

import hashlib
import json
import math
import re
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Real

# Chats with a model are of these years. Milliseconds that are read as seconds are not.
YEARS = range(1990, 2100)
# From so many seconds on (the year 5138) they are milliseconds.
_MILLISECONDS = 1e11
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")


def is_absent(value: object) -> bool:
    """Whether a field says nothing: null, empty, or the NaN that pandas puts for it."""
    return value is None or value == "" or (isinstance(value, float | Decimal) and math.isnan(value))


def name(value: object) -> str | None:
    """Text, a UUID or a whole number, which pandas writes as 3.0 where another is missing, as
    text."""
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        value = int(value)
    return str(value) if isinstance(value, str | int | uuid.UUID) and not isinstance(value, bool) and value != "" else None


def by_contents(record: object) -> str:
    """The name of a conversation that has none: the same one each time that the file is read, and
    for each record that is equal."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:32]


def flag(value: object) -> bool | None:
    """True or false, in words or as 1 or 0."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _YES else False if word in _NO else None
    return bool(value) if isinstance(value, Real | Decimal) and value in (0, 1) else None


def number(value: object) -> float | None:
    """A number that a float holds."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def utc(time: datetime | None) -> datetime | None:
    """`time` in UTC without zone; one without a zone is taken to be UTC."""
    return time.astimezone(UTC).replace(tzinfo=None) if time and time.tzinfo else time


def time(value: object) -> datetime | None:
    """A date, seconds or milliseconds since 1970, as number or text, or ISO 8601, in UTC without
    zone."""
    try:
        moment = _moment(value)
        return moment if moment and moment.year in YEARS else None
    except (ValueError, OverflowError, OSError):
        return None


def of_conversation(record: dict) -> tuple[dict, bool]:
    """The model, language, user and timestamp of a record that may have them, and whether one of
    them cannot be read."""
    readers = {"model": name, "language": name, "user": name, "timestamp": time}
    known = {field: read(record.get(field)) for field, read in readers.items()}
    return known, any(known[field] is None and not is_absent(record.get(field)) for field in known)


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return utc(datetime.fromisoformat(value.strip()))
    if isinstance(value, bool) or not isinstance(value, Real | Decimal | str):
        return None
    seconds = float(value)
    return utc(datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds, UTC))
