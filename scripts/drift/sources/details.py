"""Optional details of a conversation as logs have them: a value, None where it cannot be read."""

import math
import re
from datetime import UTC, datetime

from drift.sources.conversations import utc

# Chats with a model are of these years. Milliseconds that are read as seconds are not.
YEARS = range(1990, 2100)
# From so many seconds on (the year 5138) they are milliseconds.
_MILLISECONDS = 1e11
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def is_absent(value: object) -> bool:
    """Whether a field says nothing: null, empty, or the NaN that pandas puts for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def name(value: object) -> str | None:
    """Text or a whole number, which pandas writes as 3.0 where another is missing, as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def time(value: object) -> datetime | None:
    """Seconds or milliseconds since 1970, as number or text, or ISO 8601, in UTC without zone."""
    try:
        moment = _moment(value)
        return moment if moment and moment.year in YEARS else None
    except (ValueError, OverflowError, OSError):
        return None


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return utc(datetime.fromisoformat(value.strip()))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    seconds = float(value)
    return utc(datetime.fromtimestamp(seconds / 1000 if abs(seconds) >= _MILLISECONDS else seconds, UTC))
