"""Items and regularising rows of length-controlled win rates, whose true fit is known."""

import numpy as np

from drift.metrics import length_control
from drift.metrics.logistic_regression import Rows


def items(won, shorter_by, difficulty=None) -> length_control.Items:
    """Items from anything like arrays."""
    columns = (None if column is None else np.asarray(column, dtype=np.float64) for column in (won, shorter_by, difficulty))
    return length_control.Items(*columns)


def drawn(n: int, seed: int, beta=(-1.0, 0.8, -0.5), won=None) -> length_control.Items:
    """Items whose winner is drawn from the model that is fitted."""
    generator = np.random.default_rng(seed)
    shorter_by, difficulty = generator.normal(100, 400, n), generator.normal(0, 1, n)
    features = np.column_stack([np.tanh(shorter_by / np.std(shorter_by, ddof=1)), difficulty, np.ones(n)])
    chance = 1 / (1 + np.exp(-features @ np.array(beta)))
    return items(generator.random(n) < chance if won is None else won(generator, n), shorter_by, difficulty)


def gamed_rows(n: int = 60, seed: int = 9) -> Rows:
    """Regularising rows: the longer answer wins less often."""
    generator = np.random.default_rng(seed)
    length, difficulty = generator.normal(0, 1, n), generator.normal(0, 1, n)
    won = 1 / (1 + np.exp(1.5 * length - 0.3 * difficulty))
    features = np.column_stack([np.tanh(length), difficulty, np.zeros(n)])
    return Rows(features, won, np.full(n, length_control.GAMED_WEIGHT))
