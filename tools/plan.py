"""What a run will take before it is paid for: jobs, tokens, GPU memory, GPU hours, disk, and the
bill of endpoints.

    python tools/plan.py --configfile config.yaml --machine h100-80 --gpus 8 --disk 4000 --price 2.5

Reads a configuration and the description of a machine: a name that --help lists, or a YAML file
with the same keys (gpus, memory, tflops, bandwidth, host_memory, disk, price). Prints the plan, and
where the run cannot fit, what does not, and which knobs make it fit; then the exit code is 1.
Nothing is loaded or downloaded, and no GPU is needed: formulas and their sources are in
scripts/drift/workflow/cost_model.py. What the data will be like is assumed (--rows, --tokens) until
it is there.

It needs pydantic and PyYAML, and Snakemake for the jobs: run it with .venv/snakemake/bin/python
(`make plan` does).
"""

import _path  # noqa: F401 - must come before drift
import argparse
import importlib.util
import math
import sys
from dataclasses import asdict
from pathlib import Path

import yaml

from drift.cli import StageError
from drift.config import ConfigError, load
from drift.workflow.config_files import refuse_repeated_keys
from drift.workflow.dry_run import DryRunError, Job, dry_run, parse
from drift.workflow.machines import MACHINES, read_machine
from drift.workflow.plan.budget import plan
from drift.workflow.plan.shapes import shape_finder
from drift.workflow.plan.text import pairs, show
from drift.workflow.plan.work import ROWS, Lengths

REPOSITORY = Path(__file__).resolve().parents[1]


def read_config(path: Path) -> dict:
    """The validated configuration. Raises StageError."""
    try:
        refuse_repeated_keys([path])
        return load(yaml.safe_load(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError) as error:
        raise StageError(f"{path}: {error}") from error


def planned_jobs(config_file: Path) -> list[Job]:
    """The jobs of the whole run, by Snakemake's own plan. Raises StageError where it cannot
    plan."""
    if importlib.util.find_spec("snakemake") is None:
        raise StageError(
            f"{sys.executable} has no Snakemake to count the jobs with; use .venv/snakemake/bin/python, or --no-jobs"
        )
    arguments = ["--forceall", "--nolock", "--cores", "1", "--snakefile", str(REPOSITORY / "Snakefile")]
    arguments += ["--directory", str(REPOSITORY), "--configfile", str(config_file.resolve())]
    try:
        return parse(dry_run(*arguments))
    except DryRunError as error:
        raise StageError(f"Snakemake cannot plan the run:\n{str(error).strip()[-2000:]}") from error


def _number(text: str) -> tuple[str, float]:
    """NAME=NUMBER of the command line; the number is 0 or more."""
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: NAME=NUMBER is needed, a number of 0 or more")
    return name, number


def read_arguments() -> argparse.Namespace:
    """The command line; `rows` and `tokens` by name."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    machines = f"a YAML file, or one of {', '.join(MACHINES)} (default: h100-80)"
    command.add_argument("--machine", default="h100-80", help=machines)
    command.add_argument("--gpus", type=int, help="how many of them")
    command.add_argument("--disk", type=float, help="free space, GB")
    command.add_argument("--host-memory", type=float, help="memory of the host that a job gets, GiB")
    command.add_argument("--price", type=float, help="USD per GPU hour")
    command.add_argument("--parameters", type=float, help="of a model that nothing else is known of, e.g. 7.6e9")
    assumed = {"rows": (ROWS, "pools"), "tokens": (asdict(Lengths()), "mean lengths")}
    for name, (defaults, what) in assumed.items():
        command.add_argument(
            f"--{name}", type=_number, nargs="+", default=[], metavar="NAME=N", help=f"{what}: {pairs(defaults)}"
        )
    command.add_argument("--no-jobs", action="store_true", help="leave out Snakemake's count of the jobs")
    arguments = command.parse_args()
    for name, (defaults, _) in assumed.items():
        given = dict(getattr(arguments, name))
        if unknown := set(given) - set(defaults):
            command.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(defaults)}")
        setattr(arguments, name, given)
    return arguments


def main() -> None:
    arguments = read_arguments()
    config = read_config(arguments.configfile)
    machine = read_machine(
        arguments.machine,
        gpus=arguments.gpus,
        disk=arguments.disk,
        host_memory=arguments.host_memory,
        price=arguments.price,
    )
    limits = {table: config["data"].get(f"max_{table}") for table in ROWS}
    rows = {table: arguments.rows.get(table, limits[table] or count) for table, count in ROWS.items()}
    lengths = Lengths(**arguments.tokens)
    budget = plan(config, machine, rows, lengths, shape_finder(REPOSITORY, arguments.parameters))
    jobs = None if arguments.no_jobs else planned_jobs(arguments.configfile)
    print(show(config["run"], budget, rows, lengths, jobs))
    if budget.problems:
        raise StageError("this run cannot be:\n" + "\n".join(f"  - {problem}" for problem in budget.problems))


if __name__ == "__main__":
    try:
        main()
    except StageError as error:
        sys.exit(f"error: {error}")
