"""Read answers with published figures, the validation set for the judges of a run.

Reads:  --source, a JSON Lines file (or JSON list, or Parquet) with one item a line, of either kind:

        {"id": "1", "prompt": "...", "response": "...", "score": 7}
        {"id": "2", "prompt": "...", "response_a": "...", "response_b": "...", "preference": 0.8}

        score: 1 to 10; preference: how far the first answer is the better one, 0 to 1, 0.5 a tie.
        "messages" instead of "prompt" where there are several turns. Optional: "checklist" (a list
        of strings), and "model" (of a pair "model_a" and "model_b"), by which models are ranked.
Writes: of the items of one --kind (pairwise or score) what judges are asked from, a Tasks (--tasks)
        and a Responses table (--responses), and what was published, a Published table
        (--published).
"""

import _python  # noqa: F401 - before what may be missing
from pathlib import Path
from typing import Any

import polars as pl

from drift import cli
from drift.benchmarks import prompts
from drift.benchmarks.files import keyed
from drift.benchmarks.records import clean
from drift.cli import StageError
from drift.tables import Published, Responses, Tasks, write_table

# The keys of an item of each kind, for the message.
KEYS = {"pairwise": "response_a, response_b and preference", "score": "response and score"}
# Responses has these columns, which say nothing of a published answer.
ANSWERED = {"sample": 0, "finish_reason": "stop", "completion_tokens": 0}


def item(record: dict[str, Any]) -> dict[str, Any]:
    """A line as the columns of all three tables; `kind` is the line's kind.

    Raises ValueError, or KeyError for a missing field, with what is wrong.
    """
    scored = record.get("score") is not None
    if scored == (record.get("preference") is not None):
        raise ValueError("either score or preference is needed")
    figure = record["score" if scored else "preference"]
    low, high = (1, 10) if scored else (0, 1)
    if not isinstance(figure, int | float) or isinstance(figure, bool) or not low <= figure <= high:
        raise ValueError(f"{'score' if scored else 'preference'} is not a number from {low} to {high}")
    first, second = ("response", None) if scored else ("response_a", "response_b")
    task = prompts.task(record | {"baseline": None if scored else clean(record[second], second), "categories": None})
    return task | {
        "kind": "score" if scored else "pairwise",
        "response": clean(record[first], first),
        "score": float(figure) if scored else None,
        "preference": None if scored else float(figure),
        "model": model_name(record, "model" if scored else "model_a"),
        "opponent": None if scored else model_name(record, "model_b"),
    }


def model_name(record: dict[str, Any], field: str) -> str | None:
    """A model's name, None where the record has none."""
    return None if record.get(field) is None else clean(record[field], field)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--source", required=True, type=Path, help="file with the items")
    command.add_argument("--kind", required=True, choices=list(KEYS), help="whose items are kept")
    command.add_argument("--tasks", required=True, help="Tasks table to write")
    command.add_argument("--responses", required=True, help="Responses table to write")
    command.add_argument("--published", required=True, help="Published table to write")
    arguments = command.parse_args()

    items = [
        {"prompt_id": name, "cluster": name} | columns for name, columns in keyed(arguments.source, prompts.key, item).items()
    ]
    rows = [ANSWERED | row for row in items if row["kind"] == arguments.kind]
    if not rows:
        raise StageError(
            f"{arguments.source} has no items with {KEYS[arguments.kind]}, with which a judge of this run is to be validated. "
            "Add some, or remove evaluation.validation."
        )
    for schema, path in (
        (Tasks, arguments.tasks),
        (Responses, arguments.responses),
        (Published, arguments.published),
    ):
        columns = schema.create_empty().schema
        write_table(pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns), schema, path)


if __name__ == "__main__":
    cli.run(main)
