"""Where conversations come from: one reader a kind of source, and what all of them share.

A reader is a module with

    SUFFIX              of its files, where the source is a folder
    UNIT                what a file holds: records, lines, rows
    DROPS               why it drops such a unit, in the order of the ledger
    CONVERSATION_DROPS  why it drops a conversation that it has put together (none where a unit is a conversation)
    read(file, counts)  yields conversations; counts UNIT, "conversations" and its drops by name into the Counter `counts`

A conversation is a dict {"id", "messages": [{"role", "content"}]}, optionally with "model", "language", "timestamp" (a
datetime in UTC without time zone); a message may have a "timestamp" and "flags" (a list of str) of its own. A new kind of
source is one such module and one line in READERS.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from drift.cli import StageError
from drift.sources import logs, sharegpt, wildchat

READERS = {"sharegpt": sharegpt, "wildchat": wildchat, "logs": logs}

# Why `exchanges` drops a conversation, in the order of the checks.
UNKNOWN_ROLE = "a role other than system, user, assistant"
LATE_SYSTEM = "a system message after the start"
STARTS_WITH_ASSISTANT = "starts with the assistant"
NO_EXCHANGE = "no user message with a reply"
EXACT_COPY = "exact copy of another conversation"
SAME_ID = "same id as another conversation, other text"
DROPS = (UNKNOWN_ROLE, LATE_SYSTEM, STARTS_WITH_ASSISTANT, NO_EXCHANGE, EXACT_COPY, SAME_ID)

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}

_SURROGATES = re.compile("[\ud800-\udfff]")


def exchanges(conversation: dict) -> list[dict] | str:
    """The exchanges of a conversation as rows of Turns, without conversation_id and source; or why it has none."""
    messages = [_clean(message) for message in conversation["messages"]]
    if any(message["role"] is None for message in messages):
        return UNKNOWN_ROLE
    system, messages = _split_system(messages)
    if any(message["role"] == "system" for message in messages):
        return LATE_SYSTEM
    messages = _merge_neighbours(messages)
    if messages and messages[0]["role"] == "assistant":
        return STARTS_WITH_ASSISTANT
    if len(messages) < 2:
        return NO_EXCHANGE
    return [_exchange(conversation, messages, start, system) for start in range(0, len(messages), 2)]


def clean_text(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 file can hold, replaced by U+FFFD; otherwise unchanged."""
    return _SURROGATES.sub("\ufffd", text)


def _clean(message: dict) -> dict:
    content = clean_text(message["content"])
    flags = set(message.get("flags", ()))
    if content != message["content"]:
        flags.add("lone_surrogate")
    role = ROLES.get(message["role"].strip().lower())
    return {"role": role, "content": content, "flags": flags, "timestamp": message.get("timestamp")}


def _split_system(messages: list[dict]) -> tuple[str | None, list[dict]]:
    start = next((index for index, message in enumerate(messages) if message["role"] != "system"), len(messages))
    texts = [message["content"] for message in messages[:start] if message["content"].strip()]
    return "\n\n".join(texts) or None, messages[start:]


def _merge_neighbours(messages: list[dict]) -> list[dict]:
    """Messages with alternating roles: empty ones are left out, neighbours of one role become one. Both are flagged."""
    merged: list[dict] = []
    left_out: set[str] = set()
    for message in messages:
        if not message["content"].strip():
            left_out |= message["flags"] | {"empty_message"}
        elif merged and merged[-1]["role"] == message["role"]:
            last = merged[-1]
            merged_flag = "merged_user" if message["role"] == "user" else "merged_response"
            last["content"] += "\n\n" + message["content"]
            last["flags"] |= message["flags"] | left_out | {merged_flag}
            last["timestamp"] = message["timestamp"] or last["timestamp"]
            left_out = set()
        else:
            merged.append({**message, "flags": message["flags"] | left_out})
            left_out = set()
    if merged:
        merged[-1]["flags"] |= left_out
    return merged


def _digest(turns: list[dict]) -> bytes:
    said = [(turn["system"], turn["user"], turn["response"]) for turn in turns]
    return hashlib.blake2b(repr(said).encode(), digest_size=16).digest()


def _exchange(conversation: dict, messages: list[dict], start: int, system: str | None) -> dict:
    user, response, feedback = (messages[start : start + 3] + [None] * 2)[:3]
    time = (response and response["timestamp"]) or user["timestamp"] or conversation.get("timestamp")
    return {
        "turn": start // 2,
        "language": conversation.get("language"),
        "model": conversation.get("model"),
        "timestamp": time,
        "system": system if start == 0 else None,
        "user": user["content"],
        "response": response and response["content"],
        "feedback": feedback and feedback["content"],
        "source_label": None,
        "source_evidence": None,
        "user_id": None,
        "toxic": None,
        "redacted": None,
        "flags": sorted(user["flags"] | (response["flags"] if response else set())),
    }


def source_files(path: Path, reader: ModuleType) -> list[Path]:
    """`path` itself, or the reader's files in the folder `path` and below, by name. Raises StageError where there are none."""
    files = sorted(path.rglob(f"*{reader.SUFFIX}")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise StageError(f"{path}: no *{reader.SUFFIX} file there. Check the path of the source, and that it was fetched.")
    return files


class Seen:
    """The conversations so far, over all sources: a copy is dropped whichever source it came from."""

    def __init__(self) -> None:
        self.texts: set[bytes] = set()
        self.ids: set[str] = set()

    def refuse(self, conversation_id: str, turns: list[dict]) -> str | None:
        """Why this conversation is not new; None, and it is remembered, where it is."""
        digest = _digest(turns)
        if digest in self.texts:
            return EXACT_COPY
        if conversation_id in self.ids:
            return SAME_ID
        self.texts.add(digest)
        self.ids.add(conversation_id)
        return None


def read_turns(name: str, path: Path, reader: ModuleType, seen: Seen, counts: Counter) -> Iterator[list[dict]]:
    """Yield, conversation by conversation, the rows of Turns of source `name`; drops are counted by reason in `counts`."""
    for file in source_files(path, reader):
        for conversation in reader.read(file, counts):
            key = {"conversation_id": f"{name}:{clean_text(conversation['id'])}", "source": name}
            turns = exchanges(conversation)
            reason = turns if isinstance(turns, str) else seen.refuse(key["conversation_id"], turns)
            if reason:
                counts[reason] += 1
            else:
                yield [key | turn for turn in turns]
