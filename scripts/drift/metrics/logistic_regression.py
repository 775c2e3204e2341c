"""L1-regularised logistic regression of shares, with few features: the fit behind length control.

It meets what liblinear finds, which the published length control is fitted with, and repeats a fit
for a thousand resamples in seconds. k is the number of features: here 3.
"""

from dataclasses import dataclass

import numpy as np

from drift.cli import StageError

C_GRID = np.logspace(-4, 4, 10)
FOLDS = 5
# Probabilities are kept this far from 0 and 1 before their logarithm is taken.
_CLIP = 1e-15
_NEWTON_STEPS = 200
_SWEEPS = 1000
_STEP_TOLERANCE = 1e-10
# Keeps a Hessian with a feature that is 0 everywhere invertible.
_RIDGE = 1e-12


@dataclass(frozen=True)
class Rows:
    """What a regression is fitted to."""

    features: np.ndarray  # (n, k)
    won: np.ndarray  # (n,), 0 to 1
    weights: np.ndarray  # (n,)

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows at `rows`."""
        return Rows(self.features[rows], self.won[rows], self.weights[rows])

    def followed_by(self, other: "Rows") -> "Rows":
        """These rows, then the `other` ones."""
        return Rows(
            np.vstack([self.features, other.features]),
            np.concatenate([self.won, other.won]),
            np.concatenate([self.weights, other.weights]),
        )


def fit(rows: Rows, c: float, start: np.ndarray | None = None, tolerance: float = _STEP_TOLERANCE) -> np.ndarray:
    """beta, (k,), that minimises |beta|_1 + c sum_i w_i [log(1 + e^z_i) - y_i z_i], z = features @
    beta.

    liblinear's L1-regularised logistic regression (Fan et al. 2008) without intercept, where a
    share y of a win stands for a won row of weight y w and a lost one of (1 - y) w. Solved by
    proximal Newton steps: the quadratic model plus the L1 norm by coordinate descent, then a
    backtracking line search (Lee, Sun and Saunders 2014), until a step is below `tolerance`.
    ArithmeticError where that never happens.
    """
    x, y, w = rows.features, rows.won, rows.weights
    beta = np.zeros(x.shape[1]) if start is None else np.asarray(start, dtype=np.float64)

    def objective(weights: np.ndarray, z: np.ndarray) -> float:
        # log(1 + e^z) without overflow: log1p(e^-|z|) + max(z, 0).
        loss = np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - y * z
        return float(np.abs(weights).sum() + c * (w @ loss))

    z = x @ beta
    value = objective(beta, z)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(z)
        # Of the smooth part alone: (k,) and (k, k).
        gradient = c * (x.T @ (w * (p - y)))
        hessian = c * ((x.T * (w * p * (1 - p))) @ x)
        step = _newton_step(beta, gradient, hessian)
        # What the step would gain if the objective were linear along it: at most 0.
        promised = gradient @ step + np.abs(beta + step).sum() - np.abs(beta).sum()
        size = 1.0
        while True:
            candidate = beta + size * step
            z = x @ candidate
            reached = objective(candidate, z)
            # Armijo's rule. The last term: near the optimum a true improvement is smaller than the
            # objective's own rounding.
            if reached <= value + 1e-4 * size * promised + 1e-13 * abs(value) or size < _STEP_TOLERANCE:
                break
            size /= 2
        beta, value = candidate, reached
        if np.abs(size * step).max() < tolerance:
            return beta
    raise ArithmeticError(f"the logistic regression did not converge in {_NEWTON_STEPS} steps at C = {c:g}")


def _newton_step(beta: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """d that minimises gradient d + d hessian d / 2 + |beta + d|_1, (k,).

    Where no weight is 0 or would change its sign the norm is linear, and d solves a linear system;
    else by coordinate descent.
    """
    if beta.all():
        d = np.linalg.solve(hessian + _RIDGE * np.eye(len(beta)), -gradient - np.sign(beta))
        if np.array_equal(np.sign(beta + d), np.sign(beta)):
            return d
    # Plain floats: in so few dimensions they are several times as fast as arrays.
    current, g, h = beta.tolist(), gradient.tolist(), hessian.tolist()
    d = [0.0] * len(current)
    for _ in range(_SWEEPS):
        moved = 0.0
        for j, row in enumerate(h):
            # A feature that is 0 everywhere has no curvature: its weight then goes to 0.
            curvature = row[j] + _RIDGE
            slope = g[j] + sum(a * b for a, b in zip(row, d, strict=True))
            # The best weight j with the others fixed, without the norm; the norm pulls it towards 0
            # by 1 / curvature, and no further than 0.
            free = current[j] + d[j] - slope / curvature
            shrunk = max(abs(free) - 1 / curvature, 0.0) * (1 if free > 0 else -1)
            moved = max(moved, abs(shrunk - current[j] - d[j]))
            d[j] = shrunk - current[j]
        if moved < _STEP_TOLERANCE / 100:
            break
    return np.array(d)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """The probability whose log-odds are z, without overflow."""
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def choose_c(rows: Rows) -> float:
    """The C of `C_GRID` with the best mean over folds of the weighted mean log-likelihood of the
    fold left out.

    Row i is in fold i mod 5. Of equally good C the smallest is taken. StageError with fewer rows
    than folds.
    """
    n = len(rows.won)
    if n < FOLDS:
        raise StageError(f"{n} judged items: choosing C takes at least {FOLDS}. Give C, or judge more items.")
    fold = np.arange(n) % FOLDS
    likelihood = np.empty((FOLDS, len(C_GRID)))
    for left_out in range(FOLDS):
        training, test = rows.take(fold != left_out), rows.take(fold == left_out)
        # Each fit starts from that of the C before, which is close.
        beta = None
        for number, c in enumerate(C_GRID):
            beta = fit(training, c, beta)
            p = np.clip(sigmoid(test.features @ beta), _CLIP, 1 - _CLIP)
            each = test.won * np.log(p) + (1 - test.won) * np.log1p(-p)
            likelihood[left_out, number] = np.average(each, weights=test.weights)
    return float(C_GRID[int(np.argmax(likelihood.mean(axis=0)))])


def slopes(rows: Rows, beta: np.ndarray) -> np.ndarray:
    """What each row adds to the gradient of the loss at `beta`, (k,), and to its Hessian, (k, k)
    laid out flat: (n, k + k*k)."""
    x = rows.features
    k = x.shape[1]
    p = sigmoid(x @ beta)
    hessian = (rows.weights * p * (1 - p))[:, None] * (x[:, :, None] * x[:, None, :]).reshape(-1, k * k)
    return np.hstack([(rows.weights * (p - rows.won))[:, None] * x, hessian])


def newton_steps(sums: np.ndarray, beta: np.ndarray, c: float) -> np.ndarray:
    """The Newton step, (p, k), from `beta` for each of the sums, (p, k + k*k), of `slopes`.

    A weight that the L1 norm holds at 0 stays there; of the others the norm's slope is their sign.
    The objective is divided by c, so that the sums need no factor.
    """
    k = len(beta)
    free, steps = beta != 0, np.zeros((len(sums), k))
    gradient = sums[:, :k][:, free] + np.sign(beta[free]) / c
    hessian = sums[:, k:].reshape(-1, k, k)[:, free][:, :, free] + _RIDGE * np.eye(int(free.sum()))
    steps[:, free] = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return steps
