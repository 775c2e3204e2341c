"""Say what a run would read in logs, before anything runs: the shape, what is kept and what is
dropped for which reason, what users left, some replies that disappointed, and the configuration.

    .venv/cpu/bin/python tools/check_logs.py chats.jsonl
    .venv/cpu/bin/python tools/check_logs.py chats.csv \
        --columns conversation=chat_id role=sender content=text

Reads:  a file, or a folder of files, of kind `logs` (docs/data.md has the shapes), with the reader
        and the rules that the stages use. Copies of conversations are found by the run alone.
Writes: to the terminal. Logs that nothing can be read of end it with an error.
"""

import _path  # noqa: F401 - must come before drift
import json
import re
from collections import Counter
from pathlib import Path

import polars as pl
import yaml
from pydantic import ValidationError

from drift import cli, sources
from drift.config import Source
from drift.labelers import answered, lexical
from drift.sources import exchanges as cut
from drift.sources import logs
from drift.sources.conversations import frames
from drift.sources.shapes import known

EXAMPLES, WIDTH, LISTED = 5, 160, 20
# What filters leave out of the pools by the flags of an exchange, in the order of filters.sql.
FILTERS = {
    "drop_tool_calls": [logs.TOOL_CALL],
    "drop_missing_parts": [logs.MISSING_PART],
    "drop_merged": ["merged_user", "merged_response"],
}


class Findings:
    """What is found in `path`, frame by frame. Raises StageError as the reader does, and ValueError
    where `columns` are not what the configuration takes."""

    def __init__(self, path: Path, columns: dict[str, str] | None) -> None:
        self.source = Source(kind="logs", path=str(path), columns=columns)
        self.counts: Counter[str] = Counter()
        self.reading = logs.Reading(self.counts, columns)
        self.bad: dict[str, tuple[str, object]] = {}
        self.users: set[str] = set()
        self.languages: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.exchanges, self.comments = 0, 0
        self.examples: dict[str, list[dict[str, str]]] = {"source": [], "lexical": []}
        for frame in frames(self.reading.conversations(sources.source_files(path, logs))):
            self._take(frame)
        self.bad |= self.reading.bad

    def _take(self, frame: pl.DataFrame) -> None:
        rows, dropped = cut.exchanges(frame)
        self.counts.update(dropped)
        for reason in (+dropped).keys() - self.bad.keys():
            conversation = _first_dropped(frame, reason)
            self.bad[reason] = (f"conversation {conversation['id']}", conversation["messages"])
        self.users.update(frame["user"].drop_nulls())
        self.languages.update(frame["language"].drop_nulls())
        self.comments += frame["messages"].explode().struct.field("comment").count()
        self.exchanges += rows["response"].count()
        self.left.update(rows["source_label"].drop_nulls())
        out = pl.coalesce(
            pl.when(pl.col("flags").list.set_intersection(flags).list.len() > 0).then(pl.lit(name))
            for name, flags in FILTERS.items()
        )
        rows = rows.with_columns(left_out=out)
        self.left_out.update(rows.drop_nulls("response")["left_out"].drop_nulls())
        labels = lexical.labels(answered(rows))
        self.judged.update(labels["label"])
        for kind, labelled in (("source", answered(rows).rename({"source_label": "label"})), ("lexical", labels)):
            found = labelled.filter(pl.col("left_out").is_null(), label="DSAT").head(EXAMPLES - len(self.examples[kind]))
            self.examples[kind] += found.select("id", "user", "response", "feedback").to_dicts()

    @property
    def labeler(self) -> str:
        """The kind of labeler for these logs: where thumbs or ratings say that replies
        disappointed, what reads them."""
        return "source" if self.left["DSAT"] else "lexical"

    @property
    def kept(self) -> int:
        """Conversations with an exchange."""
        return self.counts["conversations"] - sum(self.counts[reason] for reason in (*logs.CONVERSATION_DROPS, *cut.DROPS))


