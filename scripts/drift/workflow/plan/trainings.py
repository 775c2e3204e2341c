"""The trainings of a run."""

import math
from dataclasses import dataclass
from typing import Any

from drift import sides
from drift.config import effective, is_unpaired, pools_of, warms_up
from drift.names import FUTURE
from drift.workflow.iterations import of_iteration


@dataclass(frozen=True)
class Training:
    """A training of one model."""

    iteration: int  # the warm-up is 0
    method: str | None  # None: the warm-up
    pairs: float  # that the reference reads, and the diagnostics
    stepped: float  # pairs of an epoch's steps: what pacing takes, and what fills up the last one
    epochs: int
    measured: bool = True  # its diagnostics; not of a policy of the future, nor of single replies


def trainings(config: dict[str, Any], rows: dict[str, float]) -> list[Training]:
    """Every training of one model. `rows`: pairs, by pool."""
    found = []
    if warms_up(config):
        training, pairs = config["training"], rows["corrections"]
        found.append(Training(0, None, pairs, _whole_steps(pairs, training), training["warmup_epochs"]))
    limit = config["training"]["pairs"] or math.inf
    for method in config["methods"]:
        recipe = config["recipes"][method]
        training = effective(config, "training", recipe)
        # A policy of the future is trained on as many pairs before.
        future = any(sides.asked_of(kind) == FUTURE for kind in recipe["candidates"])
        for k in range(1, config["iterations"] + 1):
            # A single reply is read with its prompt and with another, as both of a pair are. Thumbs
            # without a word are not counted.
            most = (2 if is_unpaired(recipe) else 1) * limit
            # Earlier iterations' pairs are trained on again.
            pairs = (1 + min(recipe["replay"], k - 1)) * min(most, sum(rows.get(pool, 0) for pool in pools_of(recipe)))
            share = of_iteration(training["pacing"]["shares"], k) if training["pacing"] else 1.0
            of_pairs = (pairs, _whole_steps(share * pairs, training), training["epochs"])
            own = [Training(k, method, *of_pairs, measured=not is_unpaired(recipe))]
            own += [Training(k, method, *of_pairs, measured=False)] * future
            found += own * len(config["seeds"])
    return found


def _whole_steps(pairs: float, training: dict[str, Any]) -> int:
    """The pairs of an epoch's steps, the last of which is filled up (drift.training.order)."""
    return training["global_batch"] * math.ceil(pairs / training["global_batch"])
