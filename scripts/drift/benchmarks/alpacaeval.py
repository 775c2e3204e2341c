"""AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475): 805 instructions, answered against a
baseline.

The task file is alpaca_eval_gpt4_baseline.json of the data set tatsu-lab/alpaca_eval, whose
"output" is the baseline's answer, or any list of {"instruction", "output"}. Tasks go by their
instruction, as files of answers name no id.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drift.benchmarks.records import Judging, answer_text, clean, single_turn
from drift.metrics.display import Metric, percent
from drift.metrics.shown import LENGTH_CONTROLLED

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Statistic

# The published annotator calls the answers m and M and shows them in an order that is a coin per
# instruction.
JUDGING = Judging("letter", order="alpacaeval", letters=("m", "M"))
SIZE = 805
FILES = ("path", "baseline", "references", "difficulty", "gamed")
SCORE_FILES = ("gamed",)
METRICS = (
    LENGTH_CONTROLLED,
    Metric(
        "discrete_win_rate",
        "Win rate, discrete",
        percent,
        help="an item counts for whoever has more than half of it",
        better="higher",
    ),
    Metric("standard_error", "Standard error", percent, help="of the win rate, over items", detail=True),
)


def key(record: dict) -> str:
    """A hash of the instruction."""
    return "instruction-" + hashlib.md5(clean(record.get("instruction"), "instruction").encode()).hexdigest()[:16]


def task(record: dict) -> dict:
    """An instruction as a task."""
    return {
        "prompt": single_turn(record["instruction"], "instruction"),
        "baseline": answer_text(record) if record.get("output") is not None else None,
        "categories": [clean(record["dataset"], "dataset")] if record.get("dataset") else None,
    }


def difficulties(path: Path) -> list[float]:
    """The published estimates, instruction_difficulty.csv, in the order of the task file."""
    from drift.metrics.length_control import read_difficulty

    return read_difficulty(path).tolist()


def metrics(judgments: "pl.DataFrame", tasks: "pl.DataFrame", files: Mapping[str, Path]) -> "dict[str, Statistic]":
    """Win rates: as judged, discrete, and length-controlled; with `gamed` (df_gamed.csv) as
    published."""
    from drift.metrics import alpacaeval, length_control

    gamed = length_control.read_gamed(files["gamed"]) if "gamed" in files else None
    return alpacaeval.statistics(judgments, tasks, gamed)
