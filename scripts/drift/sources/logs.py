"""Chat logs of your own, in the shapes of drift.sources.shapes. The plainest is a conversation a
record, with messages as in OpenAI's chat API:

    {"id": "42", "messages": [{"role": "user", "content": "Hi"},
                              {"role": "assistant", "content": "Hello!"}, ...]}

Files are JSON Lines, JSON (an array of records, or one record), CSV or Parquet; they may be
compressed (.gz, .zst). A shape is told by the keys of a record. A message a row has no keys of its
own: the source's `columns` say what its columns hold (shapes/rows.py).

content is text, or the API's list of parts, of which those that are text (or a refusal) are kept;
of a reply without content its refusal. What is no text is left out and flagged, and the filters
decide (data.filters.drop_tool_calls, drop_missing_parts):

    tool_call      on a reply before which a tool was called: it rests on results that are not kept
    missing_part   on every message from the first with an image, audio or file on
    thought        on a reply of which a thought was left out: a field or part of its own, or the
                   beginning of the text (<think>, or all up to </think> where the prompt had the
                   first tag; Open WebUI's <details>); no filter asks for it

Optional fields of a conversation:

    id                 text or whole number; a record without this key is named by its contents, so
                       that equal ones count once
    model, language    text
    timestamp          seconds or milliseconds since 1970, or ISO 8601; UTC where it names no zone
    user               text or whole number that is the same in all conversations of a user; the
                       tables get a number in its place

One of these that cannot be read is left out, and the conversation is flagged `unreadable_detail`.

and of a reply (role assistant) "feedback", what the user thought of it, with any of

    thumbs     "up" or "down", or another word for it (thumbs_down, like, true, 1, -1; 0 is down);
               "score" and "value" are other names for it, and may be a number between 0 and 1
    rating     a number, with scale, its [worst, best] values: the lowest quarter is DSAT, the
               highest SAT, the rest NEUTRAL
    comment    what the user wrote about the reply outside of the chat; it is the feedback in place
               of the user's next message. "reason" and "text" are other names for it

A thumb may also stand alone in the place of such an object.

The labeler `source` reads thumbs and ratings; where they differ, the worse one counts.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from drift.cli import StageError
from drift.sources import details, sharegpt
from drift.sources.conversations import UNREADABLE_DETAIL, frames
from drift.sources.exchanges import role_of
from drift.sources.files import LONGEST_LINE, UNREADABLE, csv_rows, is_array, is_lines, json_document, json_lines, suffix
from drift.sources.parquet import parquet_rows
from drift.sources.shapes import REASONS, known, shape_of
from drift.sources.shapes.base import Call
from drift.sources.shapes.bodies import decoded
from drift.sources.shapes.calls import BRANCH, Calls, Said
from drift.sources.shapes.opinions import beyond_thumbs, in_our_words
from drift.sources.shapes.rows import BAD_ROW, NO_NAME, Rows
from drift.sources.shapes.rows import NAME as ROWS

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
UNIT = "records"
NOT_JSON = f"not a JSON object of at most {LONGEST_LINE >> 20} MiB"
NO_SHAPE = "keys of no known shape"
NO_ID = "an id that is empty, or neither text nor a whole number"
NO_MESSAGES = "no list of messages, each with role and text"
TOO_DEEP = "nested too deep"
NO_TEXT = "begins with a message that has no text (image, audio, file)"
BAD_FEEDBACK = "feedback that cannot be read: thumbs, or a rating with its scale, and a comment"
NO_SCALE = "a score over 1 or under -1, on a scale that nobody names"
DROPS = (NOT_JSON, sharegpt.CUT_OFF, NO_SHAPE, NO_NAME, *REASONS, NO_ID, NO_MESSAGES, TOO_DEEP, NO_TEXT, BAD_FEEDBACK, NO_SCALE)
CONVERSATION_DROPS = (BAD_ROW, BRANCH)

# Flags of messages, of which the filters know (sql/filters.sql).
TOOL_CALL, MISSING_PART, THOUGHT = "tool_call", "missing_part", "thought"
# A message's fields that call a tool.
_CALLS = ("tool_calls", "function_call")
_SAYS = {"content", "refusal", *_CALLS}
# Its fields that hold a thought, as APIs of reasoning models name them.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
# Where servers that do not part them leave thoughts; one without an end leaves no reply.
_THOUGHT = re.compile(r"\A\s*(<think>.*?(</think>|\Z)|<details type=.reasoning.[^>]*>.*?(</details>|\Z))\s*", re.DOTALL)
# Where a template puts the opening tag into the prompt, a reply begins within its thought. The tag
# that ends it is the last of a line; no blank, quote or bracket is before it: no sentence names it.
_CLOSED = re.compile(r"</think>(?<![ \t`'\"(]</think>)[ \t\r]*(?:\n\s*|\Z)")
# What parts of a content are that are no text of the chat, by their type; others are images, audio
# and files.
_PARTS = {
    **dict.fromkeys(("thinking", "redacted_thinking", "reasoning"), THOUGHT),
    **dict.fromkeys(("tool_use", "tool_call", "tool_result"), TOOL_CALL),
}
_THUMBS = {"up": "SAT", "down": "DSAT"}
# Keys of a record that a message shows.
_KEYS = 20


def read(files: list[Path], counts: Counter, columns: dict[str, str] | None = None) -> Iterator[pl.DataFrame]:
    """Yield the conversations of files of logs; blank lines are skipped. `columns`: of a message a
    row, as the configuration has them. Raises StageError where no record of a file has a shape that
    is known."""
    return frames(Reading(counts, columns).conversations(files))


class Reading:
    """How files of logs are read, and what was met on the way.

    shapes    number of records by the shape that they have
    keys      number of records by key, of the records that are JSON objects
    bad       by reason the first record that was dropped for it: where it is, and what it holds
    """

    def __init__(self, counts: Counter, columns: dict[str, str] | None = None) -> None:
        self._counts, self._rows, self._calls = counts, Rows(columns) if columns else None, Calls()
        self.shapes: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.bad: dict[str, tuple[str, object]] = {}

    def conversations(self, files: list[Path]) -> Iterator[dict]:
        """Yield the conversations of `files`: those that are a record each, then those that were
        put together."""
        for file in files:
            yield from self._of_file(file)
        for record, branches in self._calls.conversations():
            self._counts.update({"conversations": 1 + branches, BRANCH: branches})
            if branches:
                self.bad.setdefault(BRANCH, (f"of conversation {record['id']}", record["messages"]))
            conversation = parse(record)
            if isinstance(conversation, str):  # each of the calls was read when it was taken
                raise AssertionError(f"conversation {record['id']}: {conversation}")
            yield conversation
        for name, record, rows in self._rows.conversations() if self._rows else ():
            self._counts["conversations"] += 1
            conversation = parse(record) if record else BAD_ROW
            if isinstance(conversation, str):
                self._counts[BAD_ROW] += 1
                self.bad.setdefault(BAD_ROW, (f"conversation {name}", rows))
            else:
                yield conversation

    def _of_file(self, file: Path) -> Iterator[dict]:
        before, first = self.shapes.total(), None
        for number, record in enumerate(self._records(file), 1):
            self._counts[UNIT] += 1
            first = first or (record if isinstance(record, dict) else None)
            made = self._taken(file, record)
            if isinstance(made, str):
                self._counts[made] += 1
                self.bad.setdefault(made, (f"{file}, record {number}", record))
            elif made:
                self._counts["conversations"] += 1
                yield made
        if self.shapes.total() == before and first is not None:
            raise StageError(self._refusal(file, first))

    def _records(self, file: Path) -> Iterable[object]:
        kind = suffix(file)
        if kind in (".csv", ".tsv", ".parquet"):
            rows = parquet_rows(file) if kind == ".parquet" else csv_rows(file)
            # Lists and objects in a cell are JSON; a message's own text is left as it is.
            return rows if self._rows else ({name: decoded(value) for name, value in row.items()} for row in rows)
        if is_array(file):
            return self._elements(file)
        document = json_document(file) if kind == ".json" and not is_lines(file) else UNREADABLE
        return _of_document(document) if isinstance(document, dict) else json_lines(file)

    def _elements(self, file: Path) -> Iterator[object]:
        met: Counter[str] = Counter()
        yield from sharegpt.decode_records(file, met)
        if met[sharegpt.CUT_OFF]:
            self._counts.update({UNIT: 1, sharegpt.CUT_OFF: 1})

    def _taken(self, file: Path, record: object) -> dict | str | None:
        """The conversation in a record, or why it holds none; None where it is a part of one."""
        if not isinstance(record, dict):
            return NOT_JSON
        self.keys.update(map(str, record))
        if self._rows:
            if missing := self._rows.missing(record):
                raise StageError(
                    f"{file}: no column {', '.join(missing)}, which `columns` of the source names; it has: {_listed(record)}."
                )
            self.shapes[ROWS] += 1
            return self._rows.add(record)
        shape = shape_of(record)
        if shape is None:
            return NO_SHAPE
        self.shapes[shape.NAME] += 1
        try:
            found = shape.read(record)
        except RecursionError:
            return TOO_DEEP
        if not isinstance(found, Call):
            return found if isinstance(found, str) else parse(found)
        alone = parse(found.record())
        if isinstance(alone, str):
            return alone
        self._calls.add(found, [_known_by(message) for message in alone["messages"]])
        return None

    @staticmethod
    def _refusal(file: Path, record: dict) -> str:
        return (
            f"{file}: no record has a shape that is known. The first has the keys {_listed(record)}. "
            f"Known are: {known()}; and a message a row, where the source's `columns` say which columns hold "
            "conversation, role and content (docs/data.md)."
        )


def _of_document(document: dict) -> list:
    """The records in one JSON object: those of a session with its traces or of a page of an API,
    else itself."""
    if shape_of(document) is None:
        return next((document[name] for name in ("traces", "data") if isinstance(document.get(name), list)), [document])
    return [document]


def _listed(record: dict) -> str:
    names = [str(name) for name in record]
    return ", ".join(names[:_KEYS]) + (f" and {len(names) - _KEYS} more" if len(names) > _KEYS else "")


def parse(record: object) -> dict | str:
    """The conversation that a record holds, or the reason (of DROPS) why it holds none."""
    if not isinstance(record, dict):
        return NOT_JSON
    if (name := details.by_contents(record) if "id" not in record else details.name(record["id"])) is None:
        return NO_ID
    messages = _messages(record.get("messages"))
    if not messages:
        return NO_MESSAGES
    spoken = next((message for message in messages if message["role"] not in ("system", "developer")), messages[0])
    if not spoken["content"] and MISSING_PART in spoken["flags"]:
        return NO_TEXT
    said = [message.get("feedback") for message in record["messages"]]
    try:
        judged = [message | feedback(message, given) for message, given in zip(messages, said, strict=True)]
    except (ValueError, TypeError, OverflowError):
        return NO_SCALE if any(_is_beyond(given) for given in said) else BAD_FEEDBACK
    known, unreadable = details.of_conversation(record)
    if unreadable:
        judged[0]["flags"].append(UNREADABLE_DETAIL)
    return {"id": name, "messages": judged} | known


def feedback(message: dict, given: object) -> dict:
    """The label, evidence and comment in what is `given` as the feedback of a message.

    Raises ValueError or TypeError where it is malformed.
    """
    given = {} if details.is_absent(given) else in_our_words(given)
    if not isinstance(given, dict):
        raise ValueError("feedback is an object")
    given = {name: value for name, value in given.items() if not details.is_absent(value)}
    if not given:
        return {}
    if role_of(message["role"]) != "assistant" or not given.keys() <= {"thumbs", "rating", "scale", "comment"}:
        raise ValueError("feedback belongs to replies, and has other fields")
    if given.get("thumbs", "up") not in _THUMBS or ("rating" in given) != ("scale" in given):
        raise ValueError("thumbs are up or down, and a rating has a scale")
    labels, evidence = [], []
    if "thumbs" in given:
        labels.append(_THUMBS[given["thumbs"]])
        evidence.append(f"thumbs {given['thumbs']}")
    if "rating" in given:
        rating, (worst, best) = details.number(given["rating"]), map(details.number, given["scale"])
        labels.append(_rated(rating, worst, best))
        evidence.append(f"rating {rating:g} on {worst:g} to {best:g}")
    if not isinstance(given.get("comment", ""), str):
        raise ValueError("comment")
    worse = next((label for label in ("DSAT", "NEUTRAL", "SAT") if label in labels), None)
    return {"label": worse, "evidence": evidence, "comment": given.get("comment", "").strip() or None}


def _is_beyond(given: object) -> bool:
    given = in_our_words(given)
    return beyond_thumbs(given.get("thumbs") if isinstance(given, dict) else given)


def _rated(rating: float | None, worst: float | None, best: float | None) -> str:
    if None in (rating, worst, best) or worst == best:
        raise ValueError("rating")
    share = (rating - worst) / (best - worst)
    if not 0 <= share <= 1:
        raise ValueError("rating outside of its scale")
    return "DSAT" if share <= 0.25 else "SAT" if share >= 0.75 else "NEUTRAL"


def _messages(value: object) -> list[dict]:
    """Messages of text, each with its flags; none where one is malformed. A call of a tool and its
    result are replies without text, unless something was said with the call."""
    messages, missing = [], False
    for message in value if isinstance(value, list) else ():
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or not message.keys() & _SAYS:
            return []
        content = message.get("content") if message.get("content") is not None else message.get("refusal")
        result = message["role"] in ("tool", "function") or _is_result(content)
        text, left_out = ("", set()) if result or content is None else _text(content)
        if text is None:
            return []
        if role_of(message["role"]) == "assistant":
            text, has_thought = _without_thought(text)
            left_out |= {THOUGHT} if has_thought or any(message.get(name) for name in _THOUGHTS) else set()
        left_out |= {TOOL_CALL} if result or any(message.get(name) for name in _CALLS) else set()
        missing = missing or MISSING_PART in left_out
        left_out |= {MISSING_PART} if missing else set()
        messages.append({"role": "assistant" if result else message["role"], "content": text, "flags": sorted(left_out)})
    return messages


def _without_thought(text: str) -> tuple[str, bool]:
    """A reply without the thought that it begins with, and whether it has one."""
    reply, found = _THOUGHT.subn("", text)
    end = None if found else _CLOSED.search(text)
    # After an odd number of backticks the tag is quoted as code.
    if end and "<think>" not in (thought := text[: end.start()]) and thought.count("`") % 2 == 0:
        return text[end.end() :], True
    return reply, found > 0


def _known_by(message: dict) -> Said:
    return Said(role_of(message["role"]) or message["role"], message["content"].strip(), MISSING_PART in message["flags"])


def _is_result(content: object) -> bool:
    """Whether a content is the result of a tool alone, which Anthropic's API has in the user's
    name."""
    parts = content if isinstance(content, list) else [None]
    return bool(parts) and all(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)


def _text(content: object) -> tuple[str | None, set[str]]:
    """A message's text, of a list of parts that of those that are text or refusals, and the flags
    of the others; None where the content is malformed."""
    if not isinstance(content, list):
        return (content if isinstance(content, str) else None), set()
    if not all(isinstance(part, dict) and isinstance(part.get("type", ""), str) for part in content):
        return None, set()
    texts, left_out = [], set()
    for part in content:
        said = part.get("text") if part.get("text") is not None else part.get("refusal")
        kind = part.get("type", "").replace("-", "_")
        if kind in _PARTS or not isinstance(said, str):
            left_out.add(_PARTS.get(kind, MISSING_PART))
        else:
            texts.append(said)
    return "".join(texts), left_out
