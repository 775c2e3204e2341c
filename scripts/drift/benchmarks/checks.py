"""Prompts with checks: code decides whether an answer is what was asked for. JSON Lines, one task a
line.

{"id": "1", "prompt": "Why is the sky blue? Use at most 30 words.",
 "checks": [{"name": "words", "arguments": {"at_most": 30}}]}

"messages" in place of "prompt" where there are several turns. A check may say its "direction"
(shorter, longer, neutral), where it is another than the check's own. Optional: "topics" (a list of
texts; an answer in which a word begins with one of them, in any case, is about what was asked),
"baseline" (the answer that a judge compares with, if one is asked), "categories" (a list of
texts).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from drift.benchmarks import prompts
from drift.benchmarks.records import texts
from drift.checks import Check
from drift.metrics.display import Metric, percent, points

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Statistic

JUDGING = prompts.JUDGING
SIZE = None
FILES = prompts.FILES

METRICS = (
    Metric(
        "pass_rate",
        "Pass rate",
        percent,
        "%",
        "share of checks that answers keep: the mean of the directions of length (shorter, longer, neutral), each counting alike",
        "Code checks the answers. A policy that only writes shorter, or only longer, gains in one direction and loses in the other.",
        headline=True,
        better="higher",
    ),
    Metric(
        "pass_rate_beyond_length",
        "Beyond length",
        points,
        "%",
        "pass rate minus the one that the base model's answers would have if they were as long as the policy's, in points",
        "Rising: the policy does more of what it was asked for than its answers' lengths explain. 0 (dashed): only lengths changed.",
        rule=0.0,
        better="higher",
    ),
    Metric(
        "pass_rate_on_topic",
        "Pass rate on topic",
        percent,
        "%",
        "pass rate where only answers count that name a topic of their task (topics of the tasks)",
        "A reply that only talks about the wish may keep it. Falling while the pass rate rises: that is what is learned.",
        headline=True,
        better="higher",
    ),
    Metric(
        "on_topic",
        "On topic",
        percent,
        "%",
        "share of answers that name a topic of their task",
        "Falling: answers are less and less about what was asked.",
        better="higher",
    ),
    Metric(
        "all_passed",
        "All passed",
        percent,
        "%",
        "share of answers that keep every check of their task",
        detail=True,
        better="higher",
    ),
)

key = prompts.key


def task(record: dict) -> dict:
    """A line as a task."""
    checks = record["checks"]
    if isinstance(checks, str | dict) or not isinstance(checks, Iterable):
        raise ValueError("checks is not a list")
    read = [_check_of(check) for check in checks]
    if not read:
        raise ValueError("checks is empty: a task that nothing checks shows nothing")
    if len({check.label for check in read}) < len(read):
        raise ValueError("checks: one is there twice")
    topics = texts(record.get("topics"), "topics")
    if topics and not all(topic.strip() for topic in topics):
        raise ValueError("topics: one is empty, and every answer would name it")
    return prompts.task(record) | {"checks": [asdict(check) for check in read], "topics": topics}


def _check_of(record: object) -> Check:
    """One check of a record."""
    if not isinstance(record, dict) or (record.keys() - {"name", "arguments", "direction"}):
        raise ValueError(f"checks holds something other than name, arguments and direction: {record}")
    return Check.of(record.get("name"), record.get("arguments"), record.get("direction"))


def check(task: dict, answer: dict, files: Mapping[str, Path]) -> list[dict]:
    """What the checks of a row of Tasks find in an answer."""
    text = answer["response"]
    return [{"check": one.label, "direction": one.direction, "passed": one.passes(text)} for one in _checks_of(task)]


def check_metrics(checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame") -> "dict[str, Statistic]":
    """Pass rates, what of them lengths do not explain, and what of them is on topic."""
    from drift.metrics import check_metrics

    found = check_metrics.check_statistics(checks) | check_metrics.topic_statistics(checks, tasks)
    return found if base is None else found | {"pass_rate_beyond_length": check_metrics.beyond_length(checks, base)}


def _checks_of(task: dict) -> list[Check]:
    """The checks of a row of Tasks."""
    return [Check(**one) for one in task["checks"]]


def read_prompts(path: Path) -> dict[str, dict]:
    """The tasks of a file by id: prompt (messages), checks (Check) and topics. StageError names
    file and record of one that cannot be used."""
    from drift.benchmarks.files import keyed

    def read(record: dict) -> dict:
        made = task(record)
        return {"prompt": made["prompt"], "checks": _checks_of(made), "topics": made["topics"]}

    return keyed(path, key, read)
