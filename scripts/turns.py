"""Read raw conversations and write one row per exchange: what a user asked, what was answered, what the user said next.

Reads:  raw sources (--source NAME=PATH; a file or a folder), each as its reader in drift/sources/ says, and what it needs
        beside them (--beside NAME=PATH: the WildChat that WildFeedback's annotations are about).
Writes: one Turns table (--turns) and what became of every raw record (--ledger).

Settings: sources (by name: kind, the reader; mask, whether e-mail addresses, phone numbers and keys are masked).

Conversations are read frame by frame into a temporary file, told apart there, and sorted on disk, so that memory does not grow
with the text.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import polars as pl
import pyarrow.parquet as pq

from drift import cli, sources, tables
from drift.data.prefetch import ahead
from drift.ledger import LedgerBook
from drift.sources.exchanges import DROPS, exchanges

COPIES = Path(sources.__file__).parent / "copies.sql"
EXACT_COPY = "exact copy of another conversation"
SAME_ID = "same id as another conversation, other text"
# What DuckDB may hold while it sorts; the rest goes to the temporary folder.
SORT_MEMORY = "1GB"


def read_source(name: str, path: Path, options: dict, beside: Path | None, counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the exchanges of a source, frame by frame (columns of `exchanges`, and source); drops are counted in `counts`."""
    reader = sources.READERS[options["kind"]]
    more = [sources.source_files(beside, reader.BESIDE)] if beside else []
    for conversations in ahead(reader.read(sources.source_files(path, reader), counts, *more)):
        rows, dropped = exchanges(conversations, mask=options.get("mask", False))
        counts.update(dropped)
        yield rows.with_columns(source=pl.lit(name))


def gather(paths: dict[str, Path], settings: dict, beside: dict[str, Path], file: Path) -> dict[str, Counter]:
    """Write the exchanges of all sources to `file`, with what tells their conversations apart; returns the counts by source.

    Users are numbered as they come: what a source knows them by is in no file.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    writer, first = None, 0
    for name in sorted(paths):
        numbers: dict[str, int] = {}
        for rows in ahead(read_source(name, paths[name], settings["sources"][name], beside.get(name), counts[name])):
            users = [numbers.setdefault(user, len(numbers)) if user else None for user in rows["user_key"].to_list()]
            # polars' hash changes with its version: it tells texts apart, and decides only between texts of one id, time and model.
            said = pl.struct("turn", "system", "user", "response")
            table = (
                rows.drop("user_key")
                .with_columns(
                    pl.col("number").cast(pl.Int64) + first,
                    conversation_id=pl.format("{}:{}", "source", "id"),
                    user_number=pl.Series(users, dtype=pl.Int64),
                    digest=said.hash(1),
                    other_digest=said.hash(2),
                )
                .to_arrow(compat_level=pl.CompatLevel.oldest())
            )
            first += rows["number"].max() + 1 if rows.height else 0
            writer = writer or pq.ParquetWriter(file, table.schema, compression="lz4")
            writer.write_table(table)
    if writer:
        writer.close()
    return counts


def write_turns(
    paths: dict[str, Path], settings: dict, turns: str | Path, beside: dict[str, Path] | None = None
) -> pl.DataFrame:
    """Write the exchanges of all sources, sorted, to the file `turns`; returns their ledger.

    `beside` has the paths of what a source needs beside its own files, by name of the source. Raises StageError where a source has not a single exchange.
    """
    folder = Path(turns).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".turns.") as temporary, duckdb.connect() as connection:
        gathered = Path(temporary) / "gathered.parquet"
        counts = gather(paths, settings, beside or {}, gathered)
        for name in sorted(paths):
            _check_some(name, paths[name], _reader(settings, name), counts[name])
        connection.execute("SET VARIABLE gathered = $1", [str(gathered)])
        connection.execute("SET temp_directory = $1", [temporary])
        connection.execute("SET threads = $1", [pl.thread_pool_size()])
        connection.execute("SET memory_limit = $1", [SORT_MEMORY])
        connection.execute(COPIES.read_text(encoding="utf-8"))
        told_apart = "SELECT source, reason, count(*) FROM told_apart GROUP BY ALL"
        for name, reason, conversations in connection.execute(told_apart).fetchall():
            counts[name][reason or "kept"] += conversations
        kept = connection.sql("FROM kept_exchanges ORDER BY conversation_id, turn").to_arrow_reader(tables.ROW_GROUP)
        tables.write_batches((pl.DataFrame(pl.from_arrow(batch)) for batch in kept), tables.Turns, turns)
    exchanged = dict(pl.scan_parquet(turns).group_by("source").len().collect().rows())
    books = [source_ledger(name, _reader(settings, name), counts[name], exchanged.get(name, 0)) for name in sorted(paths)]
    return pl.concat([book.table() for book in books])


def source_ledger(name: str, reader: ModuleType, counts: Counter, turns: int) -> LedgerBook:
    """From raw units to exchanges, step by step."""
    book = LedgerBook(f"source:{name}", "turns", reader.UNIT, counts[reader.UNIT])
    for reason in reader.DROPS:
        book.drop(reason, counts[reason])
    book.regroup("conversations put together", "conversations", counts["conversations"])
    for reason in (*reader.CONVERSATION_DROPS, *DROPS, EXACT_COPY, SAME_ID):
        book.drop(reason, counts[reason])
    if book.rows != counts["kept"]:
        raise AssertionError(f"source {name}: {counts['kept']} conversations were kept, but the ledger leaves {book.rows}")
    book.regroup("cut into exchanges", "turns", turns)
    return book


def _reader(settings: dict, name: str) -> ModuleType:
    return sources.READERS[settings["sources"][name]["kind"]]


def _check_some(name: str, path: Path, reader: ModuleType, counts: Counter) -> None:
    reasons = (*reader.DROPS, *reader.CONVERSATION_DROPS, *DROPS)
    if counts["conversations"] == sum(counts[reason] for reason in (*reader.CONVERSATION_DROPS, *DROPS)):
        dropped = ", ".join(f"{reason}: {counts[reason]}" for reason in reasons if counts[reason])
        raise cli.StageError(
            f"source {name} ({path}): no exchange in {counts[reader.UNIT]} {reader.UNIT} ({dropped or 'nothing to read'}). "
            "Check that the source's kind is what the file holds."
        )


def empty_turns() -> pl.DataFrame:
    """No rows, with the columns and types of Turns."""
    return pl.DataFrame(schema=tables.Turns.create_empty().schema)


def _named_paths(arguments: list[str]) -> dict[str, Path]:
    return {name: Path(path) for name, _, path in (argument.partition("=") for argument in arguments)}


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--source", nargs="+", required=True, metavar="NAME=PATH", help="raw conversations")
    command.add_argument(
        "--beside", nargs="*", default=[], metavar="NAME=PATH", help="what source NAME needs beside its own files"
    )
    command.add_argument("--turns", required=True, help="where to write the Turns table")
    command.add_argument("--ledger", required=True, help="where to write the Ledger table")
    arguments = command.parse_args()
    paths, beside = _named_paths(arguments.source), _named_paths(arguments.beside)
    ledger = write_turns(paths, arguments.settings, arguments.turns, beside)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
