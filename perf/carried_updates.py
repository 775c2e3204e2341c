"""How far the same small iterations lead with training.carry: fp32 and with bf16.

Trains the demo's model five times in a row on the same short pairs, with the paper's learning rate,
once with each carry. After each iteration it prints what it moved (update), which share of that
the served policy shows (policies.served_share), and the distance from the base model of what the
next iteration starts from and of what is served. `make bench-carry` runs it.
"""

import argparse
import gc
import json
import sys
import tempfile
from pathlib import Path

import polars as pl
import torch
import yaml
from common import FOLDER, REPOSITORY
from transformers import AutoModelForCausalLM

import train
from drift import config as configuration
from drift.settings.training import PolicyTraining, TrainingRun, TrainSettings
from drift.tables import Pairs, read_table, write_table
from drift.training import remainder

BASE = REPOSITORY / FOLDER / "base"


def weights(policy: Path, part: Path | None = None) -> list[torch.Tensor]:
    """The fp32 weights of a policy, with its remainder."""
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32, local_files_only=True)
    remainder.restore(model, part)
    return [parameter.data for parameter in model.parameters()]


def distance(ones: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """Euclidean, over all weights."""
    return sum((one - other).pow(2).sum().item() for one, other in zip(ones, others, strict=True)) ** 0.5


def trained(folder: Path, start: dict[str, Path], pairs: Path, settings: TrainSettings, run: TrainingRun) -> dict:
    """Train an iteration into `folder`; returns its policy.json. `start`: options of the
    program."""
    roles = ("start", "reference")
    options = {
        "settings": settings.canonical(),
        "run": run.canonical(),
        "rows": pairs,
        "prompts": REPOSITORY / FOLDER / "prompts/corrections.parquet",
        **{f"{role}{option}": path for role in roles for option, path in start.items()},
        "state": folder / "state",
        "policy": folder / "policy",
        "remainder": folder / "remainder",
        "manifest": folder / "policy.json",
        "log": folder / "train.parquet",
        "reference-logps": folder / "reference.parquet",
        "gates": folder / "gates.json",
    }
    sys.argv = ["train.py", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    train.main()
    return json.loads((folder / "policy.json").read_text())


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--pairs", type=int, default=4, help="the shortest of the warm-up's; two make a step")
    command.add_argument("--iterations", type=int, default=5)
    arguments = command.parse_args()
    train.MIN_CHANGED = 0.0  # what the gates would refuse is what is measured
    values = configuration.load(yaml.safe_load((REPOSITORY / "perf/run.yaml").read_text()))
    length = pl.col("prompt_token_ids").list.len() + pl.col("chosen_tokens") + pl.col("rejected_tokens")
    pairs = read_table(Pairs, REPOSITORY / FOLDER / "warmup/pairs.parquet").sort(length, "pair_id").head(arguments.pairs)
    base = weights(BASE / "policy")
    print("carry  iteration  update  served share  carried from base  served from base")
    with tempfile.TemporaryDirectory() as scratch:
        write_table(pairs, Pairs, Path(scratch) / "pairs.parquet")
        for carry in ("fp32", "bf16"):
            training = PolicyTraining.of(values["training"] | {"carry": carry, "device_batch": 2, "global_batch": 2})
            run = TrainingRun.of(values["training"] | {"min_carried": 0.0, "gradient_checkpointing": False}, deadline=None)
            start = {"": BASE / "policy", "-manifest": BASE / "policy.json"}
            for k in range(1, arguments.iterations + 1):
                folder = Path(scratch) / carry / str(k)
                instruction = values["prompting"]["instruction"]
                settings = TrainSettings(name=f"{carry}/{k}", seed=k, epochs=1, instruction=instruction, training=training)
                made = trained(folder, start, Path(scratch) / "pairs.parquet", settings, run)
                gc.collect()  # a trainer refers to itself
                start = {"": folder / "policy", "-manifest": folder / "policy.json", "-remainder": folder / "remainder"}
                carried = distance(weights(folder / "policy", folder / "remainder"), base)
                served = distance(weights(folder / "policy"), base)
                row = (
                    f"{carry:<5}{k:>11}{made['update_norm']:>8.4f}{made['served_share']:>14.3f}{carried:>19.4f}{served:>18.4f}"
                )
                print(row, flush=True)


if __name__ == "__main__":
    main()
