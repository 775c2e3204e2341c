"""Pairs per second: our `train` rule against TRL's own trainer with the released hyperparameters,
on the same pairs.

Both take the pairs in the same order, so that their losses can be compared. The rule's time holds
all it does, with the reference's log-probabilities, its gates and the policy it writes.
`make bench-train` runs it, in some eight minutes on two cores.
"""

import sys
from pathlib import Path

import polars as pl
import yaml
from common import FOLDER, REPOSITORY, measured, rule, rule_seconds

from drift import config as configuration
from drift.settings.training import PolicyTraining

PAIRS = FOLDER / "warmup/pairs.parquet"
RECORD = Path("train/smollm2-135m/warmup.jsonl")


def stock() -> dict:
    """TRL's trainer on the warm-up's pairs."""
    values = configuration.load(yaml.safe_load((REPOSITORY / "perf/run.yaml").read_text()))
    settings = PolicyTraining.of(values["training"]).canonical()
    program = (sys.executable, "perf/stock_train.py", "--pairs", PAIRS, "--policy", FOLDER / "base/policy")
    return measured(*program, "--settings", settings)


def main() -> None:
    pairs = pl.read_parquet(REPOSITORY / PAIRS).height
    theirs = stock()
    ours = rule(FOLDER / "warmup/policy.json")
    log = pl.read_parquet(REPOSITORY / FOLDER / "warmup/train.parquet")
    losses = log.filter(metric="loss").sort("step")["value"].to_list()
    steps = log.filter(metric="train_runtime")["value"].item()
    ours |= {"seconds": rule_seconds(RECORD), "training": steps}

    print(f"{pairs} pairs, one epoch in {len(losses)} steps")
    print(f"{'':<16}{'seconds':>9}{'pairs/s':>9}{'of which steps':>16}{'peak GiB':>10}")
    for name, run in (("stock trainer", theirs), ("our rule", ours)):
        print(f"{name:<16}{run['seconds']:>9.0f}{pairs / run['seconds']:>9.3f}{run['training']:>16.0f}{run['memory']:>10.1f}")
    apart = max(abs(one - other) for one, other in zip(losses, theirs["losses"], strict=True))
    print(
        f"ratio {theirs['seconds'] / ours['seconds']:.2f} (steps alone {theirs['training'] / steps:.2f}), "
        f"memory {ours['memory'] / theirs['memory']:.2f}; losses differ by at most {apart:.1e}"
    )


if __name__ == "__main__":
    main()
