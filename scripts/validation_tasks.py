"""Read answers with published figures, on which the judges of a run are tried before they are believed.

Reads --source, a JSON Lines file (or JSON list, or Parquet) with one item a line, of either kind:

    {"id": "1", "prompt": "...", "response": "...", "score": 7}
    {"id": "2", "prompt": "...", "response_a": "...", "response_b": "...", "preference": 0.8}

score: 1 to 10; preference: how far the first answer is the better one, 0 to 1, 0.5 a tie. "messages" in place of "prompt" where there are several turns.
Optional: "checklist" (a list of texts), "model" (of a pair "model_a" and "model_b"), by which models are ranked.

Writes, of the items of one kind (--kind pairwise or score), the tables that judges are asked from (Tasks, Responses) and what
was published of them (Published).
"""

from pathlib import Path

import polars as pl

from drift import cli
from drift.benchmarks import prompts
from drift.benchmarks.files import keyed
from drift.benchmarks.records import clean
from drift.cli import StageError
from drift.tables import Published, Responses, Tasks, write_table


def item(record: dict) -> dict:
    """A line as the columns of all three tables. Raises ValueError (KeyError) with what is wrong."""
    scored = record.get("score") is not None
    if scored == (record.get("preference") is not None):
        raise ValueError("either score or preference is needed")
    figure = record["score" if scored else "preference"]
    low, high = (1, 10) if scored else (0, 1)
    if not isinstance(figure, int | float) or isinstance(figure, bool) or not low <= figure <= high:
        raise ValueError(f"{'score' if scored else 'preference'} is no number from {low} to {high}")
    first, second = ("response", None) if scored else ("response_a", "response_b")
    task = prompts.task(record | {"baseline": None if scored else clean(record[second], second), "categories": None})
    return task | {
        "kind": "score" if scored else "pairwise",
        "response": clean(record[first], first),
        "score": float(figure) if scored else None,
        "preference": None if scored else float(figure),
        "model": named(record, "model" if scored else "model_a"),
        "opponent": None if scored else named(record, "model_b"),
    }


def named(record: dict, field: str) -> str | None:
    """A model's name, None where the record has none."""
    return None if record.get(field) is None else clean(record[field], field)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--source", required=True, type=Path)
    command.add_argument("--kind", required=True, choices=("pairwise", "score"))
    for table in ("tasks", "responses", "published"):
        command.add_argument(f"--{table}", required=True, help="table to write")
    arguments = command.parse_args()
    items = [{"prompt_id": name} | found for name, found in keyed(arguments.source, prompts.key, item).items()]
    rows = [row for row in items if row["kind"] == arguments.kind]
    if not rows:
        needed = {"pairwise": "response_a, response_b and preference", "score": "response and score"}[arguments.kind]
        raise StageError(
            f"{arguments.source} has no items with {needed}, which a judge of this run is to be tried on. Add some, or remove "
            "evaluation.validation."
        )
    answered = {"sample": 0, "finish_reason": "stop", "completion_tokens": 0}
    for schema, path, more in (
        (Tasks, arguments.tasks, {}),
        (Responses, arguments.responses, answered),
        (Published, arguments.published, {}),
    ):
        columns = schema.create_empty().schema
        write_table(
            pl.DataFrame([{name: (row | more).get(name) for name in columns} for row in rows], schema=columns), schema, path
        )


if __name__ == "__main__":
    cli.run(main)
