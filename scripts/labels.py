"""Say of every reply whether the user was satisfied with it, judged from what the user said of it.

Reads:  the Turns table (--turns), and for a rubric labeler what its model was asked and answered (--requests NAME=PATH, and
        --completions NAME=PATH once for each shard).
Writes: one Labels table (--labels), a row per reply and labeler, and the ledger (--ledger).

Settings: labelers (by name: kind).
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl

from drift import cli, tables
from drift.data.prefetch import mapped
from drift.labelers import lexical, rubric
from drift.ledger import LedgerBook

NO_FOLLOW_UP = "no reply, or no user message after it"
SILENT = "the source says nothing of the reply"
# What is read of an exchange.
COLUMNS = ["conversation_id", "turn", "user", "response", "feedback", "source_label", "source_evidence"]


def answered_replies(turns: pl.LazyFrame) -> pl.LazyFrame:
    """The exchanges whose reply the user answered: those that can be judged."""
    return turns.filter(pl.col("response").is_not_null() & pl.col("feedback").is_not_null())


def source_labels(turns: pl.DataFrame) -> pl.DataFrame:
    """What the source itself says: annotations, thumbs, ratings. Its label is taken at its word."""
    said = turns.filter(pl.col("response").is_not_null() & pl.col("source_label").is_not_null())
    return said.with_columns(
        label="source_label",
        evidence=pl.col("source_evidence").fill_null([]),
        tier=pl.lit(None, pl.String),
        score=pl.lit(1.0),
    )


def label(
    turns: pl.DataFrame, labelers: dict[str, dict], asked: dict[str, pl.DataFrame]
) -> list[tuple[str, pl.DataFrame, int]]:
    """Every labeler's name, its labels of some exchanges, and how many of them it could have judged. `asked`: the labels of all
    that rubric labelers were asked."""
    replies = answered_replies(turns.lazy()).collect()
    made = []
    for name, options in labelers.items():
        if options["kind"] == "rubric":
            labels = asked[name].join(turns, on=["conversation_id", "turn"], how="semi")
        else:
            labels = source_labels(turns) if options["kind"] == "source" else lexical.label(replies)
        labels = labels.with_columns(labeler=pl.lit(name)).select(tables.Labels.column_names())
        made.append((name, labels, turns.height if options["kind"] == "source" else replies.height))
    return made


def write_labels(
    turns: str | Path,
    labelers: dict[str, dict],
    path: str | Path,
    answers: dict[str, tuple[pl.DataFrame, pl.DataFrame]] | None = None,
) -> pl.DataFrame:
    """Write what every labeler says of the Turns table at `turns` to `path`, some exchanges at a time; returns the ledger.

    `answers`: requests and completions of every rubric labeler.
    """
    asked, dropped = {}, {}
    for name, (requests, completions) in (answers or {}).items():
        found, dropped[name] = rubric.labels(requests, completions, answered_replies(pl.scan_parquet(turns)))
        asked[name] = found.collect()
    could, given = Counter(), Counter()

    exchanges = pl.scan_parquet(turns).select(COLUMNS).collect_batches(chunk_size=tables.ROW_GROUP, maintain_order=True)

    def labelled() -> Iterator[pl.DataFrame]:
        for made in mapped(partial(label, labelers=labelers, asked=asked), exchanges):
            for name, labels, judged in made:
                could[name] += judged
                given[name] += labels.height
            yield pl.concat(labels for _, labels, _ in made).sort(tables.Labels.primary_key())

    tables.write_batches(labelled(), tables.Labels, path)
    rows, ledgers = pl.scan_parquet(turns).select(pl.len()).collect().item(), []
    for name, options in labelers.items():
        book = LedgerBook(f"labels:{name}", "labels", "turns", rows)
        if options["kind"] != "source":
            book.drop(NO_FOLLOW_UP, rows - could[name])
        if options["kind"] == "rubric":
            book.drop(rubric.NOT_ASKED, could[name] - answers[name][0].height)
            for reason in rubric.DROPS:
                book.drop(reason, dropped[name][reason])
        if options["kind"] == "source":
            book.drop(SILENT, rows - given[name])
        book.regroup("one label a reply", "labels", given[name])
        ledgers.append(book.table())
    return pl.concat(ledgers)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--requests", nargs="*", default=[], metavar="NAME=PATH", help="Requests tables of rubric labelers")
    command.add_argument("--completions", nargs="*", default=[], metavar="NAME=PATH", help="Completions tables, their shards")
    command.add_argument("--labels", required=True, help="where to write the Labels table")
    command.add_argument("--ledger", required=True, help="where to write the Ledger table")
    arguments = command.parse_args()
    asked, answered = {}, {}
    for paths, named in ((arguments.requests, asked), (arguments.completions, answered)):
        for name, _, path in (given.partition("=") for given in paths):
            named.setdefault(name, []).append(path)
    answers = {
        name: (tables.read_table(tables.Requests, *paths), tables.read_table(tables.Completions, *answered.get(name, [])))
        for name, paths in asked.items()
    }
    ledger = write_labels(arguments.turns, arguments.settings["labelers"], arguments.labels, answers)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
