"""The same prompt, side by side: the logged reply, the base model's answer and the last policy's,
changed words marked, the answers that changed most first."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from drift.config import Config
from drift.report.excerpts import Excerpt, excerpt
from drift.report.reading import Catalog, Policy, configured

SHOWN = 8  # prompts of a method
# Word by word only as far as texts are shown; longer ones would take long to compare.
_WORDS = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True)
class Piece:
    """A run of words of an answer, and whether the other answer has it too."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Answered:
    """A prompt with its answers."""

    benchmark: str
    prompt_id: str
    earlier: int  # messages before the one that is answered
    trimmed: int  # of them, how many the policy did not see
    asked: Excerpt
    logged: Excerpt | None  # the answer that the evaluation set has itself
    reference: str  # what that is
    base: list[Piece]
    last: list[Piece]
    share: float  # of words that changed
    base_cut: bool
    last_cut: bool


@dataclass
class Compared:
    """The answers of a method's last policy next to the base model's."""

    policy: Policy
    prompts: int
    same: int  # prompts that both answer alike
    median: float  # share of words that changed
    noise: float | None  # the same between two samples of the base model; None where there is one
    shown: list[Answered] = field(default_factory=list)


# The first sample of every answer; of the last iteration of each method and its first seed.
_ANSWERS = """
    SELECT own.model, own.method, own.iteration, own.seed, own.benchmark, own.prompt_id,
        own.response AS own, own.finish_reason = 'length' AS own_cut,
        base.response AS base, base.finish_reason = 'length' AS base_cut, again.response AS again
    FROM responses AS own
    JOIN responses AS base USING (model, benchmark, prompt_id, sample)
    LEFT JOIN (FROM responses WHERE method = 'base' AND sample = 1) AS again USING (model, benchmark, prompt_id)
    WHERE base.method = 'base' AND own.sample = 0 AND own.iteration > 0 AND own.seed = ?
        AND own.iteration = (
            SELECT max(iteration) FROM responses AS every
            WHERE (every.model, every.method) = (own.model, own.method) AND iteration <= ?
        )
    ORDER BY ALL
"""
_TASKS = """
    SELECT tasks.benchmark, tasks.prompt_id, prompts.model, prompts.prompt, prompts.turns_trimmed, tasks.baseline
    FROM tasks JOIN prompts ON prompts.pool = tasks.benchmark AND prompts.prompt_id = tasks.prompt_id
    WHERE tasks.prompt_id IN (SELECT unnest(?))
"""


def side_by_side(catalog: Catalog, config: Config) -> list[Compared]:
    """The answers of every method's last policy with the first seed, in the order of the
    methods."""
    groups: dict[Policy, list[dict]] = {}
    for row in configured(catalog.query(_ANSWERS, config.seeds[0], config.iterations), config):
        if row["benchmark"] in config.evaluation.benchmarks:
            groups.setdefault(Policy.of(row), []).append(row)
    found = []
    for policy, rows in groups.items():
        shares = {(row["benchmark"], row["prompt_id"]): changed_share(row["base"], row["own"]) for row in rows}
        noise = [changed_share(row["base"], row["again"]) for row in rows if row["again"] is not None]
        ordered = sorted(
            rows, key=lambda row: (-shares[row["benchmark"], row["prompt_id"]], row["benchmark"], row["prompt_id"])
        )
        compared = Compared(
            policy=policy,
            prompts=len(rows),
            same=sum(row["base"] == row["own"] for row in rows),
            median=median(shares.values()),
            noise=median(noise) if noise else None,
        )
        picked = [row for row in ordered if row["base"] != row["own"]][:SHOWN]
        tasks = {
            (row["model"], row["benchmark"], row["prompt_id"]): row
            for row in catalog.query(_TASKS, [row["prompt_id"] for row in picked])
        }
        for row in picked:
            key = row["benchmark"], row["prompt_id"]
            if task := tasks.get((policy.model, *key)):
                compared.shown.append(answered(row, task, shares[key], config.evaluation.benchmarks[row["benchmark"]].kind))
        found.append(compared)
    return found


def answered(row: dict, task: dict, share: float, kind: str) -> Answered:
    """A row of the answers and its task as they are shown; `kind`: of the benchmark."""
    reference = "Logged reply, which disappointed" if kind == "heldout" else "Answer to compare with"
    base, last = marked(row["base"], row["own"])
    return Answered(
        benchmark=row["benchmark"],
        prompt_id=row["prompt_id"],
        earlier=len(task["prompt"]) - 1 + task["turns_trimmed"],
        trimmed=task["turns_trimmed"],
        asked=excerpt(task["prompt"][-1]["content"]),
        logged=None if task["baseline"] is None else excerpt(task["baseline"]),
        reference=reference,
        base=base,
        last=last,
        share=share,
        base_cut=row["base_cut"],
        last_cut=row["own_cut"],
    )


def changed_share(one: str, other: str) -> float:
    """The share of the words of two texts that the other one lacks, 0 to 1: 1 - Dice's coefficient
    of their bags of words. It does not see the order, so that it can be taken of every answer."""
    bags = [Counter(text.split()) for text in (one, other)]
    total = sum(bag.total() for bag in bags)
    return 1 - 2 * (bags[0] & bags[1]).total() / total if total else 0.0


def marked(one: str, other: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces: runs of words that the other has at that place, and others."""
    texts = [excerpt(text) for text in (one, other)]
    words = [_WORDS.findall(text.head + text.rest) for text in texts]
    matcher = difflib.SequenceMatcher(None, *([word.strip() for word in side] for side in words), autojunk=False)
    blocks = matcher.get_opcodes()
    return (
        list(_pieces(words[0], [(tag, start, end) for tag, start, end, _, _ in blocks])),
        list(_pieces(words[1], [(tag, start, end) for tag, _, _, start, end in blocks])),
    )


def _pieces(words: list[str], blocks: list[tuple[str, int, int]]) -> Iterator[Piece]:
    for tag, start, end in blocks:
        if start < end:
            yield Piece("".join(words[start:end]), tag != "equal")
