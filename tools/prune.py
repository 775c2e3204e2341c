"""List the weights of iterations that nothing needs any more, and how much they hold; with --delete
delete them.

An iteration's policy goes when the next iteration of its method and seed has been trained from it
and every job that reads it (answers to benchmarks, log-probabilities) is done and would not run
again; and so does its remainder, which trainings and diagnostics alone read. Policies of the future
go when they have been asked. The base model, the warm-up and the last iteration of each method and
seed stay, and so do all tables and policy.json: nothing reruns. What later needs the weights after
all (a benchmark that is added, a changed decoding) trains the iterations before it again.

Arguments are passed on to snakemake, which says what is done (`python tools/prune.py --profile
slurm`). Runs with the driver's Python.
"""

import _path  # noqa: F401 - must come before drift
import argparse
import shutil
import sys
from pathlib import Path

from drift import layout
from drift.workflow.dry_run import DryRunError, Job, dry_run, parse

# The names of the folders with weights.
_WEIGHTS = {Path(layout.PATTERNS[name]).name for name in ("trained_policy", "remainder")}


def prunable(jobs: list[Job], waiting: list[Job]) -> list[str]:
    """Folders of policies and remainders that can go. `jobs` is the whole DAG, `waiting` the part
    of it that would run now."""
    trainings = [job for job in jobs if job.rule == "train"]
    iterations = [job for job in trainings if job.wildcards["trained"] != layout.WARMUP]
    written = {path for job in iterations for path in job.files if Path(path).name in _WEIGHTS}
    needed = {path for job in waiting for path in (*job.inputs, *job.files)}
    continued = {path for job in trainings for path in job.inputs}
    # Those that an iteration trains to ask them alone: nobody goes on from them.
    asked = {path for job in iterations if _is_future(job.wildcards["trained"]) for path in job.files}
    return sorted(written & (continued | asked) - needed)


def _is_future(trained: str) -> bool:
    return layout.PolicyName.parse(trained).method.endswith(layout.FUTURE_SUFFIX)


def size(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--delete", action="store_true", help="delete what is listed")
    command.add_argument("--directory", type=Path, default=Path(), help="as snakemake's: where results/ is")
    arguments, passed = command.parse_known_args()
    passed = ["--directory", str(arguments.directory), *passed]
    try:
        jobs, waiting = parse(dry_run("--forceall", *passed)), parse(dry_run(*passed))
    except DryRunError as error:
        sys.exit(str(error))
    folders = [folder for path in prunable(jobs, waiting) if (folder := arguments.directory / path).is_dir()]
    freed = 0
    for folder in folders:
        freed += (bytes_ := size(folder))
        print(f"{bytes_ / 1e9:8.2f} GB  {folder}")
        if arguments.delete:
            shutil.rmtree(folder)
    print(f"{freed / 1e9:8.2f} GB  {'freed' if arguments.delete else 'could be freed'}: {len(folders)} folders")
    if folders and not arguments.delete:
        print("nothing was deleted: add --delete (make prune YES=1)")


if __name__ == "__main__":
    main()
