"""Read raw conversations and write one row per exchange: question, reply, what the user said next.

Reads:  raw sources (--source NAME=PATH; a file or a folder), each as its reader in drift/sources/
        says, and the conversations that a source of annotations is about (--conversations
        NAME=PATH: the WildChat of WildFeedback's annotations).
Writes: one Turns table (--turns) and what became of every raw record (--ledger).

Conversations are read frame by frame into a temporary file, where copies are found, and sorted on
disk, so that memory does not grow with the text.
"""

import _python  # noqa: F401 - before what may be missing
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import polars as pl
import pyarrow.parquet as pq

from drift import cli, plugins, sources, tables
from drift.data.prefetch import ahead
from drift.ledger import LedgerBook
from drift.settings.data import SourceSettings, TurnsSettings
from drift.sources.exchanges import DROPS, exchanges

COPIES = Path(sources.__file__).parent / "copies.sql"
EXACT_COPY = "exact copy of another conversation"
SAME_ID = "same id as another conversation, other text"
# The share of a source that may be dropped without a word on the terminal; the ledger has all.
LOSS = 0.1
# What DuckDB may hold while it sorts; the rest goes to the temporary folder.
SORT_MEMORY = "1GB"


def read_source(
    name: str, path: Path, settings: SourceSettings, conversations: Path | None, counts: Counter
) -> Iterator[pl.DataFrame]:
    """Yield the exchanges of a source, frame by frame: the columns of `exchanges`, and source.

    `conversations`: what a source of annotations is about. Units, conversations and drops are
    counted in `counts`.
    """
    reader = plugins.load(plugins.SOURCES, settings.kind)
    more: list = [sources.source_files(conversations, reader.CONVERSATIONS)] if conversations else []
    more += [settings.columns] if settings.columns else []
    for frame in ahead(reader.read(sources.source_files(path, reader), counts, *more)):
        rows, dropped = exchanges(frame, mask=settings.mask)
        counts.update(dropped)
        yield rows.with_columns(source=pl.lit(name))


def gather(paths: dict[str, Path], settings: TurnsSettings, conversations: dict[str, Path], file: Path) -> dict[str, Counter]:
    """Write the exchanges of all sources to `file`, with what tells their conversations apart;
    returns the counts by source.

    Users are numbered as they come: what a source knows them by is in no file. Where data come
    later, one user may be in several sources: whom those of a kind know alike is one.
    """
    counts: dict[str, Counter] = defaultdict(Counter)
    writer, first = None, 0
    numbers: dict[tuple[str, str], int] = {}
    come_later = any(source.from_iteration > 1 for source in settings.sources.values())
    for name in sorted(paths):
        source = settings.sources[name]
        known_to = source.kind if come_later else name
        for rows in ahead(read_source(name, paths[name], source, conversations.get(name), counts[name])):
            users = [
                numbers.setdefault((known_to, user), len(numbers)) if user else None for user in rows["user_key"].to_list()
            ]
            # polars' hash changes with its version: it tells texts apart, and decides only between
            # texts of one id, time and model.
            texts = pl.struct("turn", "system", "user", "response")
            table = (
                rows.drop("user_key")
                .with_columns(
                    pl.col("number").cast(pl.Int64) + first,
                    conversation_id=pl.format("{}:{}", "source", "id"),
                    from_iteration=pl.lit(source.from_iteration),
                    user_number=pl.Series(users, dtype=pl.Int64),
                    digest=texts.hash(1),
                    other_digest=texts.hash(2),
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
    paths: dict[str, Path], settings: TurnsSettings, turns: Path, conversations: dict[str, Path] | None = None
) -> pl.DataFrame:
    """Write the exchanges of all sources, sorted, to the file `turns`; returns their ledger.

    `paths`, and the `conversations` that sources of annotations are about, are by name of the
    source. Raises StageError where a source has not a single exchange.
    """
    readers = {name: plugins.load(plugins.SOURCES, settings.sources[name].kind) for name in sorted(paths)}
    folder = turns.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".turns.") as temporary, duckdb.connect() as connection:
        gathered = Path(temporary) / "gathered.parquet"
        counts = gather(paths, settings, conversations or {}, gathered)
        for name, reader in readers.items():
            _check_some(name, paths[name], reader, counts[name])
            warn_of_losses(name, paths[name], reader, counts[name])
        connection.execute("SET VARIABLE gathered = $1", [str(gathered)])
        connection.execute("SET temp_directory = $1", [temporary])
        connection.execute("SET threads = $1", [pl.thread_pool_size()])
        connection.execute("SET memory_limit = $1", [SORT_MEMORY])
        connection.execute(COPIES.read_text(encoding="utf-8"))
        told_apart = "SELECT source, reason, count(*) FROM told_apart GROUP BY ALL"
        for name, reason, number in connection.execute(told_apart).fetchall():
            counts[name][reason or "kept"] += number
        kept = connection.sql("FROM kept_exchanges ORDER BY conversation_id, turn").to_arrow_reader(tables.ROW_GROUP)
        tables.write_batches((pl.DataFrame(pl.from_arrow(batch)) for batch in kept), tables.Turns, turns)
    rows = dict(pl.scan_parquet(turns).group_by("source").len().collect().rows())
    books = [source_ledger(name, reader, counts[name], rows.get(name, 0)) for name, reader in readers.items()]
    books += [annotation_ledger(name, reader, counts[name]) for name, reader in readers.items() if _annotates(settings, name)]
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


