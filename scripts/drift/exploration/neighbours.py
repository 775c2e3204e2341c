"""How much of the others' high-reward answers a policy covers, among the vectors themselves.

An answer is covered by a policy that has an answer among its k nearest ones, by cosine distance:
the coverage of Naeem et al. 2020 (arXiv 2002.09797), whose answers of high reward are the others'.
k follows from how many policies and answers there are: the least for which a policy that writes
half as often as the others, wherever they write, covers 99%.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from drift.exploration import chance
from drift.exploration.answers import Answers

# What a policy covers that writes half as often as the others, wherever they write.
_EXPECTED = 0.99
# Distances this close are equal but for rounding of fp32.
_SAME = 1e-5
# Rows of distances that are computed at once: numbers of a block.
_BLOCK = 16_000_000


def neighbours(points: int, own: int) -> int:
    """The least k for which _EXPECTED of `points` have one of `own` / 2 of them among their k
    nearest, if these are any of the points."""
    others, k, none = points - 1, 0, 1.0
    while none > 1 - _EXPECTED and k < others:
        none *= max(others - own / 2 - k, 0) / (others - k)
        k += 1
    return k


def balls(directions: np.ndarray, rows: np.ndarray) -> list[sparse.csr_array]:
    """Who writes near the answers at `rows` of all answers in their order: for each policy a matrix
    of rows x prompts, 1 where an answer of it to the prompt is as near as the k-th nearest answer.

    `directions`: (P, N, n, width), of length 1.
    """
    policies, prompts, samples, width = directions.shape
    points = directions.reshape(-1, width)
    k = neighbours(len(points), prompts * samples)
    found: list[list[sparse.csr_array]] = [[] for _ in range(policies)]
    for places in np.array_split(rows, -(-len(rows) * len(points) // _BLOCK)):
        likeness = points[places] @ points.T
        likeness[np.arange(len(places)), places] = -np.inf  # it is no neighbour of itself
        least = np.partition(likeness, -k, axis=1)[:, -k]
        near = (likeness >= least[:, None] - _SAME).reshape(len(places), policies, prompts, samples).any(axis=-1)
        for policy in range(policies):
            found[policy].append(sparse.csr_array(near[:, policy].astype(np.float32)))
    return [sparse.vstack(parts, format="csr") for parts in found]


class Neighbourhoods:
    """Who writes near which high-reward answers; `quantile`: of the rewards of a prompt."""

    def __init__(self, answers: Answers, directions: np.ndarray, quantile: float):
        self._answers = answers
        high = [answers.high(policy, quantile).ravel() for policy in range(len(answers.policies))]
        rows = np.flatnonzero(np.any(high, axis=0))
        self._balls = balls(directions, rows)
        # Of each policy that is left out, which of the rows count, (rows,).
        self._targets = [marked[rows].astype(np.float32) for marked in high]
        _, self._prompt, _ = np.unravel_index(rows, answers.rewards.shape)

    def covered(self, policy: int, counts: np.ndarray) -> np.ndarray:
        """The share of the others' high-reward answers that a policy covers, (r,), if each prompt
        occurred as often as `counts`, (r, N), says."""
        hit = (self._balls[policy] @ (counts > 0).T.astype(np.float32)) > 0
        weights = counts.T[self._prompt] * self._targets[policy][:, None]
        return _share((weights * hit).sum(axis=0), weights.sum(axis=0))

    def difference(self, one: int, other: int, coins: np.ndarray) -> np.ndarray:
        """By how much one policy covers more than another, (p,), if they exchanged the labels of
        their answers to the prompts where `coins`, (p, N), are true."""
        return self._exchanged(one, other, coins) - self._exchanged(other, one, coins)

    def _exchanged(self, policy: int, other: int, coins: np.ndarray) -> np.ndarray:
        theirs = coins.T.astype(np.float32)
        hit = (self._balls[policy] @ (1 - theirs) + self._balls[other] @ theirs) > 0
        # Which answers are the others', and of high reward among them, changes with the labels.
        own, swapped = self._targets[policy][:, None], self._targets[other][:, None]
        weights = np.where(coins.T[self._prompt], swapped, own)
        return _share((weights * hit).sum(axis=0), weights.sum(axis=0))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def coverage(
    answers: Answers, directions: np.ndarray, quantile: float, resamples: int, permutations: int, seed: int
) -> Sequence[dict]:
    """For each policy its value, low, high and p, the test of whether it differs from the base
    model's; NaN where no answer is of high reward. Without `resamples` no interval and no test."""
    if not any(answers.high(policy, quantile).any() for policy in range(len(answers.policies))):
        return [{"value": np.nan, "low": None, "high": None} for _ in answers.policies]
    near = Neighbourhoods(answers, directions, quantile)
    once = np.ones((1, len(answers.prompts)))
    found = [{"value": float(near.covered(policy, once)[0])} for policy in range(len(answers.policies))]
    if not resamples:
        return found
    counts = chance.drawn(answers.clusters, resamples, seed)
    coins = chance.exchanged(answers.clusters, permutations, seed)
    for policy, row in enumerate(found):
        row["low"], row["high"] = chance.around(row["value"], near.covered(policy, counts), answers.clusters)
        if policy != answers.base:
            row["p"] = chance.p_value(lambda exchanges, one=policy: near.difference(one, answers.base, exchanges), coins)
    return found
