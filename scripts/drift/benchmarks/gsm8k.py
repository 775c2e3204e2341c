"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168): 1,319 problems of its test split, answered in words.

The task file is the test split of openai/gsm8k or of its authors, {"question", "answer"}, where the
number stands after "####"; solved examples come from the train split, in the same layout. lm-eval
(EleutherAI's evaluation harness) decides: its task gsm8k says which number an answer gives, and
when two are the same.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from drift.benchmarks import prompts
from drift.benchmarks.records import clean, single_turn
from drift.metrics.display import Metric, percent

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Statistic

JUDGING = prompts.JUDGING
SIZE = 1319
FILES = ("path", "examples")

METRICS = (
    Metric(
        "exact_match_flexible",
        "Exact match",
        percent,
        "%",
        "share of answers whose last number is the right one (lm-eval's flexible-extract)",
        "Falling: the training costs arithmetic and reasoning in steps.",
        headline=True,
        better="higher",
    ),
    Metric(
        "exact_match_strict",
        "Exact match, strict",
        percent,
        help="share of answers that end in #### and the right number (lm-eval's strict-match), as solved examples show it",
        detail=True,
        better="higher",
    ),
)
# By lm-eval's name of the way in which a number is found in an answer.
_METRIC_OF = {"flexible-extract": "exact_match_flexible", "strict-match": "exact_match_strict"}


def key(record: dict) -> str:
    """A hash of the question: the file has no ids."""
    return hashlib.sha256(clean(record["question"], "question").encode()).hexdigest()[:16]


def task(record: dict) -> dict:
    """A problem as a task."""
    answer = _solution(record)
    check = {"name": "gsm8k", "arguments": json.dumps({"answer": answer}), "direction": "neutral"}
    return {"prompt": _asked(record), "checks": [check]}


def example(record: dict) -> dict:
    """A problem with its solution, to be shown before a task."""
    return {"messages": [*_asked(record), {"role": "assistant", "content": _solution(record)}], "categories": None}


def _asked(record: dict) -> list[dict]:
    """The question as lm-eval asks it."""
    return single_turn(f"Question: {clean(record['question'], 'question')}\nAnswer:", "question")


def _solution(record: dict) -> str:
    """The published solution, which must end in its number."""
    # To lm-eval a space after the number is part of it, and no answer is right.
    answer = clean(record["answer"], "answer").rstrip()
    if not re.search(r"#### -?[0-9.,]+$", answer):
        raise ValueError("answer does not end in #### and a number: is it a file of GSM8K?")
    return answer


def check(task: dict, answer: dict, files: Mapping[str, Path]) -> list[dict]:
    """Whether an answer gives the right number, each way in which lm-eval looks for it."""
    (published,) = task["checks"]
    right = json.loads(published["arguments"])["answer"]
    return [
        {"check": name, "direction": "neutral", "passed": passes(answer["response"], right)}
        for name, passes in _scorers().items()
    ]


@cache
def _scorers() -> dict[str, Callable[[str, str], bool]]:
    """By lm-eval's name of a way to find the number in an answer: whether an answer (first) gives
    the number of a solution (second)."""
    from importlib.resources import files

    import yaml
    from lm_eval.api.metrics import exact_match_fn
    from lm_eval.filters import get_filter

    published = yaml.safe_load(files("lm_eval").joinpath("tasks/gsm8k/gsm8k.yaml").read_text())
    (metric,) = published["metric_list"]
    options = {name: metric[name] for name in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}

    def scorer(filters: list[dict]) -> Callable[[str, str], bool]:
        steps = [get_filter(one["function"])(**{key: one[key] for key in one if key != "function"}) for one in filters]

        def passes(answer: str, right: str) -> bool:
            found = [[answer]]
            for step in steps:
                found = list(step.apply(found, [{}]))
            return bool(exact_match_fn(predictions=found, references=[right], **options)["exact_match"])

        return passes

    return {one["name"]: scorer(one["filter"]) for one in published["filter_list"]}


def check_metrics(checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame") -> "dict[str, Statistic]":
    """Accuracy, each way in which lm-eval looks for the number."""
    from drift.metrics import check_metrics

    return {metric: check_metrics.share_passed(checks.filter(check=name)) for name, metric in _METRIC_OF.items()}
