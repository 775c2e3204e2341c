"""Checks that code makes: the score of a reply is the share of its prompt's checks that it keeps.

A prompt is known by its text: a row is scored where its conversation begins with a prompt of the
file. With `on_topic`, a reply that names none of its prompt's topics has the score 0: it may only
talk about what was wished for. With `wrong`, a seeded coin turns the scores of that share of
replies around, for a ranker that errs at a known rate. It is a coin for each reply to a prompt, by
the texts of both: another iteration or seed, which samples other replies, makes other errors.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from drift.benchmarks.checks import read_prompts
from drift.checks.topics import names_topic
from drift.cli import StageError
from drift.seeds import chance
from drift.settings.sampling import RewardSettings

NEEDS_PATH = "a file of prompts with checks"
READS = ("on_topic", "wrong")


def scores(rows: list[dict], settings: RewardSettings, path: Path) -> dict[str, float]:
    """The share of checks that each row's text keeps, 0 to 1, by request_id. StageError where no
    row's prompt is in the file, or has no topics and `on_topic` needs them, and where the file has
    a prompt with two sets of checks."""
    known = _known(path, settings.on_topic)
    found = {row["request_id"]: (task, row) for row in rows if (task := _task(row["prompt"], known))}
    if rows and not found:
        raise StageError(f"{path}: none of the {len(rows)} prompts to score is in this file; fix rankers.NAME.path")
    if settings.on_topic and (without := [task for task, _ in found.values() if not task["topics"]]):
        asked = without[0]["prompt"][-1]["content"]
        raise StageError(f'{path}: no topics of {asked!r}; rankers.NAME.on_topic needs a list "topics" in each line')
    scored = {}
    for request_id, (task, row) in found.items():
        checks = task["checks"]
        kept = sum(check.passes(row["text"]) for check in checks)
        if settings.on_topic and not names_topic(row["text"], task["topics"]):
            kept = 0
        coin = chance("wrong", settings.seed, _key(row["prompt"]), row["text"])
        # Turned around as a count: 1 - 1/3 is not 2/3, and replies that keep as much are to tie.
        scored[request_id] = (len(checks) - kept if coin < settings.wrong else kept) / len(checks)
    return scored


def _known(path: Path, on_topic: bool) -> dict[str, dict]:
    """The tasks of the file by their prompt. StageError where two of them have one, and would score
    a reply to it differently."""
    known: dict[str, tuple[str, dict]] = {}
    for name, task in read_prompts(path).items():
        first, other = known.setdefault(_key(task["prompt"]), (name, task))
        if set(task["checks"]) != set(other["checks"]) or (on_topic and task["topics"] != other["topics"]):
            asked = task["prompt"][-1]["content"].strip()
            raise StageError(
                f"{path}: {first} and {name} have one prompt, {asked!r}, and other checks or topics. A conversation does not "
                "say which of them it is about: say in each prompt what is wished for, or leave one out."
            )
    return {key: task for key, (_, task) in known.items()}


def _task(prompt: list[dict], known: Mapping[str, dict]) -> dict | None:
    """The longest known prompt that a conversation begins with, as read_prompts has it."""
    return next((known[key] for end in range(len(prompt), 0, -1) if (key := _key(prompt[:end])) in known), None)


def _key(messages: Iterable[Mapping]) -> str:
    return json.dumps([[message["role"], message["content"].strip()] for message in messages])