def annotation_ledger(name: str, reader: ModuleType, counts: Counter) -> LedgerBook:
    """From annotations to labels of replies."""
    book = LedgerBook(f"annotations:{name}", "turns", "annotations", counts["annotations"])
    for reason in reader.ANNOTATION_DROPS:
        book.drop(reason, counts[reason])
    if book.rows != counts["labels"]:
        raise AssertionError(f"source {name}: {counts['labels']} replies have a label, but the ledger leaves {book.rows}")
    return book


def _annotates(settings: TurnsSettings, name: str) -> bool:
    return settings.sources[name].kind in plugins.ANNOTATING


def _check_some(name: str, path: Path, reader: ModuleType, counts: Counter) -> None:
    reasons = (*reader.DROPS, *reader.CONVERSATION_DROPS, *DROPS)
    if counts["conversations"] == sum(counts[reason] for reason in (*reader.CONVERSATION_DROPS, *DROPS)):
        dropped = ", ".join(f"{reason}: {counts[reason]}" for reason in reasons if counts[reason])
        raise cli.StageError(
            f"source {name} ({path}): no exchange in {counts[reader.UNIT]} {reader.UNIT} ({dropped or 'nothing to read'}). "
            "Check that the source's kind is what the file holds."
        )


def warn_of_losses(name: str, path: Path, reader: ModuleType, counts: Counter) -> None:
    """Say on stderr where more than LOSS of a source's records or conversations were dropped, for
    other reasons than that they are copies."""
    for whole, unit, reasons in (
        (counts[reader.UNIT], reader.UNIT, reader.DROPS),
        (counts["conversations"], "conversations", (*reader.CONVERSATION_DROPS, *DROPS)),
    ):
        dropped = {reason: counts[reason] for reason in reasons if counts[reason]}
        lost = sum(dropped.values())
        if lost > LOSS * whole:
            listed = "; ".join(f"{reason}: {count}" for reason, count in dropped.items())
            print(f"warning: source {name} ({path}): {lost} of {whole} {unit} were dropped ({listed})", file=sys.stderr)


def main() -> None:
    command = cli.parser(__doc__, TurnsSettings)
    named = {"metavar": "NAME=PATH", "type": cli.named_path}
    command.add_argument("--source", nargs="+", required=True, help="raw conversations", **named)
    command.add_argument(
        "--conversations", nargs="*", default=[], help="what the annotations of source NAME are about", **named
    )
    command.add_argument("--turns", required=True, type=Path, help="where to write the Turns table")
    command.add_argument("--ledger", required=True, type=Path, help="where to write the Ledger table")
    arguments = command.parse_args()
    ledger = write_turns(dict(arguments.source), arguments.settings, arguments.turns, dict(arguments.conversations))
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
