"""Whether answers to examples/wishes are about what was asked: a wish can be kept by a reply that
only talks about the wish."""

import re

import polars as pl

from drift.metrics import check_metrics, resampling
from make_wishes import FRAMES

NAMED = "names_topic"
KEPT = "pass_rate_on_topic"
# A plural and its singular have the same beginning; shorter ones would be in too many words.
_ENDING, _SHORTEST = 2, 3
_QUESTIONS = [re.compile(re.escape(frame).replace(r"\{\}", "(.+?)")) for frame in FRAMES]


def stem(prompt: str) -> str:
    """The beginning of the last word of a prompt's topic. StopIteration where it has none of the
    frames."""
    topic = next(found[1] for question in _QUESTIONS if (found := question.match(prompt)))
    word = topic.lower().split()[-1]
    return word[: max(_SHORTEST, len(word) - _ENDING)]


def topic_statistics(tasks: pl.DataFrame, responses: pl.DataFrame, checks: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """The share of `responses` that name the topic of their prompt, and the pass rate of `checks`
    that counts these alone."""
    stems = {prompt_id: stem(prompt[-1]["content"]) for prompt_id, prompt in tasks.select("prompt_id", "prompt").iter_rows()}
    named = [stems[prompt_id] in text.lower() for prompt_id, text in responses.select("prompt_id", "response").iter_rows()]
    rows = responses.select("prompt_id", "sample").with_columns(named=pl.Series(named, dtype=pl.Boolean))
    found = checks.join(rows, on=["prompt_id", "sample"], maintain_order="left")
    return {
        NAMED: resampling.mean(rows["prompt_id"], rows["named"].cast(pl.Float64)),
        KEPT: check_metrics.balanced(found, (found["passed"] & found["named"]).cast(pl.Float64)),
    }
