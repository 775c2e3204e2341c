"""Configurations for tests: one with what has no default, and how it is refused."""

import pytest
import yaml

from drift.config import ConfigError, load

MINIMAL = """
run: small
models: {llama: {path: /models/llama}}
recipes:
  drift: {prompts: dsat, chosen: guided, rejected: logged}
data:
  sources: {chats: {kind: logs, path: /logs.jsonl}}
  labelers: {lexical: {kind: lexical}}
  labeler: lexical
evaluation:
  benchmarks: {heldout: {kind: heldout}}
  judge: llama
  judges: {llama: {path: /models/llama}}
"""


def minimal(**sections) -> dict:
    """A configuration with what has no default, and `sections` set."""
    return yaml.safe_load(MINIMAL) | sections


def refusal(values: dict) -> str:
    """The message with which `values` are refused."""
    with pytest.raises(ConfigError) as error:
        load(values)
    return str(error.value)


ENDPOINT = {"url": "https://api.example.org/v1", "model": "judge-1"}
