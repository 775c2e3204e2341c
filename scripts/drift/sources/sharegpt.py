"""ShareGPT: one JSON array of records {"id": "SHARE_OFFSET", "conversations": [{"from", "value"}]}.

A record is a slice of a shared conversation, and OFFSET is the place of its first message in it.
Slices overlap (mostly by one message) or abut; they are put together by absolute place, offset +
position. The files in circulation are cut off in the middle of a record, so records are decoded one
by one.
"""

import codecs
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from drift.cli import StageError
from drift.sources import details
from drift.sources.conversations import frames
from drift.sources.files import UNREADABLE, end_of_record, open_file

SUFFIXES = (".json",)
UNIT = "records"
CUT_OFF = "cut off mid-record at the end of the file"
NOT_A_RECORD = "not a record of id and conversations"
EMPTY = "record without messages"
DROPS = (CUT_OFF, NOT_A_RECORD, EMPTY)

CONFLICT = "slices that disagree"
GAP = "a slice is missing"
CONVERSATION_DROPS = (CONFLICT, GAP)

_SEPARATOR = re.compile(r"[ \t\r\n]*")
_SLICE_ID = re.compile(r"(.+)_(\d{1,18})", re.DOTALL)

# What the web page around a chat left at the end of a user's message: buttons, and the pager of an
# edited message, "1 / 2", which differs from a division: it stands alone on its line, or glued to
# the text.
_WIDGETS = (
    ("share_button", re.compile(r"(?:\n|(?<=\S))Share Prompt\s*\Z|\AShare Prompt\s*\Z")),
    ("translate_button", re.compile(r"\s*(?:지금 번역하기|(?:\n|(?<=[.?!]) ?)Translate now)\s*\Z")),
    ("pager", re.compile(r"(?:\n|(?<=[^\s\d]))(?P<page>\d{1,2}) / (?P<pages>\d{1,2})\s*\Z")),
)
# One of these is near the end of a text with a widget: most texts have none and need no pattern.
_HINTS = ("Share Prompt", "지금 번역하기", "Translate now", " / ")
# Chat applications put such a line where a system prompt would be.
_BANNER = re.compile(r"\A\*This (?:chat )?conversation is shared from ")


def read(files: list[Path], counts: Counter) -> Iterator[pl.DataFrame]:
    """Yield the conversations of ShareGPT files. Raises StageError for broken JSON."""
    return frames(read_conversations(files, counts))


def read_conversations(files: list[Path], counts: Counter) -> Iterator[dict]:
    """Yield the conversations one by one, as dicts; slices of one may be in several files."""
    slices: dict[str, list[tuple[int, list[dict]]]] = defaultdict(list)
    for record in (record for file in files for record in decode_records(file, counts)):
        if not _is_record(record):
            counts[NOT_A_RECORD] += 1
        elif not record["conversations"]:
            counts[EMPTY] += 1
        else:
            share, offset = _share_and_offset(details.name(record["id"]))
            slices[share].append((offset, record["conversations"]))
    for share, parts in slices.items():
        counts["conversations"] += 1
        messages = stitch(parts)
        if isinstance(messages, str):
            counts[messages] += 1
        else:
            yield {"id": share, "messages": [_message(message) for message in messages if not _is_banner(message)]}


def decode_records(file: Path, counts: Counter) -> Iterator[object]:
    """Yield the whole elements of the JSON array in `file`; one that is cut off at its end is
    counted.

    Raises StageError, naming the place, for anything else that is not a JSON array.
    """
    text = _decode_utf8(file)
    decoder = json.JSONDecoder()
    place = _SEPARATOR.match(text).end()
    _expect(text, place, "[", file)
    place, met = _SEPARATOR.match(text, place + 1).end(), 0
    while place < len(text) and text[place] != "]":
        try:
            record, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            if not _is_cut_off(error, text):
                raise _broken(file, error.pos, f"record {met + 1} is broken, {error.msg},") from error
            counts.update({UNIT: 1, CUT_OFF: 1})
            return
        except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits
            record, place = UNREADABLE, end_of_record(text, place)
        counts[UNIT] += 1
        met += 1
        yield record
        place = _SEPARATOR.match(text, place).end()
        if place < len(text) and text[place] != "]":
            _expect(text, place, ",", file)
            place = _SEPARATOR.match(text, place + 1).end()
    if text[place + 1 :].strip():
        raise _broken(file, place + 1, "text after the end of the array")


