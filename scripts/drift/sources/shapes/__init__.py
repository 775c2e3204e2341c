"""The shapes that chat logs come in, each told by the keys of its records.

A shape is a module with

    NAME          for people
    KEYS          what it is told by, for people
    fits(record)  whether a record has these keys
    read(record)  a conversation as drift.sources.logs takes it; or one Call of a model, several of
                  which make a conversation (calls.py); or why the record holds neither, one of
                  REASONS

A new shape is such a module and its place in SHAPES.
"""

from types import ModuleType

from drift.sources.shapes import langfuse, langsmith, litellm, open_webui, openai, request_response, sharegpt
from drift.sources.shapes.base import NO_REPLY, STEP

# The first that fits counts: LiteLLM's records have messages as well.
SHAPES = (request_response, litellm, open_webui, langsmith, langfuse, sharegpt, openai)
REASONS = (NO_REPLY, STEP)


def shape_of(record: dict) -> ModuleType | None:
    """The shape of a record, None where no shape has its keys."""
    return next((shape for shape in SHAPES if shape.fits(record)), None)


def known() -> str:
    """All shapes with the keys that tell them."""
    return "; ".join(f"{shape.NAME} ({shape.KEYS})" for shape in SHAPES)
