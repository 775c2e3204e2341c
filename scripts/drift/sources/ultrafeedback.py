"""UltraFeedback, full (JSON Lines, four rated completions a prompt) or binarized (Parquet, two).

Nobody was dissatisfied here, so a conversation is made of the ratings. How the paper did it is not
known; this is ours:

    user       the prompt
    assistant  the completion with the lowest overall score          DSAT; feedback: its critique
    user       the prompt again: whoever answers has not seen the completion
    assistant  the completion with the highest overall score         SAT; feedback: its critique

Both completions were written for the bare prompt, so that is the prompt of both. Of completions
with equal scores the first counts. The binarized set has no critiques: its score in words takes the
place of one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from drift.sources import details
from drift.sources.conversations import frames
from drift.sources.files import json_lines, suffix
from drift.sources.parquet import parquet_frames

SUFFIXES = (".jsonl", ".ndjson", ".parquet")
UNIT = "prompts"
NOT_JSON = "not a JSON object with instruction and completions"
NO_RATING = "fewer than two completions with text and overall score"
ALIKE = "all completions rated alike"
DROPS = (NOT_JSON, NO_RATING, ALIKE)
CONVERSATION_DROPS = ()

_BINARIZED = {
    "prompt": pl.String,
    "prompt_id": pl.String,
    "score_chosen": pl.Float64,
    "score_rejected": pl.Float64,
    "chosen.content": pl.String,
    "rejected.content": pl.String,
}


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield a conversation of two exchanges for every prompt.

    Raises StageError where a Parquet file is damaged or lacks a column.
    """
    return frames(conversation for file in files for conversation in _conversations(file, counts))


def _conversations(file: Path, counts: Counter) -> Iterator[dict]:
    rated = _binarized(file) if suffix(file) == ".parquet" else _full(file)
    for key, prompt, completions in rated:
        counts[UNIT] += 1
        conversation = converse(key, prompt, completions)
        if isinstance(conversation, str):
            counts[conversation] += 1
        else:
            counts["conversations"] += 1
            yield conversation


def _full(file: Path) -> Iterator[tuple]:
    for record in json_lines(file):
        try:
            prompt, completions = record["instruction"], [dict(completion) for completion in record["completions"]]
            # Prompts have no id here. The binarized set makes its ids in this way.
            yield hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest(), prompt, completions
        except (ValueError, TypeError, KeyError, AttributeError):
            yield None, None, []


def _binarized(file: Path) -> Iterator[tuple]:
    for rows in parquet_frames(file, _BINARIZED, {"prompt_id": details.name}):
        for row in rows.iter_rows(named=True):
            sides = [(row["rejected"], row["score_rejected"]), (row["chosen"], row["score_chosen"])]
            completions = [
                {"response": (messages or [{"content": None}])[-1]["content"], "overall_score": score}
                for messages, score in sides
            ]
            yield row["prompt_id"], row["prompt"], completions


def converse(key: str | None, prompt: str | None, completions: list[dict]) -> dict | str:
    """The conversation of a prompt's `completions` (response, overall_score, critique, model), or
    the reason (of DROPS) why there is none."""
    if not isinstance(prompt, str):
        return NOT_JSON
    rated = [
        completion | {"overall_score": score}
        for completion in completions
        if isinstance(completion.get("response"), str) and (score := _score(completion)) is not None
    ]
    if len(rated) < 2:
        return NO_RATING
    lowest = min(rated, key=lambda completion: completion["overall_score"])
    highest = max(rated, key=lambda completion: completion["overall_score"])
    if lowest["overall_score"] == highest["overall_score"]:
        return ALIKE
    return {
        "id": key,
        "model": details.name(lowest.get("model")),
        "language": "English",
        "messages": [
            {"role": "user", "content": prompt},
            _reply(lowest, "DSAT") | {"unseen": True},
            {"role": "user", "content": prompt},
            _reply(highest, "SAT"),
        ],
    }


def _score(completion: dict) -> float | None:
    """The overall score. 10 beside a fine-grained score of 1 stands for 1: a known error of the
    first release."""
    score, fine = (details.number(completion.get(name)) for name in ("overall_score", "fine-grained_score"))
    return 1.0 if score == 10 and fine == 1 else score


def _reply(completion: dict, label: str) -> dict:
    evidence = [f"overall score {completion['overall_score']:g}"]
    return {
        "role": "assistant",
        "content": completion["response"],
        "label": label,
        "evidence": evidence,
        "comment": _critique(completion),
    }


def _critique(completion: dict) -> str:
    critique = completion.get("critique")
    if isinstance(critique, str) and critique.strip():
        return critique
    return f"I rate this answer {completion['overall_score']:g} out of 10."