def stitch(slices: Iterable[tuple[int, list[dict]]]) -> list[dict] | str:
    """The messages of a conversation from its slices (offset, messages), in any order; or the
    reason (of CONVERSATION_DROPS) why they do not fit together."""
    messages: dict[int, dict] = {}
    for offset, part in slices:
        for place, message in enumerate(part, offset):
            if messages.setdefault(place, message) != message:
                return CONFLICT
    if set(messages) != set(range(len(messages))):
        return GAP
    return [messages[place] for place in range(len(messages))]


def strip_widgets(text: str) -> tuple[str, list[str]]:
    """A user's `text` without the widgets at its end, and their names as flags."""
    flags = []
    if not any(hint in text.rstrip()[-20:] for hint in _HINTS):
        return text, flags
    stripped = True
    while stripped:
        stripped = False
        for flag, pattern in _WIDGETS:
            match = pattern.search(text)
            if match and _is_page(match):
                text, stripped = text[: match.start()], True
                flags.append(flag)
    return text, flags


def _is_page(match: re.Match) -> bool:
    numbers = match.groupdict()
    return not numbers or 1 <= int(numbers["page"]) <= int(numbers["pages"])


def _message(message: dict) -> dict:
    if message["from"] not in ("human", "user"):
        return {"role": message["from"], "content": message["value"]}
    content, flags = strip_widgets(message["value"])
    return {"role": message["from"], "content": content, "flags": flags}


def _is_banner(message: dict) -> bool:
    return message["from"] == "system" and _BANNER.match(message["value"]) is not None


def _is_record(record: object) -> bool:
    return (
        isinstance(record, dict)
        and details.name(record.get("id")) is not None
        and isinstance(record.get("conversations"), list)
        and all(
            isinstance(message, dict) and isinstance(message.get("from"), str) and isinstance(message.get("value"), str)
            for message in record["conversations"]
        )
    )


def _share_and_offset(record_id: str) -> tuple[str, int]:
    match = _SLICE_ID.fullmatch(record_id)
    return (match[1], int(match[2])) if match else (record_id, 0)


def _decode_utf8(file: Path) -> str:
    try:
        # final=False: a character that the end of the file cuts in two is left off.
        with open_file(file) as content:
            return codecs.utf_8_decode(content.read(), "strict", False)[0]
    except UnicodeDecodeError as error:
        raise StageError(f"{file}: byte {error.start} is not UTF-8. Convert the file to UTF-8.") from error


def _is_cut_off(error: json.JSONDecodeError, text: str) -> bool:
    # A string without an end reaches the end of the file; every other error is at the last token,
    # which is at most \uXXXX long.
    return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip()) - len(r"\uXXXX")


def _expect(text: str, place: int, character: str, file: Path) -> None:
    if character == "[" and text[place : place + 1] == "{":
        raise StageError(f"{file}: JSON Lines, where kind sharegpt reads one JSON array. Put its records into an array.")
    if text[place : place + 1] != character:
        raise _broken(file, place, f"expected '{character}', found '{text[place : place + 20]}'")


def _broken(file: Path, place: int, problem: str) -> StageError:
    return StageError(
        f"{file}: not a JSON array of records: {problem} at character {place}. "
        "Fetch or repair it; in JSON Lines, which kind logs reads, a broken record costs itself alone."
    )
