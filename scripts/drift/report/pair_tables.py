"""The report's pairs: how long they are, a sample of them to read, and why other prompts gave
none."""

import math
from collections import Counter
from dataclasses import dataclass

from drift.config import Config
from drift.config.recipes import POOLS
from drift.report.excerpts import Excerpt, excerpt
from drift.report.reading import Catalog, Policy, configured

SAMPLED_PAIRS = 12


@dataclass(frozen=True)
class SideLengths:
    """How long the chosen or the rejected replies of a policy's pairs are, in tokens; shares of
    pairs whose reply was sampled, or logged, and is cut at the limit."""

    mean: float
    quartiles: tuple[float, float, float]
    sampled_cut: float
    logged_cut: float

    @classmethod
    def of(cls, row: dict, side: str) -> "SideLengths":
        """That side of a row of pair_lengths."""
        quartiles = tuple(row[f"{side}_tokens_{part}"] for part in ("q1", "median", "q3"))
        return cls(row[f"{side}_tokens"], quartiles, row[f"{side}_sampled_cut"], row[f"{side}_logged_cut"])


@dataclass(frozen=True)
class PairLengths:
    """The lengths of a policy's pairs."""

    policy: Policy
    prompts: int
    pairs: int
    shared: int | None  # pairs whose prompt has one in the first iteration too; None: the warm-up
    shared_share: float | None
    chosen_shorter: float
    chosen: SideLengths
    rejected: SideLengths


def pair_lengths(catalog: Catalog, config: Config) -> list[PairLengths]:
    """The lengths of the pairs of every configured policy, in their order."""
    return [
        PairLengths(
            policy=Policy.of(row),
            prompts=row["prompts"],
            pairs=row["pairs"],
            shared=None if row["shared_with_first"] is None else round(row["shared_with_first"] * row["pairs"]),
            shared_share=row["shared_with_first"],
            chosen_shorter=row["chosen_shorter"],
            chosen=SideLengths.of(row, "chosen"),
            rejected=SideLengths.of(row, "rejected"),
        )
        for row in configured(catalog.query("FROM pair_lengths"), config)
    ]


# The last iteration's pairs of every method and one seed, in an order that their ids alone decide.
_LAST_PAIRS = f"""
    WITH configured AS (FROM pairs WHERE iteration <= ?)
    SELECT *, (
        SELECT max(turns_trimmed)
        FROM (SELECT model, prompt_id, turns_trimmed FROM prompts UNION ALL SELECT model, prompt_id, turns_trimmed FROM later_prompts)
            AS fitted
        WHERE fitted.model = made.model AND prompt_id = pair_id
    ) AS trimmed, row_number() OVER (PARTITION BY model, method ORDER BY sha256(pair_id), pair_id) AS position
    FROM (FROM configured WHERE iteration > 0 AND seed = ?) AS made
    WHERE iteration = (SELECT max(iteration) FROM configured WHERE (model, method, seed) = (made.model, made.method, made.seed))
    QUALIFY position <= {SAMPLED_PAIRS}
    ORDER BY position
"""


@dataclass(frozen=True)
class Side:
    """The chosen or the rejected reply of a pair."""

    text: Excerpt
    origin: str
    tokens: int
    cut: bool  # trained on as far as it is here: without an end

    @classmethod
    def of(cls, row: dict, side: str) -> "Side":
        """That side of a row of the pairs."""
        origin = "logged reply" if row[f"{side}_from"] == "logged" else "sampled"
        return cls(excerpt(row[side]), origin, row[f"{side}_tokens"], row[f"{side}_cut"])


@dataclass(frozen=True)
class SampledPair:
    """A pair as the page shows it."""

    policy: Policy
    pair_id: str
    earlier: int  # messages before the one that was answered
    trimmed: int  # messages before those, which did not fit the context
    asked: Excerpt
    chosen: Side
    rejected: Side
    feedback: Excerpt | None  # the user's answer to the logged reply


def sampled_pairs(catalog: Catalog, config: Config) -> list[SampledPair]:
    """A dozen pairs of the methods' last iterations with the first seed, evenly spread, the same
    ones every time."""
    rows = configured(catalog.query(_LAST_PAIRS, config.iterations, config.seeds[0]), config)
    groups = len({(row["model"], row["method"]) for row in rows})
    each = math.ceil(SAMPLED_PAIRS / groups) if groups else 0
    picked = [row for row in rows if row["position"] <= each][:SAMPLED_PAIRS]
    feedback = feedback_of(catalog, [row["pair_id"] for row in picked])
    return [
        SampledPair(
            policy=Policy.of(row),
            pair_id=row["pair_id"],
            earlier=len(row["prompt"]) - 1,
            trimmed=row["trimmed"] or 0,
            asked=excerpt(row["prompt"][-1]["content"]),
            chosen=Side.of(row, "chosen"),
            rejected=Side.of(row, "rejected"),
            feedback=feedback.get((config.recipes[row["method"]].prompts, row["pair_id"])),
        )
        for row in picked
    ]


def feedback_of(catalog: Catalog, ids: list[str]) -> dict[tuple[str, str], Excerpt]:
    """What users answered to the logged replies of these prompts, by pool and prompt."""
    feedback = {}
    for pool in POOLS:
        sql = f"SELECT prompt_id, feedback FROM {pool} WHERE feedback IS NOT NULL AND prompt_id IN (SELECT unnest(?))"
        for row in catalog.query(sql, ids):
            feedback[pool, row["prompt_id"]] = excerpt(row["feedback"])
    return feedback


@dataclass(frozen=True)
class DroppedTable:
    """How many prompts became pairs, or single replies of a method that trains on those, and why
    the others did not: a column a policy."""

    policies: list[Policy]
    kept: list[int]
    alluding: list[int]  # of the pairs, those whose chosen reply opens with words on feedback
    reasons: list[tuple[str, list[int]]]  # the commonest first


def dropped_table(catalog: Catalog, config: Config) -> DroppedTable:
    """The pairs or replies, and the dropped prompts, of every configured policy."""
    policy = "model, method, iteration, seed"
    pairs = f"SELECT {policy}, count(*) AS n, count(*) FILTER (alludes) AS alluding FROM pairs GROUP BY ALL"
    replies = f"SELECT {policy}, count(*) AS n, 0 AS alluding FROM unpaired GROUP BY ALL"
    made = configured([*catalog.query(pairs), *catalog.query(replies)], config)
    lost = configured(catalog.query(f"SELECT {policy}, reason, count(*) AS n FROM dropped GROUP BY ALL"), config)
    kept, alluding = (Counter({Policy.of(row): row[count] for row in made}) for count in ("n", "alluding"))
    reasons: dict[str, Counter[Policy]] = {}
    for row in lost:
        reasons.setdefault(row["reason"], Counter())[Policy.of(row)] = row["n"]
    policies = sorted({Policy.of(row) for row in (*made, *lost)}, key=lambda policy: policy.position(config))
    ordered = sorted(reasons.items(), key=lambda reason: (-reason[1].total(), reason[0]))
    return DroppedTable(
        policies,
        [kept[policy] for policy in policies],
        [alluding[policy] for policy in policies],
        [(reason, [counts[policy] for policy in policies]) for reason, counts in ordered],
    )
