"""Records of task files and of files of answers, read with care: what is not what it should be is a
ValueError that says so."""

from collections.abc import Iterable
from dataclasses import dataclass

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Judging:
    """How a benchmark was published to be judged: the verdict (drift.verdicts), which answer is
    shown first, and what the two answers are called."""

    verdict: str
    order: str = "both"
    letters: tuple[str, str] = ("A", "B")


def clean(text: object, field: str) -> str:
    """`text`, which must be a string; lone surrogates, which no UTF-8 file can hold, become
    question marks."""
    if not isinstance(text, str):
        raise ValueError(f"{field} is not a string")
    return text.encode("utf-8", "replace").decode()


def identity(record: dict, *fields: str) -> str:
    """The first of `fields` that the record has, as a key."""
    for field in fields:
        value = record.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return clean(str(value), field)
    raise ValueError(f"no {' or '.join(fields)}")


def conversation(messages: object, field: str) -> Messages:
    """`messages` with role and content alone. They end with the user's; a system message may only
    be the first."""
    if not isinstance(messages, Iterable) or isinstance(messages, str | dict):
        raise ValueError(f"{field} is not a list of messages")
    if not all(isinstance(message, dict) for message in messages):
        raise ValueError(f"{field} holds something that is not a message with role and content")
    kept = [
        {"role": message.get("role"), "content": clean(message.get("content"), f"a content of {field}")} for message in messages
    ]
    if not kept or kept[-1]["role"] != "user" or not kept[-1]["content"].strip():
        raise ValueError(f"{field} does not end with a message of the user")
    if any(message["role"] not in ("user", "assistant") for message in kept[kept[0]["role"] == "system" :]):
        raise ValueError(f"{field} has a role other than user and assistant after its start")
    return kept


def single_turn(text: object, field: str) -> Messages:
    """The conversation that a lone prompt is."""
    return conversation([{"role": "user", "content": clean(text, field)}], field)


def texts(values: object, field: str) -> list[str] | None:
    """A list of texts, None where there is none or it is empty."""
    if values is None:
        return None
    if isinstance(values, str | dict) or not isinstance(values, Iterable):
        raise ValueError(f"{field} is not a list of texts")
    return [clean(value, f"an item of {field}") for value in values] or None


def answer_text(record: dict) -> str:
    """The answer in a record of a file of answers, in any of the layouts that published files have.

    "response" or "output" (a text, or a list whose first item is the answer), "messages" whose last
    one is the assistant's answer, or FastChat's "choices".
    """
    value = next((record[field] for field in ("response", "output") if record.get(field) is not None), None)
    if value is None and record.get("messages"):
        last = record["messages"][-1]
        if last.get("role") != "assistant":
            raise ValueError(f"messages end with the {last.get('role')}'s, not with an answer of the assistant")
        value = last.get("content")
    if value is None and record.get("choices"):
        value = record["choices"][0]["turns"][0]
    while isinstance(value, list | dict) and value:
        value = value[0] if isinstance(value, list) else value.get("content", value.get("answer"))
    return clean(value, "the answer (response, output, messages or choices)")
