"""What a policy's answers to a benchmark are like before anybody judges them."""

import polars as pl

from drift.metrics import resampling


def response_statistics(responses: pl.DataFrame) -> dict[str, resampling.Statistic]:
    """Mean length (tokens) of `responses` (a Responses table), and share cut by the token limit."""
    return {
        "response_tokens": resampling.mean(responses["prompt_id"], responses["completion_tokens"]),
        "cut_by_limit": resampling.mean(responses["prompt_id"], responses["finish_reason"] == "length"),
    }
