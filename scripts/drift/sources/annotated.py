"""Which WildChat conversation each annotated one is, and which of its replies were judged.

Annotations name no conversation, and their texts went through another anonymiser, so that texts
with names in them differ. A conversation is looked up by any message that is the same in both; it
is the one if all of its user messages are (scrubbed.py), and has the label of every reply that is
the judged one. Of several, the one with most such replies.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.sources import wildchat
from drift.sources.scrubbed import PLACEHOLDER, Fingerprint, are_same, fingerprints

UNMATCHED = "no WildChat conversation with these user messages"
OTHER_REPLIES = "a WildChat conversation with these user messages, but none of these replies"
TWICE = "the same WildChat conversation as another annotated one"
DROPS = (UNMATCHED, OTHER_REPLIES, TWICE)
# Why an annotation labels no reply.
LEFT_OUT = "in a conversation that was left out"
NOT_JUDGED = "the reply in WildChat is another text"

# Messages of fewer words are in many conversations.
DISTINCTIVE = 8
# Annotated conversations that are worked on at once.
CONVERSATIONS = 2000


@dataclass
class Exchange:
    """A user's message, the replies to it (as a rule one), and what is said of them."""

    user: str
    replies: list[str] = field(default_factory=list)
    label: str | None = None
    evidence: list[str] = field(default_factory=list)

    @property
    def reply(self) -> str:
        """The replies as one text."""
        return "\n\n".join(self.replies)


@dataclass
class Annotated:
    """What is kept of an annotated conversation, exchange by exchange, and where it was found."""

    users: list[Fingerprint]
    replies: list[Fingerprint]
    judged: list[tuple[str | None, list[str]]]
    row: int | None = None  # of WildChat, with these user messages
    same: np.ndarray | None = None  # which of the replies are there

    @property
    def labels(self) -> int:
        """How many of the replies are labelled."""
        return sum(label is not None for label, _ in self.judged)


def joined(conversations: Iterable[list[Exchange]], shards: list[Path], file: Path, counts: Counter) -> Iterator[dict]:
    """The WildChat conversations that are annotated, with labels. WildChat is read twice: to find
    them, and to yield them. Raises StageError where there is none."""
    known, keys = remember(conversations)
    for first, rows in _numbered(shards):
        for row, place, same in _found(rows, known, keys):
            _take(known[place], first + row, same)
    by_row: dict[int, Annotated] = {}
    for one in known:
        reason = _reason(one, by_row)
        if reason:
            counts[reason] += 1
            counts[LEFT_OUT] += one.labels
        else:
            by_row[one.row] = one
    if not by_row:
        raise StageError(
            f"{file}: none of {len(known)} annotated conversations has the user messages and replies of a WildChat conversation "
            f"in {shards[0].parent}. Check that `conversations` is WildChat-1M, all shards of it."
        )
    for first, rows in _numbered(shards):
        wanted = [row for row in range(rows.height) if first + row in by_row]
        for row, conversation in zip(wanted, rows[wanted].to_dicts(), strict=True):
            counts["conversations"] += 1
            yield _labelled(conversation, by_row[first + row], counts)


def _reason(one: Annotated, by_row: dict[int, Annotated]) -> str | None:
    """Why a conversation is left out."""
    if one.row is None:
        return UNMATCHED
    if not one.same.any():
        return OTHER_REPLIES
    return TWICE if one.row in by_row else None


def remember(conversations: Iterable[list[Exchange]]) -> tuple[list[Annotated], pl.DataFrame]:
    """What is kept of annotated conversations, and by which messages each is looked up: known (its
    place) and key."""
    known: list[Annotated] = []
    parts = [pl.DataFrame(schema={"known": pl.Int64, "key": pl.UInt64})]
    conversations = iter(conversations)
    while some := list(itertools.islice(conversations, CONVERSATIONS)):
        parts.append(_keys_of(some, len(known)))
        prints = iter(fingerprints([text for said in some for one in said for text in (one.user, one.reply)]))
        for said in some:
            both = [(next(prints), next(prints)) for _ in said]
            judged = [(one.label, one.evidence) for one in said]
            known.append(Annotated([user for user, _ in both], [reply for _, reply in both], judged))
    return known, pl.concat(parts)


