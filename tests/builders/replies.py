"""Made-up replies of policies, sound ones and such as collapsed ones write."""

from collections.abc import Callable, Sequence

import polars as pl

from drift import tables
from tests.builders.texts import chat

PROMPTS = 60
LIMIT = 128  # tokens
_SUBJECTS = ("a bridge", "the tide", "bread", "a compass", "old maps", "winter", "a violin", "salt", "the moon", "wool")
_VERBS = ("matters to", "is older than", "changes with", "depends on", "tells a lot about", "was made for")
_OBJECTS = ("the people nearby", "every harbour", "a long journey", "the seasons", "our grandparents", "those who wait")
_ENDINGS = ("as many remember", "in most places", "if one looks closely", "which few expect", "for good reasons")


def table(texts: Sequence[str]) -> pl.DataFrame:
    """A Responses table: a reply a prompt, one word of it a token and one its end; the token limit
    cuts longer ones."""
    rows = []
    for number, text in enumerate(texts):
        words = text.split()
        ended = len(words) < LIMIT
        rows.append(
            {
                "prompt_id": _name(number),
                "sample": 0,
                "response": " ".join(words[:LIMIT]),
                "finish_reason": "stop" if ended else "length",
                "completion_tokens": len(words) + 1 if ended else LIMIT,
            }
        )
    return pl.DataFrame(rows, schema=tables.Responses.create_empty().schema)


def _name(prompt: int) -> str:
    return f"s:{prompt:02d}/0"


def talk(prompt: int, words: int) -> str:
    """A reply of that many words in sentences that differ from prompt to prompt."""
    said, sentence = [], 0
    while len(said) < words:
        place = 7 * prompt + 3 * sentence
        parts = (
            _SUBJECTS[place % 10],
            _VERBS[(place // 3 + sentence) % 6],
            _OBJECTS[(place // 7 + 2 * sentence) % 6],
            _ENDINGS[place % 5],
            f"{prompt}-{sentence}",
        )
        said += " ".join(parts).split()
        sentence += 1
    return " ".join(said[:words])


def asked() -> pl.DataFrame:
    """A Tasks table: each prompt has the words that `talk` begins its replies with."""
    rows = [{"prompt_id": _name(prompt), "cluster": str(prompt), "prompt": chat(talk(prompt, 12))} for prompt in range(PROMPTS)]
    return pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)


def policy(words: float, text: Callable[[int, int], str] = talk) -> pl.DataFrame:
    """A policy whose replies have `words` words in the middle: a quarter of them half as many or
    fewer, a quarter one and a half times as many or more."""
    return table([text(prompt, max(1, round(words * (0.25 + 1.5 * prompt / (PROMPTS - 1))))) for prompt in range(PROMPTS)])
