"""Look at the encoder that answers are to be embedded by, before anything is asked of a policy.

Reads:  the folder of the encoder (--model) and the Tasks of the benchmark (--tasks).
Writes: what makes other embeddings of the same answers, as JSON (--embedder): weights_sha256.
"""

import _python  # noqa: F401 - before what may be missing
import json
from pathlib import Path

import polars as pl

from drift import cli
from drift.engines import encoders
from drift.files import write_text
from drift.policies import weights_sha256
from drift.settings.exploration import EmbedderSettings
from drift.tables import Tasks, read_table

KEY = "exploration.embedder.path"


def check_prompts(tasks: pl.DataFrame, settings: EmbedderSettings) -> None:
    """Raise StageError where there are fewer prompts than an answer has neighbours on a map."""
    if tasks.height < settings.neighbours:
        raise cli.StageError(
            f"benchmark {settings.benchmark} has {tasks.height} prompts, fewer than exploration.neighbours "
            f"{settings.neighbours}: the neighbours of an answer would be answers to its own prompt. Explore a larger benchmark, "
            "or take fewer neighbours"
        )


def main() -> None:
    command = cli.parser(__doc__, EmbedderSettings)
    command.add_argument("--model", required=True, type=Path, help="folder of the encoder")
    command.add_argument("--tasks", required=True, help="Tasks table")
    command.add_argument("--embedder", required=True, type=Path, help="JSON to write")
    arguments = command.parse_args()
    encoders.check(arguments.model, KEY)
    check_prompts(read_table(Tasks, arguments.tasks), arguments.settings)
    write_text(arguments.embedder, json.dumps({"weights_sha256": weights_sha256(arguments.model)}) + "\n")


if __name__ == "__main__":
    cli.run(main)
