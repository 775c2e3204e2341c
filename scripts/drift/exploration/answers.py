"""The answers of all policies of a comparison: equally many of each, to the same prompts."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.layout import BASE, PolicyName
from drift.metrics.resampling import Clusters
from drift.tables import AnswerRewards, Embeddings, read_table

# What is left of a vector less its prompt's mean where all answers to a prompt are the same:
# rounding of fp32, which has no direction.
_NOTHING = 1e-4


@dataclass(frozen=True)
class Answers:
    """Vectors and rewards of P policies, N prompts and n samples of each."""

    policies: Sequence[PolicyName]
    prompts: np.ndarray  # (N,), sorted
    samples: np.ndarray  # (n,), sorted
    clusters: Clusters  # of the prompts
    vectors: np.ndarray  # (P, N, n, width), fp32, of length 1
    rewards: np.ndarray  # (P, N, n)
    total: int  # prompts that there are: N and those that lack an answer, or the reward of one

    @property
    def base(self) -> int:
        """Which of the policies is the base model."""
        return next(place for place, policy in enumerate(self.policies) if policy.method == BASE)

    @cached_property
    def standardised(self) -> np.ndarray:
        """The rewards, (P, N, n), less the mean of all answers to their prompt, by the standard
        deviation of these; 0 where all are the same."""
        left = self.rewards - self.rewards.mean(axis=(0, 2), keepdims=True)
        spread = self.rewards.std(axis=(0, 2), keepdims=True)
        # Not by the deviation, which rounding puts above 0.
        differ = np.ptp(self.rewards, axis=(0, 2), keepdims=True) > 0
        return np.where(differ, left / np.where(differ, spread, 1.0), 0.0)

    def directions(self, *, centred: bool) -> np.ndarray:
        """The vectors, (P, N, n, width), of length 1.

        With `centred` less the mean vector of their prompt, in which all policies count the same:
        what an answer is about, which its prompt decides, is removed, and how it differs from other
        answers to its prompt is left. 0 for one that does not differ.
        """
        if not centred:
            return self.vectors
        left = self.vectors - self.vectors.mean(axis=(0, 2), keepdims=True)
        lengths = np.linalg.norm(left, axis=-1, keepdims=True)
        return np.where(lengths > _NOTHING, left / np.maximum(lengths, _NOTHING), 0).astype(np.float32)

    def high(self, without: int, quantile: float) -> np.ndarray:
        """Which answers, (P, N, n), of all policies but `without` are of high reward: at or above
        the quantile of their rewards for the prompt, and above the least of them."""
        others = np.delete(self.rewards, without, axis=0)
        bar = np.quantile(others, quantile, axis=(0, 2))[None, :, None]
        found = (self.rewards >= bar) & (self.rewards > others.min(axis=(0, 2))[None, :, None])
        found[without] = False
        return found


def gathered(policies: Sequence[tuple[PolicyName, pl.DataFrame, pl.DataFrame]], tasks: pl.DataFrame, part: str) -> Answers:
    """The answers to prompts of which every policy has every sample, with its reward; others are
    left out for all. `policies`: each with its Embeddings and its AnswerRewards.

    Raises StageError where no prompt is left.
    """
    tables = [
        embeddings.filter(pl.col("part") == part).join(rewards, on=["prompt_id", "sample"], validate="1:1")
        for _, embeddings, rewards in policies
    ]
    samples = sorted(set().union(*(table["sample"].to_list() for table in tables)))
    whole = (
        pl.concat([table.group_by("prompt_id").len() for table in tables])
        .group_by("prompt_id")
        .agg(pl.len(), pl.sum("len").alias("answers"))
    )
    whole = whole.filter((pl.col("len") == len(tables)) & (pl.col("answers") == len(tables) * len(samples)))
    prompts = sorted(whole["prompt_id"].to_list())
    if not prompts:
        raise StageError(
            f"none of {tasks.height} prompts has an answer of every policy with its reward: "
            f"{', '.join(f'{name}: {table.height} answers' for (name, _, _), table in zip(policies, tables, strict=True))}; "
            "a ranker gives no reward to answers longer than rankers.NAME.max_length"
        )
    shape = (len(tables), len(prompts), len(samples))
    ordered = [table.filter(pl.col("prompt_id").is_in(prompts)).sort("prompt_id", "sample") for table in tables]
    vectors = np.stack([table["vector"].explode().to_numpy() for table in ordered])
    cluster = dict(tasks.select("prompt_id", "cluster").iter_rows())
    return Answers(
        policies=[name for name, _, _ in policies],
        prompts=np.asarray(prompts),
        samples=np.asarray(samples),
        clusters=Clusters.of(prompts, [cluster[prompt] for prompt in prompts]),
        vectors=vectors.reshape(*shape, -1),
        rewards=np.stack([table["reward"].to_numpy() for table in ordered]).reshape(shape),
        total=tasks.height,
    )


def add_policies(command: argparse.ArgumentParser) -> None:
    """Add the option that names a policy and its tables."""
    parts = ("METHOD", "ITERATION", "SEED", "EMBEDDINGS", "REWARDS")
    command.add_argument(
        "--policy",
        required=True,
        nargs=len(parts),
        action="append",
        metavar=parts,
        help="a policy, its Embeddings and its AnswerRewards",
    )


def read_policies(options: Sequence[Sequence[str]]) -> list[tuple[PolicyName, pl.DataFrame, pl.DataFrame]]:
    """What `add_policies` adds, read."""
    return [
        (
            PolicyName(method, int(iteration), int(seed)),
            read_table(Embeddings, embeddings),
            read_table(AnswerRewards, rewards),
        )
        for method, iteration, seed, embeddings, rewards in options
    ]


def check_neighbours(answers: Answers, neighbours: int) -> None:
    """Raise StageError where there are fewer prompts than an answer has neighbours on a map."""
    if len(answers.prompts) < neighbours:
        raise StageError(
            f"{len(answers.prompts)} of {answers.total} prompts have an answer of every policy with its reward, fewer than "
            f"exploration.neighbours {neighbours}: the neighbours of an answer would be answers to its own prompt; explore a "
            "larger benchmark, or take fewer neighbours"
        )
