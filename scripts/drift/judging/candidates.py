"""Candidates of a prompt: the sampled replies that a method ranks, numbered so that a judge's
verdicts find them again."""

import polars as pl


def numbered(requests: pl.DataFrame) -> pl.DataFrame:
    """`requests` (a Requests table) with `candidate`: a reply's number among those of its prompt,
    from 0."""
    place = pl.struct("kind", "sample").rank("ordinal").over("prompt_id")
    return requests.with_columns(candidate=(place - 1).cast(pl.Int32))


def sound(completions: pl.DataFrame) -> pl.DataFrame:
    """Those of `completions` that ended their turn and say something. Others make no pair, so
    nobody is asked about them."""
    return completions.filter(pl.col("finish_reason") == "stop", pl.col("text").str.strip_chars() != "")
