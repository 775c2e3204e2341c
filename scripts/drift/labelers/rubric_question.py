"""What a rubric labeler's model is asked, and what it may answer.

Rules read the schema and the decoding, so this module imports the standard library alone.
"""

import re

KIND = "label"  # of the requests

# Four ways of being unhappy with a reply and one of being pleased (Don-Yehiya et al. 2024), with
# the label that each amounts to.
CATEGORIES = {
    "rephrase": "DSAT",
    "correction": "DSAT",
    "complaint": "DSAT",
    "clarification": "DSAT",
    "praise": "SAT",
    "none": "NEUTRAL",
}
SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"enum": list(CATEGORIES)},
        "quote": {"type": "string"},
        "rightly_declined": {"type": "boolean"},
    },
    "required": ["category", "quote", "rightly_declined"],
    "additionalProperties": False,
}
# An answer is one line of JSON with a quote. The likeliest one: a label is not a matter of taste.
DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 256}

# The tags of scripts/templates/rubric.txt: others' text must not end its own.
TAGS = ("<conversation>", "</conversation>", "<last_reply>", "</last_reply>", "<next_message>", "</next_message>")


def question(template: str, before: list[dict[str, str]], reply: str, feedback: str) -> list[dict[str, str]]:
    """The chat that asks about `reply`: `template` with the conversation `before` it, the reply and
    the user's `feedback` put in. All in one pass, so that braces in them stay text."""
    conversation = "\n\n".join(f"{message['role'].upper()}: {message['content']}" for message in before)
    values = {"conversation": conversation, "reply": reply, "feedback": feedback}
    filled = re.sub(r"\{(conversation|reply|feedback)\}", lambda match: values[match[1]], template)
    return [{"role": "user", "content": filled}]
