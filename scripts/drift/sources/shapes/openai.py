"""A conversation a record, with the messages of OpenAI's chat API: what drift.sources.logs reads
as it is."""

NAME = "OpenAI messages"
KEYS = "messages"


def fits(record: dict) -> bool:
    """Whether the record has the keys of this shape."""
    return "messages" in record


def read(record: dict) -> dict:
    """The record itself."""
    return record
