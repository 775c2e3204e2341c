"""Conversations of the calls that were logged of them.

Applications send the whole conversation with every call, so that the calls of one share their first
messages: the longest shows all of it. Others log the new message alone, and then no call of theirs
shows a history: these are put one after the other. A history in any call says that the application
sends them, and that two replies to a first question are two branches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from drift.sources import details
from drift.sources.exchanges import role_of
from drift.sources.shapes.base import Call
from drift.sources.shapes.opinions import Score, beyond_thumbs

BRANCH = "another branch of a conversation whose longest is kept"


class Said(NamedTuple):
    """What a message is known by in another call, which may repeat a reply without its thought,
    without the blanks around it, or as a list of parts."""

    role: str
    text: str
    missing_part: bool


@dataclass
class _Chain:
    """Calls, the messages of one of which begin with those of the others; what `longest` says,
    system prompts left out; and the time of the first."""

    longest: Call
    said: list[Said]
    time: datetime | None


class Calls:
    """What calls make of conversations. All of their texts are in memory: of a conversation those
    of its longest call."""

    def __init__(self) -> None:
        self._groups: dict[tuple, list[_Chain]] = {}
        self._without_scale: set[object] = set()
        self._histories = False

    def add(self, call: Call, said: list[Said]) -> None:
        """Take one more call, in any order, with what each of its messages says."""
        call.messages = [dict(message) for message in call.messages]
        scores = call.messages[-1].get(Score, ())
        self._without_scale.update(one.name for one in scores if isinstance(one.name, str) and beyond_thumbs(one.value))
        # System prompts hold dates and documents that differ from call to call.
        said = [message for message in said if message.role != "system"]
        group = _group(call, said)
        self._histories |= group[0] and _shows_history(said)
        chains = self._groups.setdefault(group, [])
        time = details.time(call.timestamp)
        for chain in chains:
            if said[: len(chain.said)] == chain.said:
                _carry(chain.longest, call)
                earliest = min((moment for moment in (chain.time, time) if moment), default=None)
                # The name and the user of the first that was logged.
                call.id, call.user = chain.longest.id, chain.longest.user or call.user
                chain.longest, chain.said, chain.time = call, said, earliest
                return
            if chain.said[: len(said)] == said:
                _carry(call, chain.longest)
                chain.time = min((moment for moment in (chain.time, time) if moment), default=None)
                return
        chains.append(_Chain(call, said, time))

    def conversations(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each conversation as drift.sources.logs takes it, with the number of its branches that
        are left out."""
        for (named, *_), chains in self._groups.items():
            ordered = sorted(chains, key=lambda chain: (chain.time is None, chain.time or datetime.min))
            if not named:
                yield from ((self._record(chain.longest, chain.time), 0) for chain in ordered)
            elif not self._histories:
                yield self._record(_in_turn(ordered), ordered[0].time), 0
            else:
                best = max(ordered, key=lambda chain: len(chain.longest.messages))
                yield self._record(best.longest, best.time), len(ordered) - 1

    def _record(self, call: Call, time: datetime | None) -> dict[str, Any]:
        return call.record(self._without_scale) | ({"timestamp": time} if time else {})


def _in_turn(chains: list[_Chain]) -> Call:
    """One call that holds single exchanges one after the other, under the first system prompt."""
    whole = chains[0].longest
    whole.messages = [*whole.messages, *(message for chain in chains[1:] for message in _spoken(chain.longest))]
    return whole


def _group(call: Call, said: list[Said]) -> tuple:
    """What the calls of a conversation have in common: its name, or else the user, the first
    question and its reply."""
    if call.conversation not in (None, ""):
        return True, str(call.conversation)
    end = next((place for place, message in enumerate(said, 1) if message.role == "assistant"), len(said))
    return False, str(call.user), *said[:end]


def _spoken(call: Call) -> list[dict[str, Any]]:
    return [message for message in call.messages if role_of(message["role"]) != "system"]


def _shows_history(said: list[Said]) -> bool:
    """Whether a reply is before the user's last message; the steps of a tool are after it."""
    roles = [message.role for message in said]
    last = max((place for place, role in enumerate(roles) if role == "user"), default=0)
    return "assistant" in roles[:last]


def _carry(short: Call, long: Call) -> None:
    """Put the feedback on the replies of `short` onto the same replies of `long`."""
    for said, message in zip(_spoken(short), _spoken(long), strict=False):
        for name in ("feedback", Score):
            if said.get(name) or said.get(name) == 0:  # 0 and false are thumbs down
                message.setdefault(name, said[name])
