"""Ratings of a run's own policies from their WildBench scores: the published sequential Elo, and
Bradley-Terry.

Votes are virtual, as the leaderboard's are: of two policies' scores for one task the higher wins. A
published rating is anchored in Chatbot Arena's; these are not, as no policy of a run is there: they
tell the policies of one run apart and nothing else.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from drift.metrics import judge_metrics, resampling
from drift.metrics.resampling import Estimate

# Every policy's rating before a vote, and the mean of the Bradley-Terry ratings.
START = 1000.0
# Points between two scores that make a win.
MARGIN = 2
# Characters between two answers that make a draw.
LENGTH_MARGIN = 1500
# Rating points that a vote moves at most.
K = 4.0
# Random orders of the votes.
ORDERS = 128
# Rating points per unit of log-odds.
_SCALE = 400 / np.log(10)
_STEPS = 50
_TOLERANCE = 1e-9


def ratings(judged: Sequence[pl.DataFrame], tasks: pl.DataFrame, resamples: int, seed: int) -> list[dict[str, Estimate]]:
    """`elo` and `elo_bradley_terry` of every policy, from one judge's scores of it (`judged`, a
    Judgments table a policy); empty where no task has a vote."""
    keys, columns = tasks.select("prompt_id").sort("prompt_id"), []
    for judgments in judged:
        # Of several samples of an answer the mean score and the mean length vote.
        answers = judge_metrics.mean_scores(judgments.filter(kind="score"))
        answers = answers.group_by("prompt_id").agg(pl.col("score", "policy_chars").mean())
        columns.append(keys.join(answers, on="prompt_id", how="left", maintain_order="left"))
    scores, lengths = (
        np.column_stack([column[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for column in columns])
        for name in ("score", "policy_chars")
    )
    earned = votes(scores, lengths)
    voted = ~np.isnan(earned).all(axis=(1, 2))
    if not voted.any():
        return [{} for _ in judged]
    sequential_ratings = sequential(earned, seed).mean(axis=0)
    clusters = resampling.Clusters.of(tasks["prompt_id"], tasks["cluster"])
    counts = clusters.spread(resampling.resampled(clusters.count, resamples, seed), clusters.keys)[:, voted]
    # The value itself is the resample with each task once.
    value = bradley_terry(earned[voted], np.ones((1, counts.shape[1])))[0]
    replicates = bradley_terry(earned[voted], counts)
    rated = []
    for number in range(len(judged)):
        n = int((~np.isnan(earned[:, number])).any(axis=1).sum())
        elo = Estimate(float(sequential_ratings[number]), None, n)
        rated.append({"elo": elo, "elo_bradley_terry": Estimate(float(value[number]), replicates[:, number], n)})
    return rated


def votes(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What each policy earns of each other one per task, (n, policies, policies): 1 won, 0.5 drawn,
    0 lost, NaN no vote.

    `scores`, (n, policies): 1 to 10, NaN without a verdict. `lengths`, (n, policies): characters;
    an empty answer has no vote.
    """
    scores = np.where(np.asarray(lengths) > 0, scores, np.nan)
    # [task, a, b]: by how much a's score is above b's, and how far apart their lengths are.
    ahead = scores[:, :, None] - scores[:, None, :]
    apart = np.abs(lengths[:, :, None] - lengths[:, None, :])
    decided = (np.abs(ahead) >= MARGIN) & (apart <= LENGTH_MARGIN)
    earned = np.where(decided, (np.sign(ahead) + 1) / 2, 0.5)
    earned[np.isnan(ahead)] = np.nan
    # Nobody plays against itself.
    policies = np.arange(scores.shape[1])
    earned[:, policies, policies] = np.nan
    return earned


def sequential(earned: np.ndarray, seed: int) -> np.ndarray:
    """Elo after all votes, one after the other: (ORDERS, policies), each row after a random order
    of its own.

    The spread over rows is that of the order, not of the sample of tasks.
    """
    # A vote is a task and a pair of policies, first < second: every pair once.
    first, second = np.triu_indices(earned.shape[1], 1)
    task, pair = np.nonzero(~np.isnan(earned[:, first, second]))
    won = earned[task, first[pair], second[pair]]
    generator, rows = np.random.default_rng(seed), np.arange(ORDERS)
    # (votes, ORDERS): all orders take their t-th vote at once, so that the loop is over votes
    # alone.
    schedule = np.argsort(generator.random((ORDERS, len(pair))), axis=1).T
    ratings = np.full((ORDERS, earned.shape[1]), START)
    for vote in schedule:
        a, b = first[pair[vote]], second[pair[vote]]
        expected = 1 / (1 + 10 ** ((ratings[rows, b] - ratings[rows, a]) / 400))
        gain = K * (won[vote] - expected)
        ratings[rows, a] += gain
        ratings[rows, b] -= gain
    return ratings


def bradley_terry(earned: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ratings by maximum likelihood, (resamples, policies), if each task occurred as often as
    `counts`, (resamples, n), says.

    A draw is half a win for either (Bradley and Terry 1952; Hunter 2004). One more draw is added to
    every pair, so that a policy that only loses keeps a finite rating. Newton's method, for all
    resamples at once. ArithmeticError where it does not converge.
    """
    n, policies = len(earned), earned.shape[1]
    # (resamples, policies, policies): wins of a over b, and votes between them.
    wins = (counts @ np.nan_to_num(earned).reshape(n, -1)).reshape(-1, policies, policies)
    games = (counts @ (~np.isnan(earned)).astype(np.float64).reshape(n, -1)).reshape(-1, policies, policies)
    others = 1 - np.eye(policies)
    wins, games = wins + 0.5 * others, games + others
    strength = np.zeros((len(counts), policies))
    for _ in range(_STEPS):
        # P(a beats b) = sigmoid(strength_a - strength_b).
        p = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
        slope = (wins - games * p).sum(axis=2)
        # The Hessian of the negative log-likelihood: the graph Laplacian of these weights.
        weight = games * p * (1 - p)
        laplacian = weight.sum(axis=2)[:, :, None] * np.eye(policies) - weight
        # Only differences of strength are determined, so the Laplacian is singular in the direction
        # of equal shifts; the added constant fixes their mean and changes nothing else.
        step = np.linalg.solve(laplacian + 1 / policies, slope[:, :, None])[:, :, 0]
        # Far from the optimum a full step overshoots.
        step = np.clip(step, -2, 2)
        strength += step
        if np.abs(step).max() < _TOLERANCE:
            break
    else:
        raise ArithmeticError(f"Bradley-Terry ratings did not converge in {_STEPS} steps")
    return START + _SCALE * (strength - strength.mean(axis=1, keepdims=True))
