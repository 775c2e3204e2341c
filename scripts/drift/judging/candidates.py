"""Candidates of a prompt: the sampled replies that a method ranks, numbered so that a judge's
verdicts find them again."""

import polars as pl

from drift.config.training import Cut


def numbered(requests: pl.DataFrame) -> pl.DataFrame:
    """`requests` (a Requests table) with `candidate`: a reply's number among those of its prompt,
    from 0."""
    place = pl.struct("kind", "sample").rank("ordinal").over("prompt_id")
    return requests.with_columns(candidate=(place - 1).cast(pl.Int32))


def sound(completions: pl.DataFrame, cut: Cut) -> pl.DataFrame:
    """Those of `completions` that ended their turn, or reached the limit where `cut` keeps these,
    and say something. Others make no pair, so nobody is asked about them."""
    ends = {"drop": ["stop"], "prefix": ["stop", "length"]}[cut]
    return completions.filter(pl.col("finish_reason").is_in(ends), pl.col("text").str.strip_chars() != "")
