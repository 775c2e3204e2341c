"""Say of every reply whether the user was satisfied with it, judged from what the user said of it.

Reads:  the Turns table (--turns), and for a rubric labeler what its model was asked and answered (--requests NAME=PATH, and
        --completions NAME=PATH once for each shard).
Writes: one Labels table (--labels), a row per reply and labeler, and the ledger (--ledger).

Settings: labelers (by name: kind).
"""

import polars as pl

from drift import cli, lexical, rubric, tables

NO_FOLLOW_UP = "no reply, or no user message after it"
SILENT = "the source says nothing of the reply"


def answered_replies(turns: pl.LazyFrame) -> pl.LazyFrame:
    """The exchanges whose reply the user answered: those that can be judged."""
    return turns.filter(pl.col("response").is_not_null() & pl.col("feedback").is_not_null())


def source_labels(turns: pl.LazyFrame) -> pl.LazyFrame:
    """What the source itself says: annotations, thumbs, ratings. Its label is taken at its word."""
    said = turns.filter(pl.col("response").is_not_null() & pl.col("source_label").is_not_null())
    return said.with_columns(
        label="source_label",
        evidence=pl.col("source_evidence").fill_null([]),
        tier=pl.lit(None, pl.String),
        score=pl.lit(1.0),
    )


def label_all(
    turns: pl.LazyFrame, labelers: dict[str, dict], answers: dict[str, tuple[pl.DataFrame, pl.DataFrame]] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of Labels, and the ledger of every labeler. `answers`: requests and completions of every rubric labeler."""
    columns, parts, ledgers = tables.Labels.column_names(), [], []
    rows, replies = (frame.select(pl.len()).collect().item() for frame in (turns, answered_replies(turns)))
    for name, options in labelers.items():
        book = tables.LedgerBook(f"labels:{name}", "labels", "turns", rows)
        if options["kind"] == "source":
            labels = source_labels(turns)
        else:
            book.drop(NO_FOLLOW_UP, rows - replies)
        if options["kind"] == "lexical":
            labels = lexical.label(answered_replies(turns))
        if options["kind"] == "rubric":
            requests, completions = answers[name]
            labels, dropped = rubric.labels(requests, completions, answered_replies(turns))
            book.drop(rubric.NOT_ASKED, replies - requests.height)
            for reason in rubric.DROPS:
                book.drop(reason, dropped[reason])
        labels = labels.with_columns(pl.lit(name).alias("labeler")).select(columns).collect(engine="streaming")
        if options["kind"] == "source":
            book.drop(SILENT, rows - labels.height)
        book.regroup("one label a reply", "labels", labels.height)
        parts.append(labels)
        ledgers.append(book.table())
    return pl.concat(parts), pl.concat(ledgers)


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
    labels, ledger = label_all(pl.scan_parquet(arguments.turns), arguments.settings["labelers"], answers)
    tables.write_table(labels, tables.Labels, arguments.labels)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
