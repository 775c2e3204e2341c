"""Label each reply from the user's follow-up: satisfied, dissatisfied, or neither.

Reads:  the Turns table (--turns); for a labeler that asks a model the questions and the answers
        (--requests NAME=PATH, and --completions NAME=PATH once a shard); for one whose model is a
        classifier what that says (--probabilities NAME=PATH once a shard).
Writes: one Labels table (--labels), a row per reply and labeler, and the ledger (--ledger).
"""

import _python  # noqa: F401 - before what may be missing
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import polars as pl

from drift import cli, plugins, tables
from drift.data.prefetch import mapped
from drift.labelers import COLUMNS
from drift.ledger import LedgerBook
from drift.settings.data import LabelsSettings


def label(
    turns: pl.DataFrame, labelers: dict[str, ModuleType], answers: dict[str, pl.DataFrame]
) -> list[tuple[str, pl.DataFrame, Counter]]:
    """Every labeler's name, its labels of some exchanges, and the others' number by reason."""
    made = []
    for name, labeler in labelers.items():
        labels, dropped = labeler.label(turns, answers.get(name))
        made.append((name, labels.with_columns(labeler=pl.lit(name)).select(tables.Labels.column_names()), dropped))
    return made


def write_labels(turns: Path, settings: LabelsSettings, path: Path, answers: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Write every labeler's labels of the Turns table at `turns` to `path`, some exchanges at a
    time; returns the ledger.

    `answers`: `read_answers` of every labeler that asks a model, by its name, and of one whose
    model is a classifier its `answers`.
    """
    labelers = {name: plugins.load(plugins.LABELERS, row.kind) for name, row in settings.labelers.items()}
    given, dropped = Counter(), defaultdict(Counter)
    exchanges = pl.scan_parquet(turns).select(COLUMNS).collect_batches(chunk_size=tables.ROW_GROUP, maintain_order=True)

    def labelled() -> Iterator[pl.DataFrame]:
        for made in mapped(partial(label, labelers=labelers, answers=answers), exchanges):
            for name, labels, reasons in made:
                given[name] += labels.height
                dropped[name].update(reasons)
            yield pl.concat(labels for _, labels, _ in made).sort(tables.Labels.primary_key())

    tables.write_batches(labelled(), tables.Labels, path)
    rows, ledgers = pl.scan_parquet(turns).select(pl.len()).collect().item(), []
    for name, labeler in labelers.items():
        book = LedgerBook(f"labels:{name}", "labels", "turns", rows)
        for reason in labeler.DROPS:
            book.drop(reason, dropped[name][reason])
        book.regroup("one label a reply", "labels", given[name])
        ledgers.append(book.table())
    return pl.concat(ledgers)


def paths_by_name(named: list[tuple[str, Path]]) -> dict[str, list[Path]]:
    """The paths of each name."""
    paths = defaultdict(list)
    for name, path in named:
        paths[name].append(path)
    return paths


def read_answers(requests: list[Path], completions: list[Path]) -> pl.DataFrame:
    """What a model answered about each reply: conversation_id, turn, text and finish_reason, both
    null where no answer came. A request's prompt_id is CONVERSATION_ID/TURN."""
    asked = tables.read_table(tables.Requests, *requests).select("request_id", "prompt_id")
    answered = asked.join(tables.read_table(tables.Completions, *completions), on="request_id", how="left", validate="1:1")
    return answered.select(
        "text",
        "finish_reason",
        conversation_id=pl.col("prompt_id").str.replace(r"/\d+$", ""),
        turn=pl.col("prompt_id").str.extract(r"/(\d+)$").cast(pl.Int32),
    )


def read_classes(kind: str, classes: dict[str, str], probabilities: list[Path]) -> pl.DataFrame:
    """What a classifier says of each exchange, as a labeler of its `kind` reads it."""
    labeler = plugins.load(plugins.LABELERS, kind)
    return labeler.answers(tables.read_table(tables.ClassProbabilities, *probabilities), classes)


def main() -> None:
    command = cli.parser(__doc__, LabelsSettings)
    command.add_argument("--turns", required=True, type=Path, help="Turns table")
    for option, schema, whose in (
        ("--requests", "Requests", "that ask a model"),
        ("--completions", "Completions", "that ask a model"),
        ("--probabilities", "ClassProbabilities", "whose model is a classifier"),
    ):
        command.add_argument(
            option,
            nargs="*",
            default=[],
            metavar="NAME=PATH",
            type=cli.named_path,
            help=f"{schema} tables of labelers {whose}",
        )
    command.add_argument("--labels", required=True, type=Path, help="where to write the Labels table")
    command.add_argument("--ledger", required=True, type=Path, help="where to write the Ledger table")
    arguments = command.parse_args()

    requests, completions, probabilities = (
        paths_by_name(named) for named in (arguments.requests, arguments.completions, arguments.probabilities)
    )
    rows = arguments.settings.labelers
    answers = {name: read_answers(paths, completions[name]) for name, paths in requests.items()}
    answers |= {name: read_classes(rows[name].kind, rows[name].classes, paths) for name, paths in probabilities.items()}
    ledger = write_labels(arguments.turns, arguments.settings, arguments.labels, answers)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
