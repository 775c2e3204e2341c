"""Read raw conversations and write one row per exchange: what a user asked, what was answered, what the user said next.

Reads:  raw sources (--source NAME=PATH; a file or a folder), each as its reader in drift/sources/ says.
Writes: one Turns table (--turns) and what became of every raw record (--ledger).

Settings: sources (by name: kind, the reader).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import polars as pl

from drift import cli, sources, tables

# Rows held as Python objects before they become a frame, which is several times smaller.
ROWS_AT_A_TIME = 20_000


def read_source(name: str, path: Path, reader: ModuleType, seen: sources.Seen) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All exchanges of a source, and its ledger. Raises StageError where not a single exchange is found."""
    counts = Counter()
    conversations = sources.read_turns(name, path, reader, seen, counts)
    turns = pl.concat([empty_turns(), *_frames(_counted(conversations, counts))])
    book = source_ledger(name, reader, counts, turns.height)
    if turns.is_empty():
        dropped = ", ".join(f"{reason}: {counts[reason]}" for reason in _drops(reader) if counts[reason])
        raise cli.StageError(
            f"source {name} ({path}): no exchange in {counts[reader.UNIT]} {reader.UNIT} ({dropped or 'nothing to read'}). "
            "Check that the source's kind is what the file holds."
        )
    return turns, book.table()


def source_ledger(name: str, reader: ModuleType, counts: Counter, turns: int) -> tables.LedgerBook:
    """From raw units to exchanges, step by step."""
    book = tables.LedgerBook(f"source:{name}", "turns", reader.UNIT, counts[reader.UNIT])
    for reason in reader.DROPS:
        book.drop(reason, counts[reason])
    book.regroup("conversations put together", "conversations", counts["conversations"])
    for reason in (*reader.CONVERSATION_DROPS, *sources.DROPS):
        book.drop(reason, counts[reason])
    if book.rows != counts["kept"]:
        raise AssertionError(f"source {name}: {counts['kept']} conversations were kept, but the ledger leaves {book.rows}")
    book.regroup("cut into exchanges", "turns", turns)
    return book


def empty_turns() -> pl.DataFrame:
    """No rows, with the columns and types of Turns."""
    return pl.DataFrame(schema=tables.Turns.create_empty().schema)


def _drops(reader: ModuleType) -> tuple[str, ...]:
    return (*reader.DROPS, *reader.CONVERSATION_DROPS, *sources.DROPS)


def _counted(conversations: Iterable[list[dict]], counts: Counter) -> Iterator[list[dict]]:
    for turns in conversations:
        counts["kept"] += 1
        yield turns


def _frames(conversations: Iterable[list[dict]]) -> Iterator[pl.DataFrame]:
    schema, rows = empty_turns().schema, []
    for turns in conversations:
        rows += turns
        if len(rows) >= ROWS_AT_A_TIME:
            yield pl.DataFrame(rows, schema=schema)
            rows = []
    yield pl.DataFrame(rows, schema=schema)


def read_sources(paths: dict[str, Path], settings: dict) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The exchanges and the ledger of all sources. By name, so that which copy is kept does not depend on their order."""
    seen, parts = sources.Seen(), []
    for name in sorted(paths):
        kind = settings["sources"][name]["kind"]
        parts.append(read_source(name, paths[name], sources.READERS[kind], seen))
    turns, ledgers = zip(*parts, strict=True)
    return pl.concat(turns), pl.concat(ledgers)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--source", nargs="+", required=True, metavar="NAME=PATH", help="raw conversations")
    command.add_argument("--turns", required=True, help="where to write the Turns table")
    command.add_argument("--ledger", required=True, help="where to write the Ledger table")
    arguments = command.parse_args()
    paths = {name: Path(path) for name, _, path in (source.partition("=") for source in arguments.source)}
    turns, ledger = read_sources(paths, arguments.settings)
    tables.write_table(turns, tables.Turns, arguments.turns)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
