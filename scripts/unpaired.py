"""Make the rows of a method that trains on logged replies one by one: each desirable or
undesirable.

Reads:  the Prompts tables of the pools (--dsat, --sat, --wordless) and the model's tokenizer
        (--policy); the Tasks tables that no row may share a prompt with (--benchmark NAME=PATH).
Writes: an Unpaired table (--unpaired), a Dropped table (--dropped) and the ledger (--ledger).

A reply is on the plain prompt, under the limit of tokens that the replies of pairs are under, and
carries its token ids as they were checked here. A reply that satisfied is desirable, one that
disappointed undesirable, whether or not its user said a word.
"""

import _python  # noqa: F401 - before what may be missing
from collections import Counter
from functools import partial
from pathlib import Path

import polars as pl

from drift import cli
from drift.chat import end_of_turn, in_hindsight, load_tokenizer, render, render_reply
from drift.data.contamination import check_decontaminated
from drift.data.trained_replies import (
    LEAKED,
    LONG,
    OVER,
    SHARED,
    UNSAID,
    check_rendering,
    prompt_fault,
    reply_fault,
    trained_replies,
)
from drift.ledger import LedgerBook
from drift.names import UNPAIRED_POOLS
from drift.seeds import picked
from drift.settings.training import UnpairedSettings
from drift.tables import Dropped, Ledger, Prompts, Tasks, Unpaired, read_table, write_table

TEST = "test split"
BOTH = "in two pools, desirable and undesirable (label noise)"
FAR = "longer than max_length with the user's answer"
# A pool has no copies, but dsat and wordless may have the same exchange.
COPY = "same prompt, reply and label as another"
SPARE = "more than twice training.pairs"
REASONS = (TEST, BOTH, SHARED, OVER, LEAKED, LONG, UNSAID, FAR, COPY, SPARE)


