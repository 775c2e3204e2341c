"""Ratings of a run's own policies from their WildBench scores: the published sequential Elo, and Bradley-Terry.

Votes are virtual, as the leaderboard's are: of two policies' scores for one task the higher wins. A published rating is anchored in
Chatbot Arena's; these are not, as no policy of a run is there: they tell the policies of one run apart and nothing else.
"""

import numpy as np

START = 1000.0  # every policy's rating before a vote, and the mean of the Bradley-Terry ratings
MARGIN = 2  # points between two scores that make a win
LENGTH_MARGIN = 1500  # characters between two answers that make a draw
K = 4.0
ROUNDS = 128
_SCALE = 400 / np.log(10)  # rating points per unit of log-odds
_STEPS = 50
_TOLERANCE = 1e-9


def votes(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What each policy earns of each other one per task, (n, policies, policies): 1 won, 0.5 drawn, 0 lost, NaN no vote.

    `scores`, (n, policies): 1 to 10, NaN without a verdict. `lengths`, (n, policies): characters; an empty answer has no vote.
    """
    scores = np.where(np.asarray(lengths) > 0, scores, np.nan)
    ahead = scores[:, :, None] - scores[:, None, :]
    longer = np.abs(lengths[:, :, None] - lengths[:, None, :])
    decided = (np.abs(ahead) >= MARGIN) & (longer <= LENGTH_MARGIN)
    earned = np.where(decided, (np.sign(ahead) + 1) / 2, 0.5)
    earned[np.isnan(ahead)] = np.nan
    earned[:, np.arange(scores.shape[1]), np.arange(scores.shape[1])] = np.nan
    return earned


def sequential(earned: np.ndarray, seed: int) -> np.ndarray:
    """Elo after all votes, one after the other: (iterations, policies), each iteration in a random order of its own.

    The spread over iterations is that of the order, not of the sample of tasks.
    """
    first, second = np.triu_indices(earned.shape[1], 1)
    task, pair = np.nonzero(~np.isnan(earned[:, first, second]))
    won = earned[task, first[pair], second[pair]]
    generator, iterations = np.random.default_rng(seed), np.arange(ROUNDS)
    order = np.argsort(generator.random((ROUNDS, len(pair))), axis=1).T
    ratings = np.full((ROUNDS, earned.shape[1]), START)
    for at in order:
        a, b = first[pair[at]], second[pair[at]]
        expected = 1 / (1 + 10 ** ((ratings[iterations, b] - ratings[iterations, a]) / 400))
        gain = K * (won[at] - expected)
        ratings[iterations, a] += gain
        ratings[iterations, b] -= gain
    return ratings


def bradley_terry(earned: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ratings by maximum likelihood, (resamples, policies), were each task there as often as `counts`, (resamples, n), say.

    A draw is half a win for either (Bradley and Terry 1952; Hunter 2004). One more draw is added to every pair, so that a policy
    that only loses keeps a finite rating. Newton's method, for all resamples at once.
    """
    n, policies = len(earned), earned.shape[1]
    wins = (counts @ np.nan_to_num(earned).reshape(n, -1)).reshape(-1, policies, policies)
    games = (counts @ (~np.isnan(earned)).astype(np.float64).reshape(n, -1)).reshape(-1, policies, policies)
    others = 1 - np.eye(policies)
    wins, games = wins + 0.5 * others, games + others
    strength = np.zeros((len(counts), policies))
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
        slope = (wins - games * p).sum(axis=2)
        weight = games * p * (1 - p)
        # Only differences of strength are determined; the added constant fixes their mean.
        curvature = weight.sum(axis=2)[:, :, None] * np.eye(policies) - weight + 1 / policies
        step = np.clip(np.linalg.solve(curvature, slope[:, :, None])[:, :, 0], -2, 2)
        strength += step
        if np.abs(step).max() < _TOLERANCE:
            break
    else:
        raise ArithmeticError(f"Bradley-Terry ratings did not converge in {_STEPS} steps")
    return START + _SCALE * (strength - strength.mean(axis=1, keepdims=True))
