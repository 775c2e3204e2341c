"""Say of every reply whether the user was satisfied with it, judged from the message with which the user answered.

Reads:  the Turns table (--turns).
Writes: one Labels table (--labels), a row per reply and labeler, and the ledger (--ledger).

Settings: labelers (by name: kind).
"""

import polars as pl

from drift import cli, lexical, tables

LABELERS = {"lexical": lexical.label}

NO_FOLLOW_UP = "no reply, or no user message after it"


def answered_replies(turns: pl.LazyFrame) -> pl.LazyFrame:
    """The exchanges whose reply the user answered: those that can be judged."""
    return turns.filter(pl.col("response").is_not_null() & pl.col("feedback").is_not_null())


def label_all(turns: pl.LazyFrame, labelers: dict[str, dict]) -> pl.DataFrame:
    """The rows of Labels: one for every answered reply and labeler."""
    columns = tables.Labels.column_names()
    replies = answered_replies(turns)
    parts = [
        LABELERS[options["kind"]](replies).with_columns(pl.lit(name).alias("labeler")).select(columns)
        for name, options in labelers.items()
    ]
    return pl.concat(parts).collect(engine="streaming")


def labels_ledger(turns: int, replies: int, labels: int) -> pl.DataFrame:
    """From exchanges to labels."""
    book = tables.LedgerBook("labels", "labels", "turns", turns)
    book.drop(NO_FOLLOW_UP, turns - replies)
    book.regroup("one label a reply and labeler", "labels", labels)
    return book.table()


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--labels", required=True, help="where to write the Labels table")
    command.add_argument("--ledger", required=True, help="where to write the Ledger table")
    arguments = command.parse_args()
    turns = pl.scan_parquet(arguments.turns)
    labels = label_all(turns, arguments.settings["labelers"])
    counts = [frame.select(pl.len()).collect().item() for frame in (turns, answered_replies(turns))]
    tables.write_table(labels, tables.Labels, arguments.labels)
    tables.write_table(labels_ledger(*counts, labels.height), tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
