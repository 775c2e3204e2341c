"""Two runs side by side: the settings in which they differ, and the scores of both.

    .venv/cpu/bin/python tools/compare.py results/first results/second

Reads their config.resolved.yaml and eval/scores.parquet. Policies are matched by model, method,
iteration and seed (0: the mean over all seeds), scores by benchmark, judge and metric. What one run
has alone is shown with a dash. Within a run policies are compared with tests
(eval/comparisons.parquet); the difference of two runs has none here: their prompts, answers and
judges may differ, and where a setting of the benchmark or of the judge does, the row says so.
"""

import _path  # noqa: F401 - must come before drift
import sys
from pathlib import Path
from typing import Any

import polars as pl

from _runs import interval, read_config, read_scores
from drift import cli

KEY = ["model", "method", "iteration", "seed", "benchmark", "judge", "metric"]
# What a figure is measured with: where it differs, two runs measure different things.
_MEASURE = ("evaluation.benchmarks.{benchmark}.", "evaluation.judges.{judge}.")


def flat(section: Any, key: str = "") -> dict[str, Any]:
    """The values of a configuration by their keys, such as training.beta."""
    if not isinstance(section, dict) or not section:
        return {key: section}
    return {
        name: value for part, inner in section.items() for name, value in flat(inner, f"{key}.{part}" if key else part).items()
    }


def differences(a: dict, b: dict) -> list[tuple[str, str, str]]:
    """Key, value in `a` and value in `b` of every setting in which two configurations differ; a
    dash where one has no such key."""
    one, other = flat(a), flat(b)
    keys = dict.fromkeys([*one, *other])
    return [
        (key, str(one.get(key, "-")), str(other.get(key, "-")))
        for key in keys
        if key != "run" and (key in one, one.get(key)) != (key in other, other.get(key))
    ]


def scores(a: pl.DataFrame, b: pl.DataFrame, changed: list[str]) -> list[list[str]]:
    """A row of text for every score of either run. `changed`: keys of settings that differ."""
    values = ["value", "low", "high", "n", "judge_prompt"]
    joined = a.select(KEY + values).join(b.select(KEY + values), on=KEY, how="full", coalesce=True, suffix="_b").sort(KEY)
    rows = []
    for row in joined.to_dicts():
        one, other = row["value"], row["value_b"]
        measured = [pattern.format(**row) for pattern in _MEASURE if row["judge"] or "judge" not in pattern]
        otherwise = any(key.startswith(place) for key in changed for place in measured)
        otherwise |= None not in (one, other) and row["judge_prompt"] != row["judge_prompt_b"]
        rows.append(
            [
                f"{row['model']}/{row['method']}",
                {-1: "base", 0: "warm-up"}.get(row["iteration"], f"iter{row['iteration']}"),
                str(row["seed"]),
                f"{row['benchmark']} {row['judge']}".strip(),
                row["metric"],
                interval(one, row["low"], row["high"]),
                interval(other, row["low_b"], row["high_b"]),
                "-" if None in (one, other) else f"{other - one:+.3f}",
                "measured otherwise" if otherwise else "",
            ]
        )
    return rows


def table(header: list[str], rows: list[list[str]]) -> str:
    """Rows of text in columns that are as wide as they need."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("a", type=Path, metavar="A", help="folder of a run, results/RUN")
    command.add_argument("b", type=Path, metavar="B", help="folder of the other")
    command.add_argument("--details", action="store_true", help="scores of each seed, group, check and reference as well")
    arguments = command.parse_args()
    changed = differences(*(read_config(run) for run in (arguments.a, arguments.b)))
    both = [read_scores(run, details=arguments.details) for run in (arguments.a, arguments.b)]
    names = [str(arguments.a), str(arguments.b)]
    short = [[key, *(value if len(value) <= 60 else value[:59] + "…" for value in values)] for key, *values in changed]
    print(table(["setting", *names], short) if changed else "No setting differs.")
    header = ["policy", "iteration", "seed", "benchmark, judge", "metric", *names, "B - A", ""]
    print(f"\n{table(header, scores(*both, [key for key, *_ in changed]))}")


if __name__ == "__main__":
    try:
        cli.run(main)
    except BrokenPipeError:  # `| head`
        sys.exit(0)
