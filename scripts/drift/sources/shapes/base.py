"""What the shapes of logs share: one call of a model, and why a record holds none."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from drift.sources.shapes.opinions import Score, together

NO_REPLY = "a call without messages or without a reply"
STEP = "a step within a trace, not the call that answers the user"


@dataclass
class Call:
    """One call of a model: the messages that it was sent, the last of which is the reply.

    `conversation` names what it belongs to, None where the log does not say; `id` the call itself.
    The rest is as drift.sources.logs takes it of a conversation. A reply may have a list of
    Score in the place of its feedback, under the key Score, which no log can have.
    """

    id: object
    messages: list[dict[str, Any]]
    conversation: object = None
    model: object = None
    user: object = None
    timestamp: object = None

    def record(self, without_scale: Container[object] = ()) -> dict[str, Any]:
        """The conversation that this call alone shows; `without_scale`: see opinions.together."""
        known = {"model": self.model, "user": self.user, "timestamp": self.timestamp}
        name = self.id if self.conversation in (None, "") else self.conversation
        return {"id": name, "messages": [_judged(message, without_scale) for message in self.messages]} | known


def _judged(message: dict[str, Any], without_scale: Container[object]) -> dict[str, Any]:
    said = together(message.get(Score, ()), without_scale)
    return message | {"feedback": said} if said else message


def first(record: object, *names: str) -> object:
    """The first of the fields `names` of a record that says something; None where none does."""
    fields = record if isinstance(record, dict) else {}
    return next((fields[name] for name in names if fields.get(name) not in (None, "")), None)
