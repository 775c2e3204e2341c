"""WildFeedback's satisfaction annotations (sat_dsat_annotation.json), put on the WildChat
conversations that they are about.

The file is one JSON array of utterances, 1.6 GB, and is streamed. UtteranceId starts at 0 in every
conversation, and nothing else tells conversations apart; which of WildChat's it is, only the texts
say: it is the one with the same user messages in the same order. An annotation of a user's message
judges the reply before it.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import ijson
import polars as pl

from drift.cli import StageError
from drift.sources import wildchat
from drift.sources.conversations import frames

SUFFIXES = (".json",)
UNIT = "annotated conversations"
NO_TEXT = "a user message without text"
TWICE = "same user messages as another annotated conversation"
UNMATCHED = "no WildChat conversation with these user messages"
AMBIGUOUS = "several WildChat conversations with these user messages, but other replies"
DROPS = (NO_TEXT, TWICE, UNMATCHED, AMBIGUOUS)
CONVERSATION_DROPS = ()
# The reader of what is annotated: `conversations` of the source.
CONVERSATIONS = wildchat

_FLAGS = {"Satisfaction": "SAT", "Disatisfaction": "DSAT"}  # the misspellings are the file's
_REASONS = {"SAT": "Satisfaction-Justificiation", "DSAT": "Dissatisfaction-Justificiation"}
_NEEDED = ("UtteranceId", "Role", "Content", *_FLAGS)
_ABSENT = ("", "n/a", "na", "none", "null")
_YES, _NO = ("true", "yes", "1"), ("false", "no", "0")

# A label (None: nothing is said of the reply) and what it rests on.
Judgment = tuple[str | None, list[str]]


def read(files: list[Path], counts: Counter, shards: list[Path]) -> Iterator[pl.DataFrame]:
    """Yield the annotated conversations as WildChat (`shards`) has them, each reply with its label.

    WildChat is read twice: to find which of its conversations each annotated one is, and to yield
    those that are only one. Raises StageError where it is not clear which role's annotations count,
    or where nothing matches.
    """
    judged = read_annotations(files, counts)
    replies: dict[bytes, set[bytes]] = defaultdict(set)
    for key, row in _keyed(shards, judged):
        replies[key].add(_digest(message["content"] for message in row["messages"]))
    counts[UNMATCHED] += len(judged.keys() - replies.keys())
    counts[AMBIGUOUS] += sum(len(found) > 1 for found in replies.values())
    if not replies:
        raise StageError(
            f"{files[0]}: none of {len(judged)} annotated conversations has the user messages of a WildChat conversation in "
            f"{shards[0].parent}. Check that `conversations` is WildChat-1M, all shards of it."
        )
    clear = {key: judged[key] for key, found in replies.items() if len(found) == 1}
    yield from frames(_conversations_of(clear, shards, counts))


def _conversations_of(clear: dict[bytes, list[Judgment]], shards: list[Path], counts: Counter) -> Iterator[dict]:
    for key, row in _keyed(shards, clear):
        counts["conversations"] += 1
        yield labelled(row, clear[key])


def read_annotations(files: list[Path], counts: Counter) -> dict[bytes, list[Judgment]]:
    """The annotations of the reply to each user message, by key of the conversation's user
    messages.

    Raises StageError as `read` does, and where a file is not one of annotations.
    """
    judged: dict[bytes, dict[str, list[Judgment]]] = {}
    carried = Counter()
    for utterances in _conversations(files):
        counts[UNIT] += 1
        users = [utterance for utterance in utterances if utterance["Role"] == "User"]
        agents = [utterance for utterance in utterances if utterance["Role"] == "Agent"]
        if not users or not all(isinstance(user["Content"], str) for user in users):
            counts[NO_TEXT] += 1
            continue
        key = _digest(text for user in users if (text := user["Content"].strip()))
        if key in judged:
            counts[TWICE] += 1
            continue
        by_user = [judgment(user) for user in users if user["Content"].strip()]
        by_agent = [judgment(agent) for agent in agents]
        carried["User"] += any(_says(user) for user in users)
        carried["Agent"] += any(_says(agent) for agent in agents)
        # An annotation of the agent's that only copies the one of the user's before adds nothing.
        carried["own"] += by_agent != [judgment(user) for user in users][: len(by_agent)]
        judged[key] = {"User": [*by_user[1:], (None, [])], "Agent": by_agent}
    return {key: by_role[_role(carried, files[0])] for key, by_role in judged.items()}


def _role(carried: Counter, file: Path) -> str:
    """Whose utterances carry the annotations."""
    if not carried["User"] and not carried["Agent"]:
        raise StageError(f"{file}: no utterance has {' or '.join(_FLAGS)} set: nothing is annotated. Fetch the file again.")
    if carried["User"] and carried["own"] and carried["Agent"]:
        raise StageError(
            f"{file}: utterances of User and of Agent are annotated, and differently in {carried['own']} conversations, so it is "
            "not clear which reply an annotation judges. Keep the annotations of one role."
        )
    return "User" if carried["User"] else "Agent"


def _conversations(files: list[Path]) -> Iterator[list[dict]]:
    for file in files:
        conversation: list[dict] = []
        for place, utterance in enumerate(_utterances(file)):
            if not isinstance(utterance, dict) or not utterance.keys() >= set(_NEEDED):
                found = ", ".join(utterance) if isinstance(utterance, dict) else type(utterance).__name__
                raise StageError(f"{file}: element {place} lacks one of {', '.join(_NEEDED)}; it has: {found}. Check the file.")
            if utterance["Role"] not in ("User", "Agent"):
                raise StageError(
                    f"{file}: element {place} has the role '{utterance['Role']}', not User or Agent. Check the file."
                )
            if utterance["UtteranceId"] == 0 and conversation:
                yield conversation
                conversation = []
            conversation.append(utterance)
        if conversation:
            yield conversation


def _utterances(file: Path) -> Iterator[object]:
    with file.open("rb") as array:
        try:
            yield from ijson.items(array, "item", use_float=True)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise StageError(f"{file}: not a whole JSON array: {error}. Fetch the file again.") from error


def judgment(utterance: dict) -> Judgment:
    """What an annotation amounts to. Where a user was both satisfied and not, DSAT counts."""
    flags = {label: _flag(utterance[name]) for name, label in _FLAGS.items()}
    if _flag(utterance.get("Preceeding")) == (False, []) or not any(said for said, _ in flags.values()):
        return ("NEUTRAL" if _says(utterance) and _flag(utterance.get("Preceeding")) != (False, []) else None), []
    evidence = [
        f"{label}: {reason}"
        for label, (said, items) in flags.items()
        if said
        for reason in [*items, str(utterance.get(_REASONS[label]) or "").strip()]
        if reason
    ]
    return ("DSAT" if flags["DSAT"][0] else "SAT"), evidence


def _says(utterance: dict) -> bool:
    return any(_flag(utterance[name])[0] is not None for name in _FLAGS)


def _flag(value: object) -> tuple[bool | None, list[str]]:
    """Whether a field is set (None: it is absent), and the rubric items that it names, if any."""
    if isinstance(value, list):
        return (bool(value) or None), [str(item) for item in value]
    text = "" if value is None else str(value).strip()
    if text.lower() in _ABSENT:
        return None, []
    if text.lower() in _YES + _NO:
        return text.lower() in _YES, []
    return True, [text]


def _keyed(shards: list[Path], wanted: Iterable[bytes]) -> Iterator[tuple[bytes, dict]]:
    """WildChat's conversations whose user messages have a `wanted` key, each with its key."""
    said = pl.element().filter(pl.element().struct.field("role") == "user").struct.field("content").drop_nulls()
    for rows in wildchat.read(shards, Counter()):
        texts = rows.select(pl.col("messages").list.eval(said)).to_series().to_list()
        keys = [_digest(stripped for text in said or () if (stripped := text.strip())) for said in texts]
        found = [place for place, key in enumerate(keys) if key in wanted]
        for place, row in zip(found, rows[found].to_dicts(), strict=True):
            # A message without role or text: the exchanges could not be compared.
            if all(message and message["role"] and message["content"] is not None for message in row["messages"]):
                yield keys[place], row


def _digest(texts: Iterable[str | None]) -> bytes:
    return hashlib.sha256(repr(list(texts)).encode("utf-8", "surrogatepass")).digest()


def labelled(conversation: dict, judgments: list[Judgment]) -> dict:
    """The conversation, with the n-th judgment on the reply to the n-th user message that has
    text."""
    messages, asked = [], -1
    for message in conversation["messages"]:
        asked += message["role"] == "user" and message["content"].strip() != ""
        label, evidence = judgments[asked] if 0 <= asked < len(judgments) else (None, [])
        messages.append(message | ({"label": label, "evidence": evidence} if message["role"] == "assistant" and label else {}))
    return conversation | {"messages": messages}
