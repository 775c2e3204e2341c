"""How a policy's answers to one prompt differ, and what of the others' good answers is among them:
measures of each prompt by itself, (P, N), which are averaged over prompts."""

import numpy as np

from drift.exploration.answers import Answers

# Which of an answer's nearest ones is as near as an answer that says the same.
_NEAREST = 3


def recall(answers: Answers, quantile: float) -> np.ndarray:
    """The share of the others' high-reward answers that are within delta of an answer of the
    policy; delta: the median over the prompt's answers of the distance to the third nearest. NaN
    where no answer of the others is of high reward, and of so few answers to a prompt that the
    third nearest is among the farther half.

    It is far below 1 even of a policy that writes as the others do, as few answers are that near to
    each other: it compares policies.
    """
    policies, prompts, samples, _ = answers.vectors.shape
    found = np.full((policies, prompts), np.nan)
    if policies * samples - 1 < 2 * _NEAREST:
        return found
    high = [answers.high(policy, quantile).swapaxes(0, 1).reshape(prompts, -1) for policy in range(policies)]
    for prompt in range(prompts):
        likeness = _likeness(answers.vectors[:, prompt].reshape(policies * samples, -1))
        nearest = np.sort(likeness, axis=1)[:, ::-1]  # the first is the answer itself
        delta = np.median(nearest[:, _NEAREST])
        near = (likeness >= delta - 1e-6).reshape(-1, policies, samples).any(axis=-1)
        for policy in range(policies):
            if (wanted := high[policy][prompt]).any():
                found[policy, prompt] = near[wanted, policy].mean()
    return found


def vendi(answers: Answers) -> np.ndarray:
    """The Vendi score (Friedman and Dieng 2023, arXiv 2210.02410) of a policy's answers: as many
    answers that have nothing in common vary as much, 1 to the number of samples."""
    samples = answers.vectors.shape[2]
    values = np.linalg.eigvalsh(_likeness(answers.vectors) / samples)
    shares = np.clip(values, 0, None)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return np.exp(-(shares * logs).sum(axis=-1))


def distance(answers: Answers) -> np.ndarray:
    """The mean cosine distance between two of a policy's answers, 0 to 2."""
    samples = answers.vectors.shape[2]
    return (1 - (_likeness(answers.vectors).sum(axis=(-2, -1)) - samples) / (samples * (samples - 1))).clip(0)


def best_of_n(answers: Answers) -> np.ndarray:
    """The highest reward of a policy's answers."""
    return answers.rewards.max(axis=-1)


def _likeness(vectors: np.ndarray) -> np.ndarray:
    """Cosines of vectors of length 1, (..., n, width): (..., n, n), with 1 on the diagonal."""
    likeness = vectors.astype(np.float64) @ np.swapaxes(vectors, -1, -2).astype(np.float64)
    diagonal = np.arange(likeness.shape[-1])
    likeness[..., diagonal, diagonal] = 1.0
    return likeness
