"""From conversations of any source to exchanges: question, reply, what the user said next."""

from collections import Counter

import polars as pl

from drift.sources.conversations import CONVERSATION, MESSAGE

# Why a conversation has no exchanges, in the order of the checks.
NO_ID = "no id"
NO_TEXT = "a message without role or text"
UNKNOWN_ROLE = "a role other than system, user, assistant"
LATE_SYSTEM = "a system message after the start"
STARTS_WITH_ASSISTANT = "starts with the assistant"
NO_EXCHANGE = "no user message with a reply"
DROPS = (NO_ID, NO_TEXT, UNKNOWN_ROLE, LATE_SYSTEM, STARTS_WITH_ASSISTANT, NO_EXCHANGE)

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "customer": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
}

# What is kept of messages when neighbours become one.
_KEPT = ("content", "timestamp", "toxic", "redacted", "label", "evidence", "comment", "unseen")
_NO_TEXTS = pl.lit([], pl.List(pl.String))


def role_of(name: str) -> str | None:
    """Our name of a message's role; None: one that we do not know."""
    return ROLES.get(name.strip().lower())


def exchanges(conversations: pl.DataFrame, mask: bool = False) -> tuple[pl.DataFrame, Counter]:
    """The exchanges of a frame of conversations, in its order, and the dropped ones by reason.

    With `mask`, personal data in the texts is masked first (see masking.py). The columns are those
    of Turns, except that "number" (of the conversation in the frame), "id" and "user_key" (the
    frame's id and user) take the places of conversation_id, source and user_id.
    """
    conversations = _in_utc(conversations.with_row_index("number").with_columns(_missing(CONVERSATION, conversations.columns)))
    messages = _messages(conversations)
    if mask:
        # Imported here: few sources are masked, and the library takes a while to load.
        from drift.sources.masking import masked

        messages = masked(messages)
    runs = _runs(messages)
    checks = [
        (NO_ID, conversations.filter((pl.col("id") == "").fill_null(True))),
        (NO_TEXT, messages.filter(pl.col("raw_role").is_null() | pl.col("content").is_null())),
        (UNKNOWN_ROLE, messages.filter(pl.col("role").is_null())),
        (LATE_SYSTEM, messages.filter("late_system")),
        (STARTS_WITH_ASSISTANT, runs.filter((pl.col("place") == 0) & (pl.col("role") == "assistant"))),
        (NO_EXCHANGE, conversations.join(runs.filter(pl.col("place") == 1), on="number", how="anti")),
    ]
    counts, kept = Counter(), conversations.drop("messages")
    for reason, dropped in checks:
        left = kept.join(dropped, on="number", how="anti", maintain_order="left")
        counts[reason] += kept.height - left.height
        kept = left
    kept = kept.rename({"user": "user_key"} | {name: f"conversation_{name}" for name in ("timestamp", "toxic", "redacted")})
    unseen = pl.col("reply_unseen").fill_null(False)
    turns = _turns(runs).join(kept, on="number", how="inner", maintain_order="left")
    return turns.join(_system_prompts(messages), on="number", how="left", maintain_order="left").select(
        "number",
        "id",
        "user_key",
        "turn",
        "language",
        "model",
        timestamp=pl.coalesce("reply_timestamp", "timestamp", "conversation_timestamp"),
        system=pl.when(pl.col("turn") == 0).then("system"),
        unseen=unseen,
        user="content",
        response="reply_content",
        # Where nobody saw the reply, the next message is not about it.
        feedback=pl.coalesce("reply_comment", pl.when(~unseen).then("next_content")),
        source_label="reply_label",
        source_evidence=pl.when(pl.col("reply_label").is_not_null()).then("reply_evidence"),
        toxic=pl.coalesce(pl.max_horizontal("toxic", "reply_toxic"), "conversation_toxic"),
        redacted=pl.coalesce(pl.max_horizontal("redacted", "reply_redacted"), "conversation_redacted"),
        flags=pl.concat_list(
            "flags",
            pl.col("reply_flags").fill_null(_NO_TEXTS),
            pl.when(pl.col("turn") == 0).then(pl.col("system_flags").fill_null(_NO_TEXTS)).otherwise(_NO_TEXTS),
        )
        .list.unique()
        .list.sort(),
    ), counts


def _missing(schema: dict, columns: list[str]) -> list[pl.Expr]:
    return [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in columns]


