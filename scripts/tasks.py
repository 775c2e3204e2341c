"""Make a benchmark's tasks.

Reads:  the benchmark's file or folder of files (--source; of a kind that is made from the run's own
        data: dsat.parquet), files of other models' answers to its tasks (--baseline, --reference
        NAME=PATH), estimates of their difficulty (--difficulty) and solved examples (--examples).
        The modules of scripts/drift/benchmarks/ describe the files of each kind.
Writes: a Tasks table (--tasks).
"""

import _python  # noqa: F401 - before what may be missing
import hashlib
from pathlib import Path

import polars as pl

from drift import benchmarks, cli
from drift.benchmarks import Benchmark
from drift.benchmarks.files import keyed, located
from drift.benchmarks.records import answer_text
from drift.cli import StageError
from drift.settings.evaluation import TasksSettings
from drift.tables import Tasks, write_table

LISTED = 3  # tasks that a message names


def answers(path: Path, benchmark: Benchmark, tasks: dict, name: str) -> dict[str, str]:
    """The answers of one file by task; StageError where none is to a task of the benchmark."""
    by_task = keyed(path, benchmark.key, answer_text)
    absent = [task for task in tasks if task not in by_task]
    if len(absent) == len(tasks):
        raise StageError(f"{path}: no answer is to a task of this benchmark. Is it a file of answers to these tasks?")
    if absent:
        print(f"{name} has no answer to {len(absent)} of {len(tasks)} tasks ({', '.join(absent[:LISTED])} ...)")
    return by_task


def collect(
    benchmark: Benchmark,
    source: Path,
    baseline: Path | None = None,
    references: dict[str, Path] | None = None,
    difficulty: list[float] | None = None,
) -> pl.DataFrame:
    """All tasks of `source` as a Tasks table, with the answers in the files `baseline` and
    `references` (by model); `difficulty` is in the order of the task file."""
    tasks = keyed(source, benchmark.key, benchmark.task)
    if difficulty is not None and len(difficulty) != len(tasks):
        raise StageError(
            f"{len(difficulty)} difficulties for the {len(tasks)} tasks of {source}: they are for another list of tasks."
        )
    by_baseline = answers(baseline, benchmark, tasks, "the baseline") if baseline else {}
    by_model = {model: answers(path, benchmark, tasks, model) for model, path in (references or {}).items()}
    rows = [
        {"cluster": name}
        | task
        | {"prompt_id": name, "difficulty": difficulty[number] if difficulty is not None else None}
        | ({"baseline": by_baseline.get(name)} if baseline else {})
        | {"references": [{"model": model, "response": by[name]} for model, by in by_model.items() if name in by] or None}
        for number, (name, task) in enumerate(tasks.items())
    ]
    return pl.DataFrame(rows, schema=Tasks.create_empty().schema)


def with_examples(tasks: pl.DataFrame, path: Path, benchmark: Benchmark, shots: int) -> pl.DataFrame:
    """The tasks, each with the first `shots` of the solved examples in `path` that have its
    categories. StageError where there are fewer."""
    by_categories: dict[tuple[str, ...], list[dict]] = {}
    for _, example in located(path, benchmark.example):
        by_categories.setdefault(tuple(example["categories"] or ()), []).append(example["messages"])
    turns = []
    for categories in tasks["categories"]:
        shown = by_categories.get(tuple(categories if categories is not None else ()), [])
        if len(shown) < shots:
            named = f" of {', '.join(categories)}" if categories is not None else ""
            raise StageError(f"{path}: {len(shown)} solved examples{named} for {shots} shots; add some, or lower shots.")
        turns.append([message for messages in shown[:shots] for message in messages])
    return tasks.with_columns(examples=pl.Series(turns, dtype=tasks.schema["examples"]))


def pick(tasks: pl.DataFrame, max_tasks: int | None, seed: int) -> pl.DataFrame:
    """At most `max_tasks` of the tasks: those of the smallest seeded hash."""
    order = [hashlib.md5(f"{seed}|{prompt_id}".encode()).hexdigest() for prompt_id in tasks["prompt_id"]]
    return (
        tasks.with_columns(order=pl.Series(order, dtype=pl.String)).sort("order").head(max_tasks or tasks.height).drop("order")
    )


def only_file(path: Path, pattern: str) -> Path:
    """`path` itself, or the one file under the folder `path` that fits `pattern`."""
    files = sorted(path.rglob(pattern)) if path.is_dir() else [path]
    if len(files) != 1:
        raise StageError(f"{path}: one {pattern} file is needed there, and there are {len(files)}.")
    return files[0]


def main() -> None:
    command = cli.parser(__doc__, TasksSettings)
    command.add_argument("--source", required=True, type=Path, help="file or folder of tasks")
    command.add_argument("--baseline", type=Path, help="file of the answers to compare with")
    command.add_argument(
        "--reference", nargs="*", type=cli.named_path, default=[], metavar="NAME=PATH", help="files of other models' answers"
    )
    command.add_argument("--difficulty", type=Path, help="a CSV file, or the folder that holds it")
    command.add_argument("--examples", type=Path, help="file or folder of solved examples, shown before each task")
    command.add_argument("--tasks", required=True, help="table to write")
    arguments = command.parse_args()
    settings: TasksSettings = arguments.settings
    benchmark = benchmarks.load(settings.kind)
    difficulty = benchmark.difficulties(only_file(arguments.difficulty, "*.csv")) if arguments.difficulty else None
    tasks = collect(benchmark, arguments.source, arguments.baseline, dict(arguments.reference), difficulty)
    if tasks.is_empty():
        own = "path" not in benchmark.FILES
        together = "conversations of one user, and those that open alike, are held out together or not at all"
        cure = f"raise data.test_conversations or add data: {together}" if own else "check the path of the benchmark"
        raise StageError(f"{arguments.source} has no tasks to evaluate on; {cure}")
    if benchmark.SIZE not in (None, tasks.height):
        print(
            f"{arguments.source} has {tasks.height} tasks, where {settings.kind} is published with {benchmark.SIZE}: "
            "do not compare the two"
        )
    if arguments.examples:
        tasks = with_examples(tasks, arguments.examples, benchmark, settings.shots)
    write_table(pick(tasks, settings.max_tasks, settings.seed), Tasks, arguments.tasks)


if __name__ == "__main__":
    cli.run(main)
