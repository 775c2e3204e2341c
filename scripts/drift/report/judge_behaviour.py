"""What a judge's behaviour leaves of its verdicts: nothing, or not all, whatever the configuration
says of the judge (`trusted`).

Every limit is where a number stops to carry information, or was published of a judge that is in
use; docs/evaluation.md lists them for readers.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from drift.config import Config
from drift.judging.protocols import judged
from drift.metrics.display import percent
from drift.metrics.shown import JUDGED
from drift.names import UNJUDGED

# A judge that reads neither answer takes the first with some probability p. Asked in both orders it
# contradicts itself in p^2 + (1 - p)^2 of the items: in half of them at least.
BLIND_FLIPS = 0.5
# GPT-4 contradicted itself on 35% of MT-Bench's pairs (Zheng et al. 2023, arXiv 2306.05685, table
# 2).
USUAL_FLIPS = 0.35
# Of the judge's first token: below one half most of it was no verdict, and what is read is the
# rest.
MOST = 0.5
USUAL_MASS = 0.9
# Questions without a verdict: the default of evaluation.judges.NAME.min_verdicts allows for one in
# twenty.
USUAL_MISSING = 0.05
# Answers that the token limit cut are judged as they are; ours.
USUAL_CUT = 0.1
# Items: all verdicts for one side are significant from six on (sign test, 2 * 0.5^6 = 0.03), and a
# win rate of a half is known to 10 points either way from 97 on (1.96 * 0.5 / sqrt(n)).
FEWEST_ITEMS = 6
USUAL_ITEMS = 97
# Half the width of a 95% interval in standard errors.
_Z = 1.96


@dataclass(frozen=True)
class Behaviour:
    """A judge of a benchmark: the reasons why its verdicts mean nothing there, and those why they
    mean less than they seem to."""

    benchmark: str
    judge: str
    nothing: tuple[str, ...] = ()
    caution: tuple[str, ...] = ()

    @property
    def reading(self) -> str:
        """What to think of its verdicts, in a few words."""
        return "means nothing" if self.nothing else "with caution" if self.caution else "no fault found"


def behaviours(scores: Iterable[dict], validation: Iterable[dict], config: Config) -> list[Behaviour]:
    """Every judge of every benchmark that has `scores` (rows of Scores), in the order of the
    configuration; `validation`: rows of Validation."""
    scores, validation = list(scores), list(validation)
    found = []
    for benchmark, judge in judged(config.model_dump(mode="json")):
        rows = [row for row in scores if row["benchmark"] == benchmark and row["judge"] in (judge, UNJUDGED)]
        if any(row["judge"] == judge for row in rows):
            agreement = [row for row in validation if (row["benchmark"], row["judge"]) == (benchmark, judge)]
            found.append(behaviour(benchmark, judge, rows, agreement))
    return found


def behaviour(benchmark: str, judge: str, scores: list[dict], validation: list[dict]) -> Behaviour:
    """The behaviour of one of them, by its scores of all policies, what was measured of the answers
    themselves, and its validation."""
    nothing, caution = [], []
    for verdict in (
        _flips(scores),
        _mass(_mean(scores, "verdict_mass")),
        _missing(_mean(scores, "parse_failure_rate")),
        _cut(_mean(scores, "cut_by_limit")),
        _items(scores),
        _agreement(validation),
    ):
        if verdict is not None:
            (nothing if verdict[0] else caution).append(verdict[1])
    return Behaviour(benchmark, judge, tuple(nothing), tuple(caution))


# A fault: whether it leaves nothing of the verdicts, and what it is.
_Fault = tuple[bool, str] | None


def _flips(scores: list[dict]) -> _Fault:
    rate = _mean(scores, "position_flip_rate")
    if rate is None:
        return None
    # Policies share the items, so that more of them are not more items.
    n = _most(scores, "position_flip_rate")
    said = f"it changes sides with the order of the answers in {percent(rate)} of {n} items"
    if _highest(rate, n) >= BLIND_FLIPS:
        return True, f"{said}, which cannot be told from a judge that reads neither (half or more)"
    return (False, f"{said}; GPT-4 did in {percent(USUAL_FLIPS)} of MT-Bench's") if rate > USUAL_FLIPS else None


def _mass(mass: float | None) -> _Fault:
    if mass is None or mass >= USUAL_MASS:
        return None
    return mass < MOST, f"a verdict has only {percent(mass)} of the probability of its first token"


def _missing(share: float | None) -> _Fault:
    if share is None or share <= USUAL_MISSING:
        return None
    return share > MOST, f"it gives no verdict on {percent(share)} of the questions"


def _cut(share: float | None) -> _Fault:
    if share is None or share <= USUAL_CUT:
        return None
    return share > MOST, f"the token limit cut {percent(share)} of the answers that it judges"


def _items(scores: list[dict]) -> _Fault:
    counts = [row["n"] for metric in JUDGED for row in _of(scores, metric.name)]
    if not counts or min(counts) >= USUAL_ITEMS:
        return None
    n = min(counts)
    if n < FEWEST_ITEMS:
        return True, f"it judged {n} items, of which not even {n} equal verdicts are significant"
    return False, f"it judged {n} items, which leave a win rate open by {percent(left_open(n))} either way"


def left_open(n: int) -> float:
    """Half the width of the 95% interval of a share of a half of n items."""
    return _Z * 0.5 / math.sqrt(n)


def _agreement(validation: list[dict]) -> _Fault:
    kappa = next((row for row in validation if row["metric"] == "kappa" and row["low"] is not None), None)
    if kappa is None or kappa["low"] > 0:
        return None
    return True, f"its agreement with {kappa['n']} published verdicts cannot be told from chance (kappa {kappa['value']:.2f})"


def _of(scores: list[dict], metric: str) -> list[dict]:
    return [row for row in scores if row["metric"] == metric and row["value"] is not None]


def _mean(scores: list[dict], metric: str) -> float | None:
    """A metric's mean over policies; None where it was not measured."""
    values = [row["value"] for row in _of(scores, metric)]
    return sum(values) / len(values) if values else None


def _most(scores: list[dict], metric: str) -> int:
    return max(row["n"] for row in _of(scores, metric))


def _highest(share: float, n: int) -> float:
    """The upper end of the 95% interval of a share of n items (Wilson 1927): unlike a bootstrap's
    it is open where none of a few items has been seen to flip."""
    middle = share + _Z**2 / (2 * n)
    return (middle + _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))) / (1 + _Z**2 / n)
