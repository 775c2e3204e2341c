"""A message a row, as a table of a database is exported: which column holds what is said by
`columns` of the source's row in the configuration.

    columns: {conversation: chat_id, role: sender, content: body, time: sent_at, feedback: vote}

conversation, role and content are needed, and a content may be empty, as that of a call of a tool
is; time puts the messages of a conversation into order (else they stand as in the file), feedback
is on the replies (up, down, like, 1, -1, true, ...), comment what the user wrote about a reply,
user whose conversation it is, model who answered.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from drift.sources import details
from drift.sources.shapes.opinions import as_number, beyond_thumbs, thumbs

NAME = "a message a row"
NO_NAME = "a row without its conversation"
BAD_ROW = "a row without role, or with a text, time or feedback that cannot be read"


class Rows:
    """Conversations of rows. All of their texts are in memory."""

    def __init__(self, columns: dict[str, str]) -> None:
        self._columns = columns
        self._rows: dict[str, list[dict[str, Any]]] = {}
        # Votes of -1, 0 and 1: 0 is none. Votes of 0 and 1: 0 is down.
        self._none_is_zero = False
        # Stars: 1 is no thumb up, and how many there are is not said.
        self._without_scale = False

    def missing(self, record: dict[str, Any]) -> list[str]:
        """The columns that a row ought to have and lacks."""
        return [column for column in self._columns.values() if column not in record]

    def add(self, record: dict[str, Any]) -> str | None:
        """Take one more row; why it cannot be taken, NO_NAME, where it cannot."""
        row = {role: record.get(column) for role, column in self._columns.items()}
        if (name := details.name(row["conversation"])) is None:
            return NO_NAME
        self._none_is_zero |= as_number(row.get("feedback")) == -1
        self._without_scale |= beyond_thumbs(row.get("feedback"))
        self._rows.setdefault(name, []).append(row)
        return None

    def conversations(self) -> Iterator[tuple[str, dict[str, Any] | None, list[dict[str, Any]]]]:
        """Each conversation by its name: as drift.sources.logs takes it, None where a row cannot be
        read; and its rows, of those that cannot be read the first alone."""
        for name, rows in self._rows.items():
            times = [details.time(row.get("time")) for row in rows]
            messages = [self._message(row) for row in rows]
            timeless = [time is None and "time" in self._columns for time in times]
            bad = [row for row, message, odd in zip(rows, messages, timeless, strict=True) if message is None or odd]
            if bad:
                yield name, None, bad[:1]
                continue
            if "time" in self._columns:
                order = sorted(range(len(rows)), key=lambda place: times[place] or datetime.min)
                messages = [messages[place] for place in order]
            found = {
                detail: next((row[detail] for row in rows if not details.is_absent(row.get(detail))), None)
                for detail in ("user", "model")
            }
            known = {"id": name, "messages": messages, "timestamp": min(filter(None, times), default=None)}
            yield name, known | found, rows

    def _message(self, row: dict[str, Any]) -> dict[str, Any] | None:
        role, content = row["role"], "" if details.is_absent(row["content"]) else row["content"]
        if not isinstance(role, str) or not isinstance(content, str):
            return None
        said: dict[str, Any] = {}
        given = row.get("feedback")
        if not details.is_absent(given) and not (self._none_is_zero and as_number(given) == 0):
            if (thumb := thumbs(given)) is None or (self._without_scale and as_number(given) is not None):
                return None
            said["thumbs"] = thumb
        if not details.is_absent(row.get("comment")):
            said["comment"] = row["comment"]
        return {"role": role, "content": content} | ({"feedback": said} if said else {})
