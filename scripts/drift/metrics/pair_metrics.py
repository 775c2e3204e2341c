"""How a policy ranks held-out corrections: the reply that satisfied over the one that
disappointed."""

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.metrics import resampling
from drift.names import HELDOUT_PAIRS

# What of these is measured without the base model.
ABSOLUTE = ("likelihood_accuracy",)


def pair_statistics(logps: pl.DataFrame, base: pl.DataFrame, beta: float) -> dict[str, resampling.Statistic]:
    """The margin s = beta [(lc - lc_base) - (lr - lr_base)] of each pair (Rafailov et al. 2023,
    section 4), and its parts.

    `logps` and `base`: Logps tables (nats, summed over tokens) of the same pairs under the policy
    and under the base model. StageError where the pairs differ.
    """
    both = logps.join(base, on="pair_id", how="inner", suffix="_base", maintain_order="left")
    if len(both) != len(logps) or len(both) != len(base):
        raise StageError(
            f"{HELDOUT_PAIRS}: {len(logps)} pairs under the policy, {len(base)} under the base model, {len(both)} in both. "
            "They were scored on different splits: delete both logps.parquet and run again."
        )
    chosen, rejected = ((both[f"{side}_logp"] - both[f"{side}_logp_base"]).to_numpy() for side in ("chosen", "rejected"))
    s = beta * (chosen - rejected)
    values = {
        "likelihood_accuracy": logps["chosen_logp"] > logps["rejected_logp"],
        # Of a policy that is the base model, which has no preference, half: chance.
        "preference_accuracy": (np.sign(s) + 1) / 2,
        "margin": s,
        "chosen_logp_change": chosen,
        "rejected_logp_change": rejected,
    }
    return {name: resampling.mean(logps["pair_id"], each) for name, each in values.items()}
