"""Recompute published AlpacaEval 2 and WildBench figures with this pipeline's metrics, and fail
where one is not met.

    python tools/check_golden.py FOLDER [--difficulty FILE] [--gamed FILE]

Reads:  FOLDER/alpacaeval: items.csv.gz (numbers per judged item), leaderboard.csv, lc_weights.csv
        (published figures), and, unless given, instruction_difficulty*.csv and df_gamed*.csv.
        FOLDER/wildbench: scores.csv.gz (judge scores per task), score.json, score_VERSION.json of
        other versions, pairwise_REFERENCE_KLENGTH.json and all_stat_KLENGTH.json (published
        figures).
        FOLDER may be either of the two itself. What needs a file or a figure that is not there is
        left out.
Prints: per metric, how many figures were recomputed and the largest difference; then what was left
        out, how often, and why.

Items and counts become Judgments, from which the functions that score a run compute every figure.
tests/golden/ is such a folder.
"""

import _path  # noqa: F401 - must come before drift
from functools import partial
from pathlib import Path

from drift import cli
from golden import alpacaeval, wildbench
from golden.report import Report


def part_of(folder: Path, name: str, hallmark: str) -> Path:
    """Where a benchmark's files are: in a folder of its name, or, where there is none but its
    files, in `folder` itself."""
    return folder if not (folder / name).is_dir() and any(folder.glob(hallmark)) else folder / name


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("folder", type=Path, help="folder that holds alpacaeval, wildbench or both, or is one of them")
    command.add_argument("--difficulty", type=Path, help="AlpacaEval's instruction difficulties")
    command.add_argument("--gamed", type=Path, help="AlpacaEval's regularising rows")
    arguments = command.parse_args()
    report = Report()
    parts = (
        (
            "alpacaeval",
            "items.csv.gz",
            partial(alpacaeval.check, difficulty_file=arguments.difficulty, gamed_file=arguments.gamed),
        ),
        ("wildbench", "*score*", wildbench.check),
    )
    for name, hallmark, check in parts:
        folder = part_of(arguments.folder, name, hallmark)
        if folder.is_dir():
            check(folder, report=report)
        else:
            report.skip(folder.name, "no such folder", str(folder))
    for line in report.lines():
        print(line)
    report.close()


if __name__ == "__main__":
    cli.run(main)
