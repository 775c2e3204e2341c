"""Multiple choice, as MMLU (Hendrycks et al. 2021, arXiv:2009.03300): the letter that a policy
finds likeliest as its first token, of those that the question offers.

Rows as those of cais/mmlu: "question", "choices" (two to ten texts), "answer" (the number of the
right one, from 0), and where there are any "subject" and "id". Solved examples, such as MMLU's
split dev, have the same layout.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drift.benchmarks import prompts
from drift.benchmarks.records import clean, identity, single_turn, texts
from drift.metrics.display import Metric, percent

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Statistic

JUDGING = prompts.JUDGING
SIZE = None
FILES = ("path", "examples")
CHOICES = tuple("ABCDEFGHIJ")

METRICS = (
    Metric(
        "accuracy",
        "Accuracy",
        percent,
        "%",
        "share of questions whose right letter is the likeliest of those offered",
        "Falling: the training costs knowledge, or the habit of answering with a letter; see the share of letters.",
        headline=True,
        better="higher",
    ),
    Metric(
        "letter_first",
        "Letter first",
        percent,
        help="share of questions where one of their letters is the likeliest of all first tokens",
        better="higher",
    ),
)
_RIGHT, _LETTER = "right", "letter first"


def key(record: dict) -> str:
    """The row's id; without one a hash of the row."""
    if record.get("id") is not None:
        return identity(record, "id")
    parts = [record["question"], record["choices"], record["answer"], record.get("subject")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def task(record: dict) -> dict:
    """A question as a task."""
    arguments = {"right": _right(record), "of": len(record["choices"])}
    return {
        "prompt": _asked(record),
        "checks": [{"name": "letter", "arguments": json.dumps(arguments), "direction": "neutral"}],
        "categories": _subject(record),
    }


def example(record: dict) -> dict:
    """A question with its letter, to be shown before the tasks of its subject."""
    answered = {"role": "assistant", "content": CHOICES[_right(record)]}
    return {"messages": [*_asked(record), answered], "categories": _subject(record)}


def _right(record: dict) -> int:
    """The number of the right choice. ValueError for a row that is not as the module says."""
    choices, right = texts(record["choices"], "choices") or [], record["answer"]
    if not 2 <= len(choices) <= len(CHOICES):
        raise ValueError(f"choices: {len(choices)} of them, and there must be 2 to {len(CHOICES)}")
    if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(choices):
        raise ValueError(f"answer is not the number of one of the {len(choices)} choices, from 0: {right!r}")
    return right


def _subject(record: dict) -> list[str] | None:
    subject = record.get("subject")
    return None if subject is None else [clean(subject, "subject")]


def _asked(record: dict) -> list[dict]:
    """The question, its choices by letter, and what to answer with."""
    offered = zip(CHOICES, texts(record["choices"], "choices"), strict=False)
    lines = [clean(record["question"], "question").strip(), *(f"{letter}. {text}" for letter, text in offered)]
    return single_turn("\n".join(lines) + "\n\nAnswer with the letter of the right choice alone.", "question")


def check(task: dict, answer: dict, files: Mapping[str, Path]) -> list[dict]:
    """Whether the likeliest of the offered letters is the right one, and the likeliest token of all
    a letter."""
    (asked,) = task["checks"]
    arguments = json.loads(asked["arguments"])
    offered = CHOICES[: arguments["of"]]
    logprobs = {one["choice"]: one["logprob"] for one in answer["choice_logprobs"]}
    found = {
        _RIGHT: max(offered, key=logprobs.__getitem__) == CHOICES[arguments["right"]],
        _LETTER: answer["response"].strip() in offered,
    }
    return [{"check": name, "direction": "neutral", "passed": passed} for name, passed in found.items()]


def check_metrics(checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame") -> "dict[str, Statistic]":
    """Accuracy over all questions and by subject, and how often a letter comes first."""
    from drift.metrics import check_metrics

    right = checks.filter(check=_RIGHT)
    found = {
        "accuracy": check_metrics.share_passed(right),
        "letter_first": check_metrics.share_passed(checks.filter(check=_LETTER)),
    }
    subjects = tasks.select("prompt_id", subject="categories").explode("subject").drop_nulls()
    by_subject = right.join(subjects, on="prompt_id", validate="m:1").group_by("subject")
    return found | {f"accuracy:{subject}": check_metrics.share_passed(rows) for (subject,), rows in sorted(by_subject)}
