"""Which of an iteration's pairs are trained on: a share of them, from the easiest or the hardest
on, or at random, which is the control of both.

A pair is easy where the reference tells its replies apart: the difference of their mean
log-probabilities a token is far from 0, on whichever side. The reference's log-probabilities are
known before the first step, so that the order costs nothing.
"""

from drift.seeds import picked
from drift.settings.training import PaceSettings
from drift.training.gates import Gates
from drift.training.logps import PairLogps, PairTokens


def difficulty(row: PairTokens, logps: PairLogps) -> float:
    """Minus the distance of the mean log-probabilities a token, in nats: at most 0, which is
    hardest."""
    chosen, rejected = logps[row["pair_id"]]
    return -abs(chosen / len(row["chosen_ids"]) - rejected / len(row["rejected_ids"]))


def paced(gates: Gates, rows: list[PairTokens], logps: PairLogps, pace: PaceSettings | None) -> list[PairTokens]:
    """The rows that are trained on, in their order; at least one. None: all of them. Ties are
    broken by pair_id, and `gates` records how many are left."""
    if pace is None:
        return rows
    count = max(1, round(pace.share * len(rows)))
    if pace.order == "random":
        kept = set(picked((row["pair_id"] for row in rows), count, pace.seed))
    else:
        ordered = sorted(rows, key=lambda row: (difficulty(row, logps), row["pair_id"]), reverse=pace.order == "hard")
        kept = {row["pair_id"] for row in ordered[:count]}
    gates.check("pace", True, f"{count} of {len(rows)} pairs, {pace.order}")
    return [row for row in rows if row["pair_id"] in kept]
