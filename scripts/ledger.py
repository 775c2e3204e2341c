"""Put the ledgers of all stages into one, and check that every lineage adds up.

Reads:  the Ledger tables of the stages (--parts), and those of later data (--later FOLDER=PATH),
        whose lineages get the folder's name in front.
Writes: one Ledger table of all lineages (--ledger).
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli, tables


def check_lineages(ledger: pl.DataFrame) -> None:
    """Raise StageError for the first step that does not start with what the step before it left."""
    for (lineage,), steps in ledger.sort("lineage", "step").group_by("lineage", maintain_order=True):
        left = None
        for position, step in enumerate(steps.iter_rows(named=True)):
            if step["step"] != position:
                raise cli.StageError(
                    f"ledger of '{lineage}': step {position} is missing. Give the ledger of every stage of this lineage in --parts."
                )
            starts = (step["rows_in"], step["unit_in"])
            if left is not None and starts != left:
                raise cli.StageError(
                    f"ledger of '{lineage}': step {position} ({step['stage']}: {step['reason']}) starts with {starts[0]} "
                    f"{starts[1]}, but step {position - 1} left {left[0]} {left[1]}. Rows were lost or added between the two "
                    f"without a record: run the stage '{step['stage']}' again; if that does not help, its code does not count "
                    "every row that it reads."
                )
            left = (step["rows_out"], step["unit_out"])


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--parts", nargs="+", required=True, help="Ledger tables")
    command.add_argument(
        "--later", nargs="*", default=[], metavar="FOLDER=PATH", type=cli.named_path, help="Ledger tables of later data"
    )
    command.add_argument("--ledger", required=True, help="table to write")
    arguments = command.parse_args()
    later = [
        tables.read_table(tables.Ledger, path).with_columns(lineage=pl.lit(f"{folder}/") + pl.col("lineage"))
        for folder, path in arguments.later
    ]
    ledger = pl.concat([tables.read_table(tables.Ledger, *arguments.parts), *later])
    check_lineages(ledger)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
