"""Fit the prompts of a pool or a benchmark to a model.

Reads:  a Dsat, Sat, Corrections, Wordless or Tasks table (--pool, of --kind), and the model's
        tokenizer (--policy).
Writes: a Prompts table (--prompts) and its ledger (--ledger).

Of a conversation that is too long the oldest turns are left out. Methods of a model that take their
prompts from one pool have the same ones, trimmed alike; those of another pool have others.
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import (
    ChatRefusedError,
    Messages,
    keeps_texts,
    load_tokenizer,
    markers,
    render,
    render_guided,
    render_reply,
    trim,
    untrainable,
)
from drift.ledger import LedgerBook
from drift.progress import Progress
from drift.settings.training import PromptsSettings
from drift.tables import Corrections, Dsat, Ledger, Prompts, Sat, Tasks, Wordless, read_table, write_table

KINDS = {"dsat": Dsat, "sat": Sat, "corrections": Corrections, "wordless": Wordless, "tasks": Tasks}


def as_prompts(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of any pool, or tasks, with the columns of Prompts that do not depend on a model."""
    if "baseline" in rows.columns:
        # Of a task the policy sees the prompt, after solved examples where there are some: the
        # replies that its own is compared with must not decide how the prompt is trimmed.
        examples = pl.col("examples").fill_null([])
        rows = rows.select("prompt_id", "cluster", split=pl.lit("test"), prompt=examples.list.concat("prompt"))
    absent = [
        pl.lit(None, dtype=pl.String).alias(name) for name in ("chosen", "rejected", "feedback") if name not in rows.columns
    ]
    # White space around a reply says nothing about its quality, and a leading line break would
    # merge with the prompt's last token.
    stripped = pl.col("chosen", "rejected").str.strip_chars()
    return (
        rows.with_columns(absent)
        .with_columns(stripped)
        .select("prompt_id", "split", "cluster", "prompt", "chosen", "rejected", "feedback")
    )


def fit(row: dict, tokenizer, settings: PromptsSettings) -> dict | None:
    """The row with its prompt trimmed and rendered; None where even its last message does not fit.

    A prompt fits when every chat made of it leaves room for a reply of `max_tokens` within
    `context`, and, where the rows are trained on (`max_length` is set), when prompt and each reply
    stay within `max_length`: a pair holds no more than `max_tokens` of a reply, and the held-out
    ones, which are scored whole, all of it. All in tokens.
    """
    whole = logged(row) if row["split"] == "test" else []

    def fits(prompt: Messages) -> bool:
        rendered = render(tokenizer, prompt)
        plain = len(rendered)
        if plain + settings.max_tokens > settings.context:
            return False
        if settings.max_length is None:
            return True
        replies = [len(render_reply(tokenizer, prompt, reply, rendered) or ()) for reply in whole]
        if plain + max([settings.max_tokens, *replies]) > settings.max_length:
            return False
        if row["rejected"] is None or row["feedback"] is None:
            return True
        feedback = row["rejected"], row["feedback"]
        _, improve = render_guided(tokenizer, prompt, *feedback, settings.style, settings.instruction)
        return len(improve) + settings.max_tokens <= settings.context

    prompt = trim(row["prompt"], fits)
    if prompt is None:
        return None
    fitted = {
        "prompt": prompt,
        "prompt_token_ids": render(tokenizer, prompt),
        "turns_trimmed": len(row["prompt"]) - len(prompt),
    }
    return row | fitted


def logged(row: dict) -> list[str]:
    """The logged replies of a row."""
    return [row[side] for side in ("chosen", "rejected") if row[side] is not None]


def is_taken(row: dict, tokenizer) -> bool:
    """Whether the chat template renders the row's prompt at all."""
    try:
        render(tokenizer, row["prompt"])
    except ChatRefusedError:
        return False
    return True


def joins(row: dict, tokenizer) -> bool:
    """Whether the prompt's tokens stay what they are when a logged reply follows: of the shortest
    prompt, of which system message and last message are left."""
    system = [message for message in row["prompt"][:-1] if message["role"] == "system"]
    shortest = [*system, row["prompt"][-1]]
    return all(render_reply(tokenizer, shortest, reply) is not None for reply in logged(row))


def contains_marker(row: dict, words: list[str]) -> bool:
    """Whether a text of the row contains one of `words`: rendered, it would end or begin a turn."""
    texts = [*(message["content"] for message in row["prompt"]), *logged(row), row["feedback"] or ""]
    return any(word in text for text in texts for word in words)


def main() -> None:
    command = cli.parser(__doc__, PromptsSettings)
    command.add_argument("--kind", required=True, choices=sorted(KINDS), help="what --pool is")
    command.add_argument("--pool", required=True, help="table to read")
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    command.add_argument("--prompts", required=True, help="table to write")
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()
    settings: PromptsSettings = arguments.settings

    rows = as_prompts(read_table(KINDS[arguments.kind], arguments.pool))
    tokenizer = load_tokenizer(arguments.policy)
    if arguments.kind != "tasks" and (fault := untrainable(tokenizer)):
        raise cli.StageError(f"{arguments.policy}: {fault}")
    words = markers(tokenizer)
    clean = [row for row in rows.to_dicts() if not contains_marker(row, words)]
    taken = [row for row in clean if is_taken(row, tokenizer)]
    unchanged = [row for row in taken if keeps_texts(tokenizer, row["prompt"])]
    joined = [row for row in unchanged if joins(row, tokenizer)]
    fitted = [fit(row, tokenizer, settings) for row in Progress(joined, desc="fit prompts")]
    kept = [row for row in fitted if row is not None]
    book = LedgerBook(settings.lineage, "prompts", "prompts", rows.height)
    book.drop("contains a chat marker of the model", rows.height - len(clean))
    book.drop("the chat template refuses the conversation", len(clean) - len(taken))
    book.drop("the chat template changes a text of the prompt", len(taken) - len(unchanged))
    book.drop("the template does not put the reply after the prompt as it is", len(unchanged) - len(joined))
    book.drop("last message and reply do not fit", len(joined) - len(kept))
    write_table(pl.DataFrame(kept, schema=Prompts.create_empty().schema), Prompts, arguments.prompts)
    write_table(book.table(), Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
