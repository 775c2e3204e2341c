"""Thoughts of reasoning models, parted from their replies.

A thought is no part of a reply: a judge or a user never sees it, and that of a guided reply speaks
of the feedback which the policy is not to know of.
"""

OPENS, CLOSES = "<think>", "</think>"


def parted(row: dict) -> dict:
    """A row of Completions with the `thought` that its text begins with, and the `text` after it.

    A thought without an end is a reply that was cut before it began. The words stay where a reply
    only mentions them, and where an answer among choices is its first token.
    """
    text = row["text"].lstrip()
    if not text.startswith(OPENS) or row.get("choice_logprobs"):
        return row | {"thought": None}
    thought, ended, reply = text.removeprefix(OPENS).partition(CLOSES)
    cut = {} if ended or row["finish_reason"] != "stop" else {"finish_reason": "length"}
    return row | {"thought": thought.strip(), "text": reply.lstrip()} | cut
