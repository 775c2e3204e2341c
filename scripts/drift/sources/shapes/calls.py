"""Conversations of the calls that were logged of them.

Applications send the whole conversation with every call, so that the calls of one share their first
messages: the longest shows all of it. Others log the new message alone: these are put one after the
other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drift.sources import details
from drift.sources.shapes.base import Call
from drift.sources.shapes.opinions import Score, beyond_thumbs

BRANCH = "another branch of a conversation whose longest is kept"


@dataclass
class _Chain:
    """Calls, the messages of one of which begin with those of the others."""

    longest: Call
    time: datetime | None

    def begins(self, call: Call) -> bool:
        return _is_start(_spoken(self.longest), _spoken(call))


class Calls:
    """What calls make of conversations. All of their texts are in memory: of a conversation those
    of its longest call."""

    def __init__(self) -> None:
        self._groups: dict[tuple, list[_Chain]] = {}
        self._without_scale: set[object] = set()

    def add(self, call: Call) -> None:
        """Take one more call, in any order."""
        call.messages = [dict(message) for message in call.messages]
        said = call.messages[-1].get(Score, ())
        self._without_scale.update(one.name for one in said if isinstance(one.name, str) and beyond_thumbs(one.value))
        chains = self._groups.setdefault(_group(call), [])
        time = details.time(call.timestamp)
        for chain in chains:
            if chain.begins(call):
                _carry(chain.longest, call)
                earliest = min((moment for moment in (chain.time, time) if moment), default=None)
                # The name and the user of the first that was logged.
                call.id, call.user = chain.longest.id, chain.longest.user or call.user
                chain.longest, chain.time = call, earliest
                return
            if _is_start(_spoken(call), _spoken(chain.longest)):
                _carry(call, chain.longest)
                chain.time = min((moment for moment in (chain.time, time) if moment), default=None)
                return
        chains.append(_Chain(call, time))

    def conversations(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each conversation as drift.sources.logs takes it, with the number of its branches that
        are left out."""
        for (named, *_), chains in self._groups.items():
            ordered = sorted(chains, key=lambda chain: (chain.time is None, chain.time or datetime.min))
            if not named:
                yield from ((self._record(chain.longest, chain.time), 0) for chain in ordered)
            elif all(_exchanges(chain.longest) == 1 for chain in ordered):
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


def _group(call: Call) -> tuple:
    """What the calls of a conversation have in common: its name, or else the user, the first
    question and its reply."""
    if call.conversation not in (None, ""):
        return True, str(call.conversation)
    spoken = _spoken(call)
    end = next((place for place, message in enumerate(spoken, 1) if message.get("role") == "assistant"), len(spoken))
    return False, str(call.user), *(f"{message.get('content')}" for message in spoken[:end])


def _spoken(call: Call) -> list[dict[str, Any]]:
    # System prompts hold dates and documents that differ from call to call.
    return [message for message in call.messages if message.get("role") not in ("system", "developer")]


def _exchanges(call: Call) -> int:
    return sum(message.get("role") == "assistant" for message in call.messages)


def _is_start(short: list[dict[str, Any]], long: list[dict[str, Any]]) -> bool:
    return len(short) <= len(long) and all(
        (a.get("role"), a.get("content")) == (b.get("role"), b.get("content")) for a, b in zip(short, long, strict=False)
    )


def _carry(short: Call, long: Call) -> None:
    """Put the feedback on the replies of `short` onto the same replies of `long`."""
    for said, message in zip(_spoken(short), _spoken(long), strict=False):
        for name in ("feedback", Score):
            if said.get(name):
                message.setdefault(name, said[name])
