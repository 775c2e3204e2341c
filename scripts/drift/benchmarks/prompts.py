"""Prompts of your own: JSON Lines, one task a line.

{"id": "1", "prompt": "Why is the sky blue?", "baseline": "Because air scatters blue light more than
red."}

"messages" (a list of {"role", "content"} that ends with the user's) in place of "prompt" where
there are several turns. Optional: "baseline" (the answer to compare with), "checklist" (a list of
texts that judges are shown), "categories" (a list of texts).
"""

from drift.benchmarks.records import Judging, clean, conversation, identity, single_turn, texts

JUDGING = Judging("letter")
SIZE = None
FILES = ("path", "baseline", "references")


def key(record: dict) -> str:
    """The line's id."""
    return identity(record, "id")


def task(record: dict) -> dict:
    """A line as a task."""
    if (record.get("prompt") is None) == (record.get("messages") is None):
        raise ValueError("give either prompt (a text) or messages (a list)")
    alone = record.get("messages") is None
    return {
        "prompt": single_turn(record["prompt"], "prompt") if alone else conversation(record["messages"], "messages"),
        "baseline": clean(record["baseline"], "baseline") if record.get("baseline") is not None else None,
        "checklist": texts(record.get("checklist"), "checklist"),
        "categories": texts(record.get("categories"), "categories"),
    }