def _keys_of(conversations: Iterable[list[Exchange]], first: int) -> pl.DataFrame:
    rows = [
        (known, role, number, text)
        for known, said in enumerate(conversations, first)
        for number, one in enumerate(said)
        for role, text in (("user", one.user), ("assistant", one.reply))
    ]
    schema = {"known": pl.Int64, "role": pl.String, "number": pl.Int64, "text": pl.String}
    texts = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("text").str.strip_chars())
    whole = texts.filter(pl.col("text") != "", ~pl.col("text").str.contains(PLACEHOLDER.pattern))
    words = pl.col("text").str.count_matches(r"\S+")
    # Where all are short, the longest of the user's and of the replies.
    return whole.filter((words >= DISTINCTIVE) | (words == words.max().over("known", "role"))).select("known", key=_key())


def _key() -> pl.Expr:
    """Of a message (role, number, text). It changes with the version of polars, and is in no
    file."""
    return pl.struct("role", pl.col("number").cast(pl.Int64), "text").hash(1)


def _numbered(shards: list[Path]) -> Iterator[tuple[int, pl.DataFrame]]:
    """WildChat's conversations, and how many came before."""
    first = 0
    for rows in wildchat.read(shards, Counter()):
        yield first, rows
        first += rows.height


def _found(rows: pl.DataFrame, known: list[Annotated], keys: pl.DataFrame) -> Iterator[tuple[int, int, np.ndarray]]:
    """Rows that have the user messages of a known conversation: row, place of the known one, and
    which of its replies are there."""
    pairs = _pairs(rows, keys)
    wanted = pairs["row"].unique().to_list()
    said = dict(zip(wanted, map(_exchanges, rows["messages"][wanted].to_list()), strict=True))
    alike = [(row, of) for row, of in pairs.rows() if len(said[row]) == len(known[of].users)]
    users = _compared([known[of].users for _, of in alike], [[one.user for one in said[row]] for row, _ in alike])
    alike = [pair for pair, same in zip(alike, users, strict=True) if same.all()]
    replies = [[one.reply for one in said[row]] for row, _ in alike]
    there = _compared([known[of].replies for _, of in alike], replies)
    for (row, of), texts, same in zip(alike, replies, there, strict=True):
        yield row, of, same & [text.strip() != "" for text in texts]


def _pairs(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Rows and known conversations that share a message."""
    messages = rows.select(row=pl.int_range(pl.len()), message="messages").explode("message", empty_as_null=False)
    messages = messages.select(
        "row", **{name: pl.col("message").struct.field(name) for name in ("role", "content")}
    ).with_columns(text=pl.col("content").str.strip_chars())
    # A message without role or text: the exchanges could not be compared.
    whole = messages.filter(pl.all_horizontal(pl.col("role", "content").is_not_null()).all().over("row"))
    whole = whole.filter(pl.col("text") != "")
    whole = whole.with_columns(number=(pl.col("role") == "user").cum_sum().over("row") - 1)
    return whole.select("row", key=_key()).join(keys, on="key").select("row", "known").unique().sort("row", "known")


def _exchanges(messages: list[dict]) -> list[Exchange]:
    said: list[Exchange] = []
    for message in messages:
        if message["role"] == "user" and message["content"].strip():
            said.append(Exchange(message["content"]))
        elif message["role"] == "assistant" and message["content"].strip() and said:
            said[-1].replies.append(message["content"])
    return said


def _compared(known: list[list[Fingerprint]], texts: list[list[str]]) -> list[np.ndarray]:
    """`are_same` of lists of texts, list by list."""
    same = are_same([one for some in known for one in some], [text for some in texts for text in some])
    return np.split(same, np.cumsum([len(some) for some in texts])[:-1]) if texts else []


def _take(one: Annotated, row: int, same: np.ndarray) -> None:
    """Take the row for the conversation if it has more of its replies than the one before."""
    if one.same is None or same.sum() > one.same.sum():
        one.row, one.same = row, same


def _labelled(conversation: dict, one: Annotated, counts: Counter) -> dict:
    """The conversation, with the label of every reply that is the judged one."""
    given = [(label, evidence) if same else (None, []) for (label, evidence), same in zip(one.judged, one.same, strict=True)]
    labels = sum(label is not None for label, _ in given)
    counts["labels"] += labels
    counts[NOT_JUDGED] += one.labels - labels
    messages, asked = [], -1
    for message in conversation["messages"]:
        asked += message["role"] == "user" and message["content"].strip() != ""
        label, evidence = given[asked] if asked >= 0 else (None, [])
        messages.append(message | ({"label": label, "evidence": evidence} if message["role"] == "assistant" and label else {}))
    return conversation | {"messages": messages}
