"""A conversation a record as ShareGPT has them, {"id", "conversations": [{"from", "value"}]}, as
trainers read it (https://huggingface.co/docs/trl/dataset_formats,
https://docs.axolotl.ai/docs/dataset-formats/conversation.html).

The slices of the first ShareGPT files are put together by kind sharegpt (drift.sources.sharegpt).
"""

NAME = "ShareGPT"
KEYS = "conversations"


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "conversations" in record


def read(record: dict) -> dict:
    """The conversation, its messages in OpenAI's words."""
    said = record["conversations"]
    messages = [in_openai_words(part) for part in said] if isinstance(said, list) else None
    named = {"id": record["conversation_id"]} if "conversation_id" in record else {}
    return named | record | {"messages": messages}


def in_openai_words(part: object) -> object:
    """A message with `role` and `content`, None where it has neither these nor `from` and `value`;
    what is no message as it is."""
    if not isinstance(part, dict):
        return part
    content = part.get("value", part.get("content"))
    return {**part, "role": part.get("from", part.get("role")), "content": content}