def _in_utc(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with timestamp in UTC, without zone; a time without one is taken to be UTC."""
    if getattr(rows.schema["timestamp"], "time_zone", None):
        rows = rows.with_columns(pl.col("timestamp").dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    return rows.with_columns(pl.col("timestamp").cast(pl.Datetime("us")))


def _messages(conversations: pl.DataFrame) -> pl.DataFrame:
    """All messages in order: raw_role, role (one of ROLES' values; null: unknown), blank (no text),
    late_system (a system message after one of another role), and the columns of MESSAGE."""
    listed = conversations.filter(pl.col("messages").list.len() > 0).select("number", "messages").explode("messages")
    messages = listed.unnest("messages")
    messages = _in_utc(messages.with_columns(_missing(MESSAGE, messages.columns))).rename({"role": "raw_role"})
    role = pl.col("raw_role").str.strip_chars().str.to_lowercase()
    messages = messages.with_columns(
        role=role.replace_strict(ROLES, default=None, return_dtype=pl.String),
        blank=(pl.col("content").str.strip_chars() == "").fill_null(True),
        flags=pl.col("flags").fill_null(_NO_TEXTS),
    )
    spoken = (pl.col("role") != "system").fill_null(True)
    return messages.with_columns(late_system=~spoken & spoken.cast(pl.Int8).cum_max().over("number").cast(pl.Boolean))


def _system_prompts(messages: pl.DataFrame) -> pl.DataFrame:
    prompts = messages.filter((pl.col("role") == "system") & ~pl.col("blank"))
    return prompts.group_by("number", maintain_order=True).agg(
        system=pl.col("content").str.join("\n\n"), system_flags=pl.col("flags").explode(empty_as_null=False)
    )


def _runs(messages: pl.DataFrame) -> pl.DataFrame:
    """The messages of users and assistants with alternating roles, and their places from 0.

    Empty messages are left out, neighbours of one role become one. Both are flagged; the flags of a
    message that is left out go to the next one, or to the last where none follows.
    """
    spoken = messages.filter((pl.col("role") != "system").fill_null(True)).with_row_index("row")
    new = (pl.col("number") != pl.col("number").shift()) | pl.col("role").ne_missing(pl.col("role").shift())
    texts = spoken.filter(~pl.col("blank")).select("row", run=new.fill_null(True).cum_sum())
    spoken = spoken.join(texts, on="row", how="left", maintain_order="left").with_columns(run=_run_of_each())
    spoken = spoken.filter(pl.col("run").is_not_null())
    columns = ("run", "number", "role", *_KEPT, "flags")
    alone = pl.len().over("run") == 1
    runs = pl.concat([spoken.filter(alone).select(columns), _merged(spoken.filter(~alone)).select(columns)])
    runs = runs.sort("run").with_row_index("row")
    first = pl.when(pl.col("number").ne_missing(pl.col("number").shift())).then("row").forward_fill()
    return runs.with_columns(place=pl.col("row") - first)


def _run_of_each() -> pl.Expr:
    """The run of every message; an empty one is in the next run of its conversation, or the
    last."""
    of_run = pl.when(pl.col("run").is_not_null()).then("number")
    return pl.coalesce(
        "run",
        pl.when(of_run.backward_fill() == pl.col("number")).then(pl.col("run").backward_fill()),
        pl.when(of_run.forward_fill() == pl.col("number")).then(pl.col("run").forward_fill()),
    )


def _merged(messages: pl.DataFrame) -> pl.DataFrame:
    """One message of each run of several, some of which may be empty."""
    texts = [pl.when(~pl.col("blank")).then(name).alias(name) for name in ("role", *_KEPT)]
    runs = (
        messages.with_columns(texts)
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("number").first(),
            pl.col("role").drop_nulls().first(),
            pl.col("content", "comment").drop_nulls().str.join("\n\n"),
            pl.col("timestamp", "label").drop_nulls().last(),
            pl.col("toxic", "redacted", "unseen").max(),
            pl.col("evidence", "flags").drop_nulls().explode(empty_as_null=False),
            texts=pl.col("content").count(),
            blanks=pl.col("blank").sum(),
        )
    )
    role_flag = pl.format("merged_{}", pl.when(pl.col("role") == "user").then(pl.lit("user")).otherwise(pl.lit("response")))
    return runs.with_columns(
        comment=pl.when(pl.col("comment") != "").then("comment"),
        flags=pl.concat_list(
            "flags",
            pl.when(pl.col("texts") > 1).then(pl.concat_list(role_flag)).otherwise(_NO_TEXTS),
            pl.when(pl.col("blanks") > 0).then(pl.concat_list(pl.lit("empty_message"))).otherwise(_NO_TEXTS),
        ),
    )


def _turns(runs: pl.DataFrame) -> pl.DataFrame:
    """A row for every user message, with the reply to it (reply_...) and the user's next message
    (next_content)."""

    def later(name: str, places: int) -> pl.Expr:
        return pl.when(pl.col("number").shift(-places) == pl.col("number")).then(pl.col(name).shift(-places))

    return (
        runs.with_columns(
            *(later(name, 1).alias(f"reply_{name}") for name in (*_KEPT, "flags")), next_content=later("content", 2)
        )
        .filter(pl.col("place") % 2 == 0)
        .with_columns(turn=(pl.col("place") // 2).cast(pl.Int32))
    )
