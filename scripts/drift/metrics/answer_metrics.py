"""What a policy's answers to a benchmark are like before anybody judges them."""

import polars as pl

from drift.metrics import resampling
from drift.metrics.display import Metric, percent, whole

METRICS = (
    Metric(
        "response_tokens",
        "Answer length",
        whole,
        "~s",
        "mean tokens of an answer",
        "Rising together with the scores: part of the gain may be that the judge likes longer answers.",
    ),
    Metric(
        "cut_by_limit",
        "Cut by limit",
        percent,
        "%",
        "share of answers that the token limit cut",
        "Rising: more answers do not come to an end before the token limit; they are judged as they are.",
    ),
)


def response_statistics(responses: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """Mean length (tokens) of `responses` (a Responses table), and share cut by the token limit."""
    return {
        "response_tokens": resampling.mean(responses["prompt_id"], responses["completion_tokens"]),
        "cut_by_limit": resampling.mean(responses["prompt_id"], responses["finish_reason"] == "length"),
    }
