"""Show what a policy writes in place of the replies that disappointed: what was asked, the logged
reply, what the user said, and a fresh reply.

    .venv/cpu/bin/python tools/taste.py results/taste/smollm2-135m/drift-unguided/seed42/iter1 \
        --page results/taste/taste.html

Reads:  the sampled replies of an iteration (its requests.parquet and completions/), and the prompts
        that they were sampled for (prompts/dsat.parquet of the model, or of data that came later).
Writes: a table to the terminal, and with --page an HTML page without scripts or outside content.

Conversations are untrusted: the page escapes every text.
"""

import _path  # noqa: F401 - must come before drift
import os
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import jinja2
import polars as pl

from drift import cli, files, layout
from drift.report.excerpts import safe
from drift.tables import Completions, Prompts, Requests, read_table

TEMPLATE = Path(__file__).resolve().parent / "taste.html.j2"
# Labels of the columns, in their order.
COLUMNS = {"asked": "asked", "rejected": "disappointed", "feedback": "the user said", "fresh": "a fresh reply"}


def rows_of(folder: Path) -> list[dict[str, str]]:
    """A row for every sampled reply of an iteration, with the keys of COLUMNS. Raises StageError
    where the iteration has sampled none on prompts with a reply that disappointed."""
    folder = Path(os.path.abspath(folder))  # without "..", which no name of a policy has
    made = sorted(path.relative_to(folder).as_posix() for path in (folder / "completions").glob("*-of-*.parquet"))
    shards = [folder / shard for shard in layout.last_split(str(folder), made)]
    try:
        iteration = layout.PolicyName.parse("/".join(folder.parts[-3:]))
    except ValueError:
        shards = []
    if not shards:
        raise cli.StageError(f"{folder} holds no sampled replies: give an iteration, RESULTS/MODEL/METHOD/seedS/iterK")
    prompts = _prompts(folder.parents[3], folder.parents[2].name, iteration)
    replies = read_table(Completions, *shards).select("request_id", "finish_reason", fresh="text")
    asked = read_table(Requests, folder / "requests.parquet").select("request_id", "prompt_id")
    joined = replies.join(asked, on="request_id")
    joined = joined.join(read_table(Prompts, prompts), on="prompt_id").sort("request_id") if prompts else joined.clear()
    if joined.is_empty():
        raise cli.StageError(f"{folder}: none of its prompts has a reply that disappointed")
    shown = joined.select(
        pl.col("prompt").list.last().struct.field("content").alias("asked"),
        "rejected",
        "feedback",
        pl.when(finish_reason="length").then(pl.col("fresh").str.strip_chars_end() + " …").otherwise("fresh").alias("fresh"),
    )
    return [{name: safe(text or "").strip() for name, text in row.items()} for row in shown.to_dicts()]


def _prompts(run: Path, model: str, iteration: layout.PolicyName) -> Path | None:
    """The prompts of an iteration that have a reply that disappointed: of the newest data that it
    read, which hold all before them. None where it has none."""
    paths, table = layout.paths(str(run)), "dsat"
    places = [paths.prompts.format(model=model, table=table)]
    for number in range(1, iteration.iteration + 1):
        for data in (layout.LaterData(number), layout.LaterData(number, model, replace(iteration, iteration=number))):
            places.append(paths.later_prompts.format(later=data, model=model, table=table))
    return next((Path(place) for place in reversed(places) if Path(place).is_file()), None)


def table(rows: list[dict[str, str]], width: int) -> str:
    """The rows as a table of `width` characters, every cell wrapped within its column."""
    cell = (width - 3 * (len(COLUMNS) - 1)) // len(COLUMNS)
    rule = "-+-".join("-" * cell for _ in COLUMNS)
    return f"\n{rule}\n".join(_lines(row, cell) for row in [COLUMNS, *rows])


def _lines(row: dict[str, str], cell: int) -> str:
    wrapped = [[line for part in row[name].splitlines() for line in textwrap.wrap(part, cell)] or [""] for name in COLUMNS]
    height = max(map(len, wrapped))
    padded = [[*lines, *[""] * (height - len(lines))] for lines in wrapped]
    return "\n".join(" | ".join(f"{text:<{cell}}" for text in line).rstrip() for line in zip(*padded, strict=True))


def page(rows: list[dict[str, str]], policy: str) -> str:
    """The rows as an HTML page."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(rows=rows, columns=COLUMNS, policy=policy)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("iteration", type=Path, help="folder of an iteration: RESULTS/MODEL/METHOD/seedS/iterK")
    command.add_argument("--page", type=Path, help="HTML page to write")
    arguments = command.parse_args()
    rows = rows_of(arguments.iteration)
    print(table(rows, max(80, min(160, shutil.get_terminal_size((120, 24)).columns))))
    if arguments.page:
        files.write_text(arguments.page, page(rows, str(arguments.iteration)))
        print(f"\nThe same as a page: {arguments.page}")


if __name__ == "__main__":
    cli.run(main)
