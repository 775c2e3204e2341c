"""How a policy ranks held-out corrections: the reply that satisfied over the one that
disappointed."""

import polars as pl

from drift.cli import StageError
from drift.metrics import resampling
from drift.metrics.display import Metric, percent, signed
from drift.names import HELDOUT_PAIRS

METRICS = (
    Metric(
        "preference_accuracy",
        "Preference accuracy",
        percent,
        "%",
        "share of held-out corrections with s > 0, measured from the base model",
        "Rising: on conversations never trained on, the reply that satisfied gains on the reply that disappointed. "
        "50% (dashed) is chance.",
        rule=0.5,
    ),
    Metric(
        "margin",
        "Held-out margin s",
        signed,
        help="mean s on held-out corrections, measured from the base model",
        curve="Rising: the preference learned from the pairs carries over to unseen corrections; 0 (dashed) is the base model.",
        rule=0.0,
        headline=True,
    ),
    Metric("likelihood_accuracy", "Likelihood accuracy", percent, help="share where the satisfying reply is the likelier one"),
    Metric(
        "chosen_logp_change",
        "Chosen log-probability",
        signed,
        help="mean change of log p(satisfying reply) from the base model, nats",
        curve="Falling: the satisfying replies themselves become less likely than under the base model (dashed), "
        "so the margin grows only because the rejected ones fall faster.",
        rule=0.0,
    ),
    Metric(
        "rejected_logp_change",
        "Rejected log-probability",
        signed,
        help="mean change of log p(disappointing reply) from the base model, nats",
        curve="Falling: the policy moves away from the replies that disappointed; it should fall faster than the chosen one.",
        rule=0.0,
    ),
)
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
        "preference_accuracy": s > 0,
        "margin": s,
        "chosen_logp_change": chosen,
        "rejected_logp_change": rejected,
    }
    return {name: resampling.mean(logps["pair_id"], each) for name, each in values.items()}
