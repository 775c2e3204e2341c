"""Files as people have them: with a byte order mark, compressed, by names in capitals."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, zip_longest
from pathlib import Path

import pyarrow as pa

from drift.cli import StageError

# What a record is that is no JSON, too deep, too long, or holds numbers of thousands of digits.
UNREADABLE = None
# The longest line that is parsed: a file without line ends must not take all memory. The texts of a
# conversation have a few megabytes.
LONGEST_LINE = 64 << 20
# Lines by which it is told whether a file is JSON Lines.
_LOOKED_AT = 3
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
# What a file is by its first bytes, whatever its name says.
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHER = {
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"PK\x03\x04": "a zip archive or a workbook",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"SQLite": "a SQLite database",
}
# A text in a cell may be as long as a text.
csv.field_size_limit(2**31 - 1)
# One of nothing, too, if that is all of the file.
_ARRAY = re.compile(rb"\s*\[\s*(\{|\]\s*\Z)")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def suffix(file: Path) -> str:
    """What a file is by its name: .jsonl of Chats.JSONL, and of chats.jsonl.gz."""
    suffixes = [part.lower() for part in file.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED:
        # Parquet is compressed within, and nobody reads it through a pipe.
        return suffixes[-2] if suffixes[-2] != ".parquet" else "".join(suffixes[-2:])
    return suffixes[-1] if suffixes else ""


def looks_like(file: Path) -> str | None:
    """What the first bytes of a file say that it is; None for what readers of text open."""
    with file.open("rb") as opened:
        begins = opened.read(6)
    return next((name for magic, name in _OTHER.items() if begins.startswith(magic)), None)


@contextmanager
def open_file(file: Path) -> Iterator[io.BufferedReader]:
    """The bytes of a text, decompressed, after its byte order mark.

    Raises StageError where it is no text, and where it cannot be read to its end.
    """
    try:
        if found := looks_like(file):
            raise StageError(f"{file}: {found}, where text in UTF-8 is read. Name the file after what it is, or convert it.")
        with file.open("rb") as opened:
            begins = opened.read(4)
        packed = next((name for magic, name in _PACKED.items() if begins.startswith(magic)), None)
        with io.BufferedReader(pa.input_stream(str(file), compression=packed), 1 << 20) as stream:
            if stream.peek(3).startswith(codecs.BOM_UTF8):
                stream.read(3)
            yield stream
    except OSError as error:
        raise StageError(f"{file}: cannot be read to its end ({error}). Fetch or copy it again.") from error


def json_lines(file: Path) -> Iterator[object]:
    """The record of every line that is not blank, UNREADABLE where it holds none.

    Raises StageError where the file cannot be read to its end, and where it is one JSON array.
    """
    with open_file(file) as lines:  # bytes: only a line feed ends a line, not U+2028 and its like
        if _ARRAY.match(lines.peek(64)):
            raise StageError(f"{file}: one JSON array, where JSON Lines are read. Put each of its records on its own line.")
        for line in _lines(lines):
            if line is None or line.strip():
                yield UNREADABLE if line is None else _parsed(line)


def _lines(content: io.BufferedReader) -> Iterator[bytes | None]:
    """The lines of a file, None in place of one that is longer than LONGEST_LINE."""
    while line := content.readline(LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < LONGEST_LINE:
            yield line
            continue
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = content.readline(1 << 20)
        yield None


def is_array(file: Path) -> bool:
    """Whether a file holds one JSON array of objects."""
    with open_file(file) as content:
        return _ARRAY.match(content.peek(64)) is not None


def is_lines(file: Path) -> bool:
    """Whether a file holds JSON Lines, by its first lines, and not one JSON value: the first is a
    value and others follow, or it is broken and those that follow are objects."""
    with open_file(file) as content:
        looked_at = list(islice((line for line in _lines(content) if line is None or line.strip()), _LOOKED_AT))
    first, others = (looked_at or [None])[0], looked_at[1:]
    if first is None or not others:
        return False
    return _parsed(first) is not UNREADABLE or all(line is not None and isinstance(_parsed(line), dict) for line in others)


def json_document(file: Path) -> object:
    """The one JSON value that a file holds; UNREADABLE where it holds none, or several."""
    with open_file(file) as content:
        return _parsed(content.read())


def csv_rows(file: Path) -> Iterator[dict[str, str | None]]:
    """The rows of a CSV file whose first line names the columns; separated by commas, semicolons or
    tabs, whichever the first line has most of. An empty cell is None.

    Raises StageError where the file is no text in UTF-8, cannot be read to its end, or has a row
    whose cells cannot be told apart.
    """
    try:
        with open_file(file) as content, io.TextIOWrapper(content, encoding="utf-8", newline="") as lines:
            yield from _table(file, lines)
    except UnicodeDecodeError as error:
        raise StageError(f"{file}: not UTF-8 ({error}). Convert the file to UTF-8.") from error


def _table(file: Path, lines: Iterable[str]) -> Iterator[dict[str, str | None]]:
    blank, head = next(((number, line) for number, line in enumerate(lines) if line.strip()), (0, ""))
    separator = max(",;\t", key=head.count)
    # Strict: a quote that nothing closes, or that a backslash escapes, would take rows with it.
    reader = csv.reader(chain([head], lines), delimiter=separator, strict=True)
    names, place = None, blank + 1
    try:
        for cells in reader:
            if names is None:
                names = cells
            elif any(cells[len(names) :]):  # a separator at the end of every row makes an empty one
                raise StageError(
                    f"{file}, the row from line {place} on: {len(cells)} cells for {len(names)} columns. "
                    f"Put texts that hold the separator '{separator}' in quotes."
                )
            elif cells:
                yield {name: cell or None for name, cell in zip_longest(names, cells[: len(names)])}
            place = blank + reader.line_num + 1
    except csv.Error as error:
        raise StageError(
            f"{file}, the row from line {place} on: not CSV ({error}). Close the quotes of its texts, and "
            'double those within one (""); or name the file after what it is.'
        ) from error


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return UNREADABLE


def end_of_record(text: str, place: int) -> int:
    """Where the JSON array or object ends that begins at `place` of `text`, without parsing it: the
    end of the text where nothing closes it."""
    depth = 0
    for token in _TOKENS.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)
