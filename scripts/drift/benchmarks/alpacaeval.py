"""AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475): 805 instructions, answered against a baseline.

The task file is alpaca_eval_gpt4_baseline.json of the data set tatsu-lab/alpaca_eval, whose "output" is the baseline's answer,
or any list of {"instruction", "output"}. Tasks go by their instruction, as files of answers name no id.
"""

import hashlib

from drift.benchmarks.records import Judging, answer_text, clean, single_turn

# The published annotator calls the answers m and M and shows them in an order that is a coin per instruction.
JUDGING = Judging("letter", order="alpacaeval", letters=("m", "M"))
SIZE = 805


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
