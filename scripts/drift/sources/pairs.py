"""Published preference pairs: a prompt, the reply that was preferred, and the one that was not.

Files are JSON (an array of records, or one record), JSON Lines or Parquet. A record has `chosen`
and `rejected`, and what both answer in `prompt` or `conversations`: as WildFeedback's pairs
(microsoft/WildFeedback, wildfeedback.json) and as TRL takes them
(https://huggingface.co/docs/trl/dataset_formats). Each is text, a message or a list of messages,
which are {role, content} or {from, value}. A list of chosen or rejected may have the prompt before
the reply, and then a record needs no other. Optional are `id`, and what kind logs knows of a
conversation: model, language, timestamp, user.

Nobody said a word of either reply, and none is made up:

    ...        what was said before
    user       the prompt
    assistant  the rejected reply: DSAT
    user       the prompt again: whoever answers has not seen the reply
    assistant  the chosen reply: SAT
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from drift.sources import details
from drift.sources.conversations import UNREADABLE_DETAIL, frames
from drift.sources.exchanges import role_of
from drift.sources.files import is_array, is_lines, json_document, json_lines, suffix
from drift.sources.parquet import parquet_rows
from drift.sources.shapes.sharegpt import in_openai_words
from drift.sources.sharegpt import CUT_OFF, UNIT, decode_records

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
NOT_A_PAIR = "not a JSON object with a prompt, a chosen and a rejected reply"
EMPTY = "a reply without text"
SAME = "chosen and rejected are the same text"
OTHER_PROMPT = "chosen and rejected do not answer the same prompt"
BAD_PROMPT = "a prompt whose messages do not alternate from user to user, each with text"
DROPS = (CUT_OFF, NOT_A_PAIR, EMPTY, SAME, OTHER_PROMPT, BAD_PROMPT)
CONVERSATION_DROPS = ()

_LABELS = {"rejected": "DSAT", "chosen": "SAT"}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield a conversation for every pair. Raises StageError where a file is damaged."""
    return frames(conversation for file in files for conversation in _conversations(file, counts))


def _conversations(file: Path, counts: Counter) -> Iterator[dict]:
    for record in _records(file, counts):
        conversation = converse(record)
        if isinstance(conversation, str):
            counts[conversation] += 1
        else:
            counts["conversations"] += 1
            yield conversation


def _records(file: Path, counts: Counter) -> Iterator[object]:
    kind = suffix(file)
    if kind != ".parquet" and is_array(file):
        yield from decode_records(file, counts)  # which counts them
        return
    if kind == ".parquet":
        records: Iterable[object] = parquet_rows(file)
    else:
        records = [json_document(file)] if kind == ".json" and not is_lines(file) else json_lines(file)
    for record in records:
        counts[UNIT] += 1
        yield record


def converse(record: object) -> dict | str:
    """The conversation of a record, or the reason (of DROPS) why it makes none."""
    if not isinstance(record, dict):
        return NOT_A_PAIR
    prompt = _messages(record.get("conversations", record.get("prompt")), "user")
    sides = {side: _messages(record.get(side), "assistant") for side in _LABELS}
    if prompt is None or not all(side and side[-1]["role"] == "assistant" for side in sides.values()):
        return NOT_A_PAIR
    texts = {side: messages[-1]["content"] for side, messages in sides.items()}
    if not all(text.strip() for text in texts.values()):
        return EMPTY
    if texts["chosen"].strip() == texts["rejected"].strip():
        return SAME
    history, other = (_history(prompt, messages[:-1]) for messages in sides.values())
    if history is None or history != other:
        return OTHER_PROMPT
    if not history:
        return NOT_A_PAIR
    if not _alternates(history):
        return BAD_PROMPT
    *before, asked = history
    replies = [_reply(side, text) for side, text in texts.items()]
    replies[0]["unseen"] = True
    messages = [*before, asked, replies[0], dict(asked), replies[1]]
    known, unreadable = details.of_conversation(record)
    if unreadable:
        messages[0]["flags"] = [UNREADABLE_DETAIL]
    name = details.name(record["id"]) if "id" in record else details.by_contents(messages)
    return {"id": name, "messages": messages} | known


def _messages(value: object, role: str) -> list[dict] | None:
    """A text of `role`, a message or a list of messages as messages with a role of ours (None: one
    that we do not know); no messages where there is nothing, None where one is malformed."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    messages = [value] if isinstance(value, dict) else [] if value is None else value
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return None
    said = [(message["role"], message["content"]) for message in map(in_openai_words, messages)]
    if not all(isinstance(part, str) for message in said for part in message):
        return None
    return [{"role": role_of(name), "content": text} for name, text in said]


def _history(prompt: list[dict], own: list[dict]) -> list[dict] | None:
    """What a reply answers: the prompt, or the messages before the reply in its `own` list, which
    end with the prompt; None where they end otherwise."""
    if not own:
        return prompt
    return own if own[len(own) - len(prompt) :] == prompt else None


def _alternates(history: list[dict]) -> bool:
    spoken = history[1:] if history and history[0]["role"] == "system" else history
    roles = [message["role"] for message in spoken]
    alternating = ["user", "assistant"] * (len(roles) // 2) + ["user"]
    return roles == alternating and all(message["content"].strip() for message in spoken)


def _reply(side: str, text: str) -> dict:
    return {"role": "assistant", "content": text, "label": _LABELS[side], "evidence": [f"{side} in a published pair"]}