def _first_dropped(frame: pl.DataFrame, reason: str) -> dict:
    """The first conversation of a frame that is dropped for `reason`, by halving."""
    while frame.height > 1:
        half = frame.head(frame.height // 2)
        frame = half if cut.exchanges(half)[1][reason] else frame.tail(-half.height)
    return frame.to_dicts()[0]


def report(found: Findings) -> str:
    """What was found, in words."""
    shapes = ", ".join(f"{name} ({count:,} records)" for name, count in found.reading.shapes.most_common())
    languages = ", ".join(f"{name} {count:,}" for name, count in found.languages.most_common(LISTED))
    left = ", ".join(f"{found.left[label]:,} {label}" for label in ("DSAT", "NEUTRAL", "SAT"))
    lines = [
        f"shape          {shapes}",
        f"keys           {', '.join(name for name, _ in found.reading.keys.most_common(LISTED))}",
        f"records        {found.counts[logs.UNIT]:,}",
        f"conversations  {found.kept:,} kept, with {found.exchanges:,} replies",
        f"users          {len(found.users):,}" if found.users else "users          not named: max_per_user counts nobody",
        f"languages      {languages}" if languages else "languages      not named: filters.languages: null keeps them",
        f"feedback       {left} by thumbs and ratings; {found.comments:,} comments",
        *(
            f"left out       {found.left_out[name]:,} of these replies, by data.filters.{name}"
            for name in FILTERS
            if found.left_out[name]
        ),
        f"next messages  {found.judged['DSAT']:,} DSAT, {found.judged['SAT']:,} SAT, by the rules of labeler lexical",
    ]
    reasons = [reason for reason in (*logs.DROPS, *logs.CONVERSATION_DROPS, *cut.DROPS) if found.counts[reason]]
    lines += ["", "dropped        nothing" if not reasons else "dropped, with the first of each:"]
    for reason in reasons:
        place, record = found.bad.get(reason, ("", ""))
        shown = "no JSON" if record is None else json.dumps(record, ensure_ascii=False, default=str)
        lines.append(f"  {found.counts[reason]:,}  {reason}" + (f"; {place}: {short(shown)}" if place else ""))
    by = {"source": "thumbs and ratings", "lexical": "the rules of labeler lexical"}[found.labeler]
    examples = found.examples[found.labeler]
    lines += ["", f"replies that disappointed, by {by}:" if examples else f"no reply that could be used disappointed, by {by}"]
    for example in examples:
        lines += [f"  {example['id']}", *(f"    {name:9} {short(example[name])}" for name in ("user", "response", "feedback"))]
    return "\n".join([*lines, "", "to paste into the configuration:", "", pasted(found)])


def pasted(found: Findings) -> str:
    """The section `data` of a configuration for what was found."""
    name = re.sub(r"[^A-Za-z0-9._-]+|^[^A-Za-z0-9]+", "", Path(found.source.path).name.split(".")[0]) or "chats"
    row = found.source.model_dump(include={"kind", "path", "columns"}, exclude_none=True)
    data = {"sources": {name: row}, "labelers": {found.labeler: {"kind": found.labeler}}, "labeler": found.labeler}
    return yaml.safe_dump({"data": data}, sort_keys=False, allow_unicode=True)


def short(text: str) -> str:
    """The beginning of a text in one line, without what would move the cursor."""
    line = " ".join(text[: 4 * WIDTH].split())
    line = "".join(character if character.isprintable() else "\ufffd" for character in line)
    return line if len(line) <= WIDTH else line[: WIDTH - 2] + " …"


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("path", type=Path, help="a file, or a folder of files")
    command.add_argument(
        "--columns",
        nargs="+",
        metavar="WHAT=COLUMN",
        default=[],
        help="of a message a row: conversation=chat_id role=sender ...",
    )
    arguments = command.parse_args()
    try:
        found = Findings(arguments.path, dict(part.partition("=")[::2] for part in arguments.columns) or None)
    except ValidationError as error:
        (fault, *_) = error.errors()
        keys = "".join(f" {key}" for key in fault["loc"] if key not in ("columns", "[key]"))
        raise cli.StageError(f"--columns{keys}: {fault['msg'].removeprefix('Value error, columns: ')}") from error
    if not found.counts[logs.UNIT]:
        raise cli.StageError(f"{arguments.path}: no record in it, an empty file")
    if not found.reading.shapes:
        raise cli.StageError(f"{arguments.path}: no JSON object in {found.counts[logs.UNIT]:,} lines. Known are: {known()}.")
    print(report(found))
    if not found.exchanges:
        raise cli.StageError(f"{arguments.path}: no reply in {found.counts[logs.UNIT]} {logs.UNIT}; the reasons are above.")


if __name__ == "__main__":
    cli.run(main)
