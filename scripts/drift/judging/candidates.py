"""What is ranked: a prompt's candidates, the sampled replies of a method, numbered so that a
judge's verdicts find them again; and both sides of a pair."""

import polars as pl

from drift.config.training import Cut
from drift.tables import Tasks

# How a sampled reply may end that makes a pair, by sampling.cut.
ENDS: dict[Cut, tuple[str, ...]] = {"drop": ("stop",), "prefix": ("stop", "length")}
# The sides of a pair, as a ranker's scores name them.
SIDES = ("chosen", "rejected")


def side_id(pair_id: str, side: str) -> str:
    """The request_id of a side of a pair, in a ranker's scores."""
    return f"{pair_id}#{side}"


def differences(ratings: pl.DataFrame) -> pl.DataFrame:
    """Of Ranks of both sides of pairs: pair_id, and the sign of what y+ keeps less what y-
    keeps."""
    named = pl.col("request_id").str.extract_groups("^(?<pair_id>.*)#(?<side>chosen|rejected)$")
    sides = ratings.select(named, "score").unnest("request_id").pivot("side", index="pair_id", values="score")
    return sides.select("pair_id", sign=(pl.col("chosen") - pl.col("rejected")).sign()).sort("pair_id")


def as_tasks(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with some columns of Tasks as such a table: null in what only benchmarks have."""
    columns = Tasks.create_empty().schema
    return rows.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in rows.columns
    )


def asked_and_answered(prompts: pl.DataFrame, requests: pl.DataFrame, completions: pl.DataFrame, cut: Cut) -> pl.DataFrame:
    """Of each candidate that can make a pair, by `cut`: request_id, text and finish_reason, and its
    prompt's prompt and prompt_token_ids; by request_id."""
    replies = sound(completions, cut).select("request_id", "text", "finish_reason")
    rows = requests.select("request_id", "prompt_id").join(replies, on="request_id", validate="1:1")
    return rows.join(prompts.select("prompt_id", "prompt", "prompt_token_ids"), on="prompt_id", validate="m:1").sort(
        "request_id"
    )


def numbered(requests: pl.DataFrame) -> pl.DataFrame:
    """`requests` (a Requests table) with `candidate`: a reply's number among those of its prompt,
    from 0."""
    place = pl.struct("kind", "sample").rank("ordinal").over("prompt_id")
    return requests.with_columns(candidate=(place - 1).cast(pl.Int32))


def sound(completions: pl.DataFrame, cut: Cut) -> pl.DataFrame:
    """Those of `completions` that ended their turn, or reached the limit where `cut` keeps these,
    and say something. Others make no pair, so nobody is asked about them."""
    return completions.filter(pl.col("finish_reason").is_in(ENDS[cut]), pl.col("text").str.strip_chars() != "")
