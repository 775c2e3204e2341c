"""What a reader yields: frames of conversations, and what makes them of dicts.

A frame has a row a conversation. Columns and fields that a source does not have may be left out,
except id and messages:

    id          what the source calls it
    messages    a list of {role, content, ...}: see MESSAGE
    model       that answered
    language    as the source names it
    timestamp   UTC, without time zone
    user        what the source knows the user by; becomes a number and goes no further
    toxic       of the conversation, where the source does not say it of each message
    redacted    of the conversation, likewise
"""

import itertools
from collections.abc import Iterable, Iterator

import polars as pl

from drift.files import storable
from drift.sources.details import utc

MESSAGE = {
    "role": pl.String,
    "content": pl.String,
    "timestamp": pl.Datetime("us"),
    "toxic": pl.Boolean,  # in the eyes of the source
    "redacted": pl.Boolean,  # the source masked something
    "label": pl.String,  # of a reply: DSAT, SAT or NEUTRAL, where the source itself says so
    "evidence": pl.List(pl.String),  # what the label rests on
    "comment": pl.String,  # what the user wrote about this reply, outside of the chat
    "unseen": pl.Boolean,  # of a reply: whoever answered later saw neither it nor the message before it
    "flags": pl.List(pl.String),  # oddities that the reader has seen or fixed
}
CONVERSATION = {
    "id": pl.String,
    "messages": pl.List(pl.Struct(MESSAGE)),
    "model": pl.String,
    "language": pl.String,
    "timestamp": pl.Datetime("us"),
    "user": pl.String,
    "toxic": pl.Boolean,
    "redacted": pl.Boolean,
}
# The flag of a conversation one of whose optional details cannot be read.
UNREADABLE_DETAIL = "unreadable_detail"
# Conversations in a frame: some ten megabytes of text.
ROWS = 4000


def frames(conversations: Iterable[dict]) -> Iterator[pl.DataFrame]:
    """Frames of conversations given as dicts; lone surrogates become U+FFFD."""
    cleaned = map(_clean, conversations)
    while rows := list(itertools.islice(cleaned, ROWS)):
        yield pl.DataFrame(rows, schema=CONVERSATION)


def _clean(conversation: dict) -> dict:
    texts = {name: storable(value) for name, value in conversation.items() if isinstance(value, str)}
    texts["timestamp"] = utc(conversation.get("timestamp"))
    return conversation | texts | {"messages": [_clean_message(message) for message in conversation["messages"]]}


def _clean_message(message: dict) -> dict:
    texts = {name: storable(message[name]) for name in ("role", "content", "comment") if isinstance(message.get(name), str)}
    texts["timestamp"] = utc(message.get("timestamp"))
    if texts["content"] != message["content"]:
        texts["flags"] = [*(message.get("flags") or ()), "lone_surrogate"]
    if message.get("evidence"):
        texts["evidence"] = [storable(item) for item in message["evidence"]]
    return message | texts
