"""The gate on the policy that a training starts from: does it still write as it did?

It changes no result, so it is one of the modules that fingerprints leave out: a reworded message
trains nothing again.
"""

from pathlib import Path

import polars as pl

from drift import policies
from drift.training.gates import Gates

# What is known to hold a policy, and the limits.
CURE = (
    "Training on from it would make it worse. Read its replies in the view responses, and compare both sides of its pairs in "
    "pair_lengths: what y+ and y- differ in beside quality is what it learns. What helps: y+ that somebody checked (a recipe "
    "with chosen: best, rank and min_score; for topics rankers.NAME.on_topic), y- that follow the policy (rejected: worst), prompts "
    "that ask for more as often as for less, a smaller training.learning_rate, a larger weight of sft in training.losses, fewer "
    "iterations. "
    "training.behaviour has the limits; outcome: warn trains on whatever they say"
)


def check_start(gates: Gates, manifest: Path, behaviour: Path | None) -> None:
    """Raise StageError where the policy to start from is outside a limit that stops. `manifest`:
    its policy.json; `behaviour`: its Behaviour table, None for a base model."""
    broken, detail = [], "no limit of training.behaviour stops it"
    if behaviour is not None:
        # Not by the table's schema: a column that it gets must train nothing again.
        broken = pl.read_parquet(behaviour, columns=["stops", "detail"]).filter("stops")["detail"].to_list()
    if broken:
        detail = f"{policies.read_manifest(manifest)['name']}: {'; '.join(broken)}. {CURE}"
    gates.check("the start writes as before", not broken, detail)
    gates.close()
