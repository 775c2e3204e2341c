"""Texts and rows for tables that are written by hand.

Some texts are hostile: what a conversation says must not act in a page or a query.
"""

from pathlib import Path

import dataframely as dy
import numpy as np
import polars as pl

from drift import tables

HOSTILE = (
    "<script>alert(1)</script>",
    "</div></main></html><img src=x onerror=alert(2)>",
    "{{7*7}} {% for x in y %} ${6*6}",
    "مرحبا، لماذا لم تجب عن سؤالي؟ \u202egnp.exe",
    "😀 it's \"quoted\" & 'single' <b onclick='x'>bold</b> \x00\x1b[31m",
    "<svg/onload=alert(3)> <a href='javascript:alert(4)'>x</a> <!-- ",
)
WORDS = [
    "the",
    "model",
    "answered",
    "a",
    "question",
    "about",
    "code",
    "tables",
    "rivers",
    "and",
    "why",
    "they",
    "bend",
    "so",
    "slowly",
    "over",
    "time",
]


def some_text(random: np.random.Generator, words: int = 25) -> str:
    """Some words; half of the time after a hostile text."""
    text = " ".join(random.choice(WORDS, words))
    return f"{HOSTILE[random.integers(len(HOSTILE))]} {text}" if random.random() < 0.5 else text


def chat(*contents: str) -> list[dict]:
    """Messages of user and assistant in turn."""
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


def write(rows: list[dict], schema: type[dy.Schema], path: Path) -> None:
    """Write a table; columns that the rows leave out are null."""
    tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, path)
