"""Look for a benchmark's prompts in the training rows, for one that is not kept out of them.

Reads:  the Dsat, Sat, Corrections and Wordless tables (--dsat, ...) and the benchmark's Tasks table
        (--benchmark NAME=PATH).
Writes: a Contamination table (--contamination): what pools.py would have left out of the pools.
"""

import _python  # noqa: F401 - before what may be missing

import polars as pl

from drift import cli
from drift.data.contamination import BenchmarkTexts, user_messages
from drift.settings.data import ContaminationSettings
from drift.tables import Contamination, Corrections, Dsat, Sat, Tasks, Wordless, read_table, write_table

SCHEMAS = {"dsat": Dsat, "sat": Sat, "corrections": Corrections, "wordless": Wordless}
# Rows that are looked at together: their prompts are whole conversations.
ROWS = 2000


def contamination(rows: pl.DataFrame, pool: str, known: BenchmarkTexts) -> pl.DataFrame:
    """Contamination of a pool's training rows: of each row the first message that holds a task,
    with the evidence."""
    names = dict.fromkeys(("prompt_id", "benchmark", "task", "how", "evidence"), pl.String)
    parts = [pl.DataFrame(schema=names)]
    for some in rows.filter(split="train").iter_slices(ROWS):
        messages = user_messages(some.select("prompt_id", "prompt"))
        if pool == "corrections":
            # What a correction's chosen reply answers.
            messages = pl.concat([messages, some.select("prompt_id", content="feedback").drop_nulls()])
        hits = known.found_in(messages["content"])
        parts.append(hits.with_columns(prompt_id=messages["prompt_id"].gather(hits["row"])).select(list(names)))
    return pl.concat(parts).unique("prompt_id", keep="first", maintain_order=True).with_columns(pool=pl.lit(pool))


def main() -> None:
    command = cli.parser(__doc__, ContaminationSettings)
    for pool, schema in SCHEMAS.items():
        command.add_argument(f"--{pool}", required=True, help=f"{schema.__name__} table")
    command.add_argument("--benchmark", required=True, metavar="NAME=PATH", type=cli.named_path, help="its Tasks table")
    command.add_argument("--contamination", required=True, help="table to write")
    arguments = command.parse_args()

    name, path = arguments.benchmark
    settings: ContaminationSettings = arguments.settings
    tasks = read_table(Tasks, path)
    known = BenchmarkTexts([(name, tasks)], ngram=settings.ngram, coverage=settings.coverage)
    rows = pl.concat(
        contamination(read_table(schema, getattr(arguments, pool)), pool, known) for pool, schema in SCHEMAS.items()
    )
    write_table(rows, Contamination, arguments.contamination)
    print(f"{name}: {rows['task'].n_unique()} of {tasks.height} tasks are held by {rows.height} training rows")


if __name__ == "__main__":
    cli.run(main)
