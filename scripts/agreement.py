"""How far labelers agree with each other, and with labels made elsewhere.

Reads:  the Turns and Labels tables (--turns, --labels), and label files (--file NAME=PATH,
        --strata NAME=PATH) in the layout that tools/check_labels.py describes.
Writes: one Agreement table (--agreement).
"""

import _python  # noqa: F401 - before what may be missing
from itertools import permutations

import polars as pl

from drift import cli, tables
from drift.labelers import agreement
from drift.settings.data import AgreementSettings


def between_labelers(labels: pl.LazyFrame, labelers: list[str], seed: int) -> list[pl.DataFrame]:
    """Every labeler against every other, on the replies that both have judged."""
    parts, given = [], dict(labels.group_by("labeler").len().collect().rows())
    for name, other in permutations(labelers, 2):
        mine, theirs = (
            labels.filter(pl.col("labeler") == one).select("conversation_id", "turn", pl.col("label").alias(role))
            for one, role in ((name, "labeler"), (other, "reference"))
        )
        pairs = mine.join(theirs, on=["conversation_id", "turn"]).select("labeler", "reference").collect(engine="streaming")
        if pairs.height:
            whole = pairs.with_columns(stratum=pl.lit("all"), stratum_size=pl.lit(None, pl.Int64))
            parts.append(named(agreement.compare(whole, seed), name, other, given[other]))
    return parts


def against_file(
    gold: pl.DataFrame, source: str, turns: pl.LazyFrame, labels: pl.LazyFrame, labelers: list[str], name: str, seed: int
) -> list[pl.DataFrame]:
    """Every labeler against the labels of a file.

    Raises StageError where none of them is about a conversation of the run.
    """
    located = agreement.locate(gold, source, turns)
    if located.is_empty():
        raise cli.StageError(
            f"label file {name}: none of its {gold.height} labels is about a reply of source {source} that a user answered. "
            "Check that it was made from this source: ids are those of the source, turn_index counts messages from 0."
        )
    parts = []
    for labeler in labelers:
        judged = labels.filter(pl.col("labeler") == labeler).select("conversation_id", "turn", labeler="label").collect()
        pairs = located.rename({"label": "reference"}).join(judged, on=["conversation_id", "turn"])
        if pairs.height:
            parts.append(named(agreement.compare(pairs, seed), labeler, name, gold.height))
    return parts


def named(rows: pl.DataFrame, labeler: str, reference: str, given: int) -> pl.DataFrame:
    """Rows of `compare` with what was compared, and how many labels the reference gave in all."""
    return rows.with_columns(labeler=pl.lit(labeler), reference=pl.lit(reference), given=pl.lit(given, pl.Int32))


def main() -> None:
    command = cli.parser(__doc__, AgreementSettings)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--labels", required=True, help="Labels table")
    named = {"nargs": "*", "default": [], "metavar": "NAME=PATH", "type": cli.named_path}
    command.add_argument("--file", help="labels made elsewhere", **named)
    command.add_argument("--strata", help="how the sample of label file NAME was drawn", **named)
    command.add_argument("--agreement", required=True, help="where to write the Agreement table")
    arguments = command.parse_args()

    settings: AgreementSettings = arguments.settings
    strata = dict(arguments.strata)
    turns, labels = pl.scan_parquet(arguments.turns), pl.scan_parquet(arguments.labels)
    parts = between_labelers(labels, settings.labelers, settings.seed)
    for name, path in arguments.file:
        gold = agreement.read_labels(path, strata.get(name))
        source = settings.files[name].source
        parts += against_file(gold, source, turns, labels, settings.labelers, name, settings.seed)
    rows = pl.concat([tables.Agreement.create_empty(), *(part.select(tables.Agreement.column_names()) for part in parts)])
    tables.write_table(rows, tables.Agreement, arguments.agreement)


if __name__ == "__main__":
    cli.run(main)