def candidates(pools: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """All rows of the Prompts tables of `pools` by name, with their pool, `reply` and whether that
    is desirable."""
    return pl.concat(
        rows.with_columns(
            pool=pl.lit(name), desirable=pl.lit(name == "sat"), reply=pl.col("chosen" if name == "sat" else "rejected")
        )
        for name, rows in pools.items()
    )


def make_rows(rows: pl.DataFrame, tokenizer, settings: UnpairedSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Unpaired and Dropped of `candidates`; those of the test split are in Dropped too, with TEST.

    Raises StageError where a prompt renders to other tokens than it was fitted with.
    """
    end = end_of_turn(tokenizer)
    kept, dropped, seen = [], [], set()
    twice = set(rows.filter(pl.col("prompt_id").is_duplicated())["prompt_id"])
    for row in rows.sort("prompt_id").iter_rows(named=True):
        if row["split"] == "test" or row["prompt_id"] in twice:
            reason = (TEST if row["split"] == "test" else BOTH), None
        else:
            check_rendering(row, tokenizer)
            rendered = partial(render_reply, tokenizer, row["prompt"], prompt=row["prompt_token_ids"])
            texts = {"reply": row["reply"]}
            trained = trained_replies(texts, {"reply": None}, rendered, tokenizer, end, settings.max_tokens)
            reason = reply_fault(texts, trained, drop_cut=settings.cut == "drop")
            reason = reason or prompt_fault(row, trained, settings.instruction, settings.max_length)
            hindsight = hindsight_of(row, tokenizer) if settings.hindsight else None
            reason = reason or hindsight_fault(hindsight, trained["reply"].token_ids, settings)
            same = (tuple(row["prompt_token_ids"]), row["reply"], row["desirable"])
            reason = reason or ((COPY, None) if same in seen else None)
        if reason:
            dropped.append({"prompt_id": row["prompt_id"], "reason": reason[0], "detail": reason[1]})
            continue
        seen.add(same)
        reply = trained["reply"]
        made = {"reply": reply.text, "cut": reply.cut, "reply_token_ids": reply.token_ids, "reply_tokens": len(reply.token_ids)}
        made["hindsight_token_ids"] = hindsight
        kept.append({name: row[name] for name in ("prompt_id", "pool", "prompt", "prompt_token_ids", "desirable")} | made)
    return (
        pl.DataFrame(kept, schema=Unpaired.create_empty().schema),
        pl.DataFrame(dropped, schema=Dropped.create_empty().schema),
    )


def hindsight_of(row: dict, tokenizer) -> list[int] | None:
    """The token ids of a prompt with the user's answer; None where the user said nothing."""
    return None if row["feedback"] is None else render(tokenizer, in_hindsight(row["prompt"], row["feedback"]))


def hindsight_fault(hindsight: list[int] | None, reply: list[int], settings: UnpairedSettings) -> tuple[str, str | None] | None:
    """Why a prompt with the user's answer is unfit, where one is needed: UNSAID or FAR."""
    if not settings.hindsight:
        return None
    if hindsight is None:
        return UNSAID, None
    longest = len(hindsight) + len(reply)
    return (FAR, f"{longest} tokens") if longest > settings.max_length else None


def subset_of(rows: pl.DataFrame, count: int | None, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`count` of `rows` by a hash of their prompts, and Dropped of the others. All of them where
    there are fewer, which `check_count` refuses, or where the count is None."""
    if count is None:
        return rows, Dropped.create_empty()
    is_kept = pl.col("prompt_id").is_in(picked(rows["prompt_id"], count, seed))
    spare = rows.filter(~is_kept).select("prompt_id", reason=pl.lit(SPARE), detail=pl.lit(None, pl.String))
    return rows.filter(is_kept), spare


def check_count(rows: pl.DataFrame, settings: UnpairedSettings) -> None:
    """Raise StageError where a label has no reply, or where there are fewer than asked for."""
    found = {label: int((rows["desirable"] == desirable).sum()) for label, desirable in LABELS.items()}
    counted = ", ".join(f"{count} {label}" for label, count in found.items())
    if settings.hindsight and rows.is_empty():
        raise cli.StageError(
            f"{settings.lineage}: no reply has an answer of its user that fits, and the loss learns from nothing else; raise "
            "training.max_length, or add conversations: the ledger says what was dropped and why"
        )
    if not settings.hindsight and (lacking := [label for label, count in found.items() if not count]):
        raise cli.StageError(
            f"{settings.lineage}: {counted} replies: none is {lacking[0]}, and the loss needs both. data.labeler says what "
            "satisfied and what disappointed: take one that reads what users left (kind source reads thumbs and ratings, also "
            "without a word), or add conversations; the ledgers of the pools say what was dropped and why"
        )
    if settings.replies and rows.height < settings.replies:
        raise cli.StageError(
            f"{settings.lineage}: {counted} replies, and training.pairs asks for {settings.replies}, two for each pair; lower it, "
            "for all methods alike, or add conversations"
        )


LABELS = {"desirable": True, "undesirable": False}


def write_ledger(path: str, lineage: str, before: int, rows: pl.DataFrame, dropped: pl.DataFrame) -> None:
    """Write what became of the logged replies."""
    book, counts = LedgerBook(lineage, "unpaired", "prompts", before), Counter(dropped["reason"])
    for reason in REASONS:
        book.drop(reason, counts[reason])
    book.regroup("one logged reply per prompt", "replies", rows.height)
    write_table(book.table(), Ledger, path)


def main() -> None:
    command = cli.parser(__doc__, UnpairedSettings)
    for pool in UNPAIRED_POOLS:
        command.add_argument(f"--{pool}", required=True, help=f"Prompts table of pool {pool}")
    command.add_argument("--policy", required=True, type=Path, help="folder with the model's tokenizer")
    cli.add_benchmarks(command, "row")
    command.add_argument("--unpaired", required=True, help="table to write")
    command.add_argument("--dropped", required=True, help="table to write")
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()
    settings: UnpairedSettings = arguments.settings

    found = candidates({pool: read_table(Prompts, getattr(arguments, pool)) for pool in UNPAIRED_POOLS})
    rows, dropped = make_rows(found, load_tokenizer(arguments.policy), settings)
    rows, spare = subset_of(rows, settings.replies, settings.seed)
    dropped = pl.concat([dropped, spare])
    # Written even where no row is left, so that the reasons can be read.
    write_ledger(arguments.ledger, settings.lineage, found.height, rows, dropped)
    write_table(dropped.filter(pl.col("reason") != TEST).unique("prompt_id"), Dropped, arguments.dropped)
    check_count(rows, settings)
    check_decontaminated(rows, "prompt_id", {name: read_table(Tasks, path) for name, path in arguments.benchmark})
    write_table(rows, Unpaired, arguments.unpaired)
    print(f"{rows['desirable'].sum()} desirable and {(~rows['desirable']).sum()} undesirable replies")


if __name__ == "__main__":
    cli.run(main)
