"""Columns that several tables share."""

from collections.abc import Iterable

import dataframely as dy

ROLES = ("system", "user", "assistant")
LABELS = ("DSAT", "SAT", "NEUTRAL")
SPLITS = ("train", "test")
POOLS = ("dsat", "sat", "corrections", "wordless")


def messages(description: str, *, nullable: bool = False) -> dy.List:
    message = dy.Struct({"role": dy.String(nullable=False), "content": dy.String(nullable=False)})
    return dy.List(message, nullable=nullable, description=description)


def choice_logprobs(description: str) -> dy.List:
    answer = dy.Struct({"choice": dy.String(), "logprob": dy.Float64()})
    return dy.List(answer, nullable=True, description=description)


def one_of(values: Iterable[str], description: str, **options) -> dy.String:
    return dy.String(check=lambda column: column.is_in(list(values)), description=description, **options)
