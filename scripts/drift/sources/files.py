"""Files as people have them: with a byte order mark, compressed, by names in capitals."""

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from drift.cli import StageError

# What a record is that is no JSON, too deep, or holds numbers of thousands of digits.
UNREADABLE = None
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def suffix(file: Path) -> str:
    """What a file is by its name: .jsonl of Chats.JSONL, and of chats.jsonl.gz."""
    suffixes = [part.lower() for part in file.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in _COMPRESSED:
        # Parquet is compressed within, and nobody reads it through a pipe.
        return suffixes[-2] if suffixes[-2] != ".parquet" else "".join(suffixes[-2:])
    return suffixes[-1] if suffixes else ""


def open_file(file: Path) -> io.BufferedReader:
    """The bytes of a file, decompressed, after its byte order mark. A file that ends too early
    raises OSError as it is read."""
    stream = io.BufferedReader(pa.input_stream(str(file), compression=_COMPRESSED.get(file.suffix.lower())), 1 << 20)
    if stream.peek(3).startswith(codecs.BOM_UTF8):
        stream.read(3)
    return stream


def json_lines(file: Path) -> Iterator[object]:
    """The record of every line that is not blank, UNREADABLE where it holds none.

    Raises StageError where the file cannot be decompressed to its end.
    """
    try:
        with open_file(file) as lines:  # bytes: only a line feed ends a line, not U+2028 and its like
            for line in lines:
                if line.strip():
                    try:
                        yield json.loads(line.decode("utf-8"))
                    except (ValueError, RecursionError):
                        yield UNREADABLE
    except OSError as error:
        raise broken(file, error) from error


def broken(file: Path, error: Exception) -> StageError:
    """The error for a file that ends too early, or is not compressed as its name says."""
    return StageError(f"{file}: cannot be read to its end ({error}). Fetch or copy it again.")


def end_of_record(text: str, place: int) -> int:
    """Where the JSON array or object ends that begins at `place` of `text`, without parsing it: the
    end of the text where nothing closes it."""
    depth = 0
    for token in _TOKENS.finditer(text, place):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth == 0:
            return token.end()
    return len(text)
