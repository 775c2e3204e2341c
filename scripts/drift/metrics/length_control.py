"""AlpacaEval 2: from a judge's first token to preferences, win rate and length-controlled win rate.

Source of the idea: Dubois et al. 2024, "Length-Controlled AlpacaEval" (arXiv:2404.04475). Where the paper leaves a choice open,
this is what the published leaderboard does; tools/check_golden.py recomputes that leaderboard with the functions here.

Rates are in per cent, as published. A preference lies in [1, 2]: 1, the baseline's answer is better; 2, the model's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.metrics import published_files

GAMED_WEIGHT = 0.1  # of a gamed row in the fit, where a row of the model counts 1: half the published lambda of 0.2
C_GRID = np.logspace(-4, 4, 10)
FOLDS = 5
_CLIP = 1e-15  # probabilities are kept this far from 0 and 1 before their logarithm is taken
_NEWTON_STEPS = 200
_SWEEPS = 1000
_STEP_TOLERANCE = 1e-10
_RESAMPLED_TOLERANCE = 1e-6  # of a fit to a resample, whose own spread is a hundredth or more


# ------------------------------------------------------------------------------------------------ preferences, win rate


def preferences(first: np.ndarray, second: np.ndarray, switched: np.ndarray) -> np.ndarray:
    """The preference, 1 to 2, of each item: 2 - p(m) / (p(m) + p(M)), and 3 minus that where the answers were switched.

    `first` and `second`, of shape (n,): log-probabilities (nats) of the tokens "m" and "M" as the judge's first token, NaN where
    it was not among those reported: then its probability counts as 0. NaN where neither was. `switched`, (n,): truth values.
    """
    p_first, p_second = (np.nan_to_num(np.exp(np.asarray(logp, dtype=np.float64))) for logp in (first, second))
    mass = p_first + p_second
    share = np.divide(p_first, mass, out=np.full(mass.shape, np.nan), where=mass > 0)
    return np.where(np.asarray(switched, dtype=bool), 1 + share, 2 - share)


def wins(preference: np.ndarray) -> np.ndarray:
    """Preferences, (n,), as the model's share of a win, 0 to 1; NaN stays. Old files write a draw as 0: it counts 0.5."""
    preference = np.asarray(preference, dtype=np.float64)
    share = np.where(preference == 0, 0.5, preference - 1)
    if np.any((share < 0) | (share > 1)):
        raise StageError("an AlpacaEval preference is outside 1 to 2: the column holds something else, or another scale")
    return share


def win_rate(won: np.ndarray) -> dict[str, float | int | None]:
    """The leaderboard's figures of `won`, (n,) in [0, 1], under its names; NaN (no verdict) is left out. None: not defined.

    standard_error is the mean's, with the sample variance; discrete_win_rate counts an item for whoever has more than half.
    """
    won = np.asarray(won, dtype=np.float64)
    won = won[~np.isnan(won)]
    n, n_wins, n_draws = len(won), int(np.sum(won > 0.5)), int(np.sum(won == 0.5))
    return {
        "win_rate": 100 * float(np.mean(won)) if n else None,
        "standard_error": _standard_error(won),
        "n_wins": n_wins,
        "n_wins_base": n - n_wins - n_draws,
        "n_draws": n_draws,
        "n_total": n,
        "discrete_win_rate": 100 * (n_wins + 0.5 * n_draws) / n if n else None,
    }


def _standard_error(values: np.ndarray) -> float | None:
    return 100 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None


def average_length(lengths: np.ndarray) -> int | None:
    """Mean length (characters) of all the model's answers, judged or not, cut to a whole number as published."""
    return int(np.mean(lengths)) if len(lengths) else None


# --------------------------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Items:
    """A model's answers, one item per instruction, in the order of the annotation table. All arrays are of shape (n,)."""

    won: np.ndarray  # the model's share of the win, 0 to 1; NaN without a verdict
    shorter_by: np.ndarray  # characters: length of the baseline's answer less that of the model's
    difficulty: np.ndarray | None  # of the instruction; None: the variant without it

    def take(self, rows: np.ndarray) -> "Items":
        """The items at `rows`, which may repeat."""
        difficulty = None if self.difficulty is None else self.difficulty[rows]
        return Items(self.won[rows], self.shorter_by[rows], difficulty)


@dataclass(frozen=True)
class Rows:
    """What a logistic regression is fitted to."""

    features: np.ndarray  # (n, 3): length, difficulty, 1 for a row of the model and 0 for a gamed one
    won: np.ndarray  # (n,), 0 to 1
    weights: np.ndarray  # (n,)

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows at `rows`."""
        return Rows(self.features[rows], self.won[rows], self.weights[rows])


def read_difficulty(path: Path) -> np.ndarray:
    """The difficulty, (n,), of each instruction of the published set, in its order: column instruction_difficulty."""
    values = published_files.read_csv(path, {"instruction_difficulty": pl.Float64})["instruction_difficulty"]
    if not values.is_finite().all():
        raise published_files.unreadable(path, "an instruction_difficulty is not finite")
    return values.to_numpy()


def read_gamed(path: Path) -> Rows:
    """The regularising rows: the baseline made verbose and concise, judged against itself.

    Columns preference (0 to 1), std_delta_len (length difference over its standard deviation), instruction_difficulty.
    """
    columns = ("std_delta_len", "instruction_difficulty", "preference")
    frame = published_files.read_csv(path, dict.fromkeys(columns, pl.Float64))
    length, difficulty, won = (frame[name].to_numpy() for name in columns)
    if not np.isfinite(frame.to_numpy()).all() or np.any((won < 0) | (won > 1)):
        raise published_files.unreadable(path, "a figure is not finite, or a preference is outside 0 to 1")
    features = np.column_stack([np.tanh(length), difficulty, np.zeros(len(won))])
    return Rows(features, won, np.full(len(won), GAMED_WEIGHT))


def look_up(difficulty: np.ndarray, instructions: np.ndarray, positional: bool = False) -> np.ndarray:
    """The difficulty, (n,), of each item, whose instruction's number in the published set is in `instructions`, (n,).

    `positional` takes the item's own place in the annotation table for that number, as the published values do: with an
    instruction missing, all items after it get a neighbour's difficulty. It is for reproducing those values and nothing else.
    """
    at = np.arange(len(instructions)) if positional else np.asarray(instructions)
    if np.any((at < 0) | (at >= len(difficulty))):
        raise StageError(
            f"instruction {at[(at < 0) | (at >= len(difficulty))][0]} has no difficulty: there are {len(difficulty)}. With other "
            "prompts than AlpacaEval's, leave the difficulty out."
        )
    return difficulty[at]


# --------------------------------------------------------------------------------------------------------- fit, predict


@dataclass(frozen=True)
class LengthControlled:
    """A length-controlled win rate, and the fit that it is from."""

    win_rate: float  # per cent
    standard_error: (
        float | None
    )  # per cent, over items; blind to the fit's uncertainty, so far too small: resample `LengthControl`
    beta: np.ndarray  # (3,): of length, difficulty, and the model itself
    c: float | None  # None: nothing was fitted


def training_rows(items: Items, gamed: Rows | None) -> Rows:
    """What is fitted: `gamed` (None: the variant without), then the items that have a verdict, each with weight 1.

    The length feature is tanh of the difference over its sample standard deviation, not centred; 0 where all differ alike.
    """
    if not np.isfinite(items.shorter_by).all():
        raise StageError("the length of an answer is not known: length control takes those of all items")
    spread = np.std(items.shorter_by, ddof=1) if len(items.shorter_by) > 1 else 0.0
    length = np.tanh(items.shorter_by / spread) if spread > 0 else np.zeros(len(items.shorter_by))
    judged = ~np.isnan(items.won)
    features = np.column_stack([length, _difficulty(items), np.ones(len(length))])[judged]
    rows = Rows(features, items.won[judged], np.ones(int(judged.sum())))
    if gamed is None:
        return rows
    of_gamed = gamed.features if items.difficulty is not None else gamed.features * [1, 0, 1]
    return Rows(
        np.vstack([of_gamed, rows.features]),
        np.concatenate([gamed.won, rows.won]),
        np.concatenate([gamed.weights, rows.weights]),
    )


def _difficulty(items: Items) -> np.ndarray:
    return np.zeros(len(items.won)) if items.difficulty is None else items.difficulty


def fit(rows: Rows, c: float, start: np.ndarray | None = None, tolerance: float = _STEP_TOLERANCE) -> np.ndarray:
    """beta, (3,), that minimises |beta|_1 + c sum_i w_i [log(1 + e^z_i) - y_i z_i] with z = features @ beta.

    liblinear's L1-regularised logistic regression (Fan et al. 2008) without intercept, where a share y of a win stands for a won
    row of weight y w and a lost one of (1 - y) w. Solved by proximal Newton steps: the quadratic model plus the L1 norm by
    coordinate descent, then a backtracking line search (Lee, Sun and Saunders 2014), until a step is below `tolerance`.
    """
    x, y, w = rows.features, rows.won, rows.weights
    beta = np.zeros(x.shape[1]) if start is None else np.asarray(start, dtype=np.float64)

    def objective(at: np.ndarray, z: np.ndarray) -> float:
        loss = np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - y * z
        return float(np.abs(at).sum() + c * (w @ loss))

    z = x @ beta
    value = objective(beta, z)
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(z)
        gradient = c * (x.T @ (w * (p - y)))
        hessian = c * ((x.T * (w * p * (1 - p))) @ x)
        step = _newton_step(beta, gradient, hessian)
        promised = gradient @ step + np.abs(beta + step).sum() - np.abs(beta).sum()
        size = 1.0
        while True:
            candidate = beta + size * step
            z = x @ candidate
            reached = objective(candidate, z)
            # The last term: near the optimum a true improvement is smaller than the objective's own rounding.
            if reached <= value + 1e-4 * size * promised + 1e-13 * abs(value) or size < _STEP_TOLERANCE:
                break
            size /= 2
        beta, value = candidate, reached
        if np.abs(size * step).max() < tolerance:
            return beta
    raise ArithmeticError(f"the logistic regression did not converge in {_NEWTON_STEPS} steps at C = {c:g}")


def _newton_step(beta: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """d that minimises gradient d + d hessian d / 2 + |beta + d|_1. All of it in 3 dimensions.

    Where no weight is 0 or would change its sign the norm is linear, and d solves a linear system; else by coordinate descent.
    """
    if beta.all():
        d = np.linalg.solve(hessian + 1e-12 * np.eye(len(beta)), -gradient - np.sign(beta))
        if np.array_equal(np.sign(beta + d), np.sign(beta)):
            return d
    at, g, h = beta.tolist(), gradient.tolist(), hessian.tolist()
    d = [0.0] * len(at)
    for _ in range(_SWEEPS):
        moved = 0.0
        for j, row in enumerate(h):
            curvature = row[j] + 1e-12  # a feature that is 0 everywhere has none: its beta then goes to 0
            slope = g[j] + sum(a * b for a, b in zip(row, d, strict=True))
            free = at[j] + d[j] - slope / curvature
            shrunk = max(abs(free) - 1 / curvature, 0.0) * (1 if free > 0 else -1)
            moved = max(moved, abs(shrunk - at[j] - d[j]))
            d[j] = shrunk - at[j]
        if moved < _STEP_TOLERANCE / 100:
            break
    return np.array(d)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def choose_c(rows: Rows) -> float:
    """The C of `C_GRID` with the best mean over folds of the weighted mean log-likelihood of the fold left out.

    Row i is in fold i mod 5. Of equally good C the smallest is taken.
    """
    n = len(rows.won)
    if n < FOLDS:
        raise StageError(f"{n} judged items: choosing C takes at least {FOLDS}. Give C, or judge more items.")
    fold = np.arange(n) % FOLDS
    likelihood = np.empty((FOLDS, len(C_GRID)))
    for left_out in range(FOLDS):
        training, test = rows.take(fold != left_out), rows.take(fold == left_out)
        beta = None
        for number, c in enumerate(C_GRID):
            beta = fit(training, c, beta)
            p = np.clip(_sigmoid(test.features @ beta), _CLIP, 1 - _CLIP)
            each = test.won * np.log(p) + (1 - test.won) * np.log1p(-p)
            likelihood[left_out, number] = np.average(each, weights=test.weights)
    return float(C_GRID[int(np.argmax(likelihood.mean(axis=0)))])


def predicted(beta: np.ndarray, items: Items) -> np.ndarray:
    """The probability, (n,), that the model wins each item, judged or not, were both answers of one length."""
    return _sigmoid(beta[1] * _difficulty(items) + beta[2])


def from_weights(beta: np.ndarray, items: Items, c: float | None = None) -> LengthControlled:
    """The length-controlled win rate that `beta`, (3,), gives: 100 times the mean of what it predicts. `c`: what it came with."""
    p = predicted(beta, items)
    return LengthControlled(100 * float(np.mean(p)), _standard_error(p), np.asarray(beta), c)


def length_controlled(items: Items, gamed: Rows | None, c: float | None = None) -> LengthControlled:
    """The length-controlled win rate by a fit of its own; `c` None: chosen by cross-validation.

    For prompts other than AlpacaEval's, whose difficulty nobody has estimated, leave items.difficulty or `gamed` out (None), or
    both. A model whose every answer draws and is as long as the baseline's is the baseline: 50 by definition.
    """
    judged = items.won[~np.isnan(items.won)]
    if not len(judged):
        raise StageError("no item has a preference: there is nothing to fit a length-controlled win rate to")
    if np.all(judged == 0.5) and not np.any(items.shorter_by):
        return from_weights(np.zeros(3), items)
    rows = training_rows(items, gamed)
    c = choose_c(rows) if c is None else c
    return from_weights(fit(rows, c), items, c)


@dataclass(frozen=True)
class LengthControl:
    """The length-controlled win rate as a figure of items whose keys are `keys`, (n,): the mean over samples of their fits."""

    keys: np.ndarray
    samples: tuple[Items, ...]  # one per sample of the answers, each in the order of `keys`
    gamed: Rows | None
    fits: tuple[LengthControlled, ...]

    @classmethod
    def fitted(cls, keys: np.ndarray, samples: Sequence[Items], gamed: Rows | None) -> "LengthControl":
        """Fits of each sample, with C of their own."""
        return cls(keys, tuple(samples), gamed, tuple(length_controlled(items, gamed) for items in samples))

    def value(self) -> float:
        return float(np.mean([one.win_rate for one in self.fits])) / 100

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        """The fit is repeated on every sample of items, at its C and with `gamed` as it is: these are no sample of anything."""
        at, drawn = np.arange(len(self.keys)), counts.astype(np.int64)
        return np.mean([[self._refit(number, np.repeat(at, of)) for of in drawn] for number in range(len(self.fits))], axis=0)

    def _refit(self, number: int, at: np.ndarray) -> float:
        items, fitted = self.samples[number].take(at), self.fits[number]
        if fitted.c is None:  # the baseline itself
            return fitted.win_rate / 100
        rows = training_rows(items, self.gamed)
        return (
            from_weights(fit(rows, fitted.c, fitted.beta, _RESAMPLED_TOLERANCE), items).win_rate / 100
            if len(rows.won)
            else np.nan
        )

    def take(self, at: np.ndarray) -> "LengthControl":
        samples = tuple(items.take(at) for items in self.samples)
        again = (length_controlled(items, self.gamed, one.c) for items, one in zip(samples, self.fits, strict=True))
        return LengthControl(self.keys[at], samples, self.gamed, tuple(again))

    def permuted(self, other: "LengthControl", swapped: np.ndarray) -> np.ndarray:
        """The linearised difference of two Newton steps from the fit to both sides together, which no exchange moves.

        A refit for each of thousands of exchanges would take minutes; an exchange moves the fit little, so this nearly is it.
        """
        sides = [_stacked(side.samples) for side in (self, other)]
        won, shorter_by = (np.stack([getattr(side, name) for side in sides]) for name in ("won", "shorter_by"))
        judged, n = ~np.isnan(won), len(self.keys)
        spread = np.std(shorter_by, ddof=1)
        length = np.tanh(shorter_by / spread) if spread > 0 else np.zeros_like(shorter_by)
        difficulty = _difficulty(self.samples[0])
        x = np.stack([length, np.broadcast_to(difficulty, length.shape), np.ones_like(length)], axis=-1)  # (2, samples, n, 3)
        fitted = [one.c for side in (self, other) for one in side.fits if one.c is not None]
        c = float(np.exp(np.mean(np.log(fitted)))) if fitted else 1.0
        weight = np.broadcast_to(1 / np.array([len(side.samples) for side in (self, other)])[:, None, None], won.shape)
        gamed = self.gamed or Rows(np.empty((0, 3)), np.empty(0), np.empty(0))
        of_gamed = gamed.features if self.samples[0].difficulty is not None else gamed.features * [1, 0, 1]
        pooled = Rows(
            np.vstack([of_gamed, x[judged]]),
            np.concatenate([gamed.won, won[judged]]),
            np.concatenate([gamed.weights, weight[judged] / 2]),
        )
        beta = fit(pooled, c)
        own = _slopes(x.reshape(-1, 3), np.nan_to_num(won).ravel(), (weight * judged).ravel(), beta)
        own = own.reshape(2, -1, n, own.shape[-1]).sum(axis=1)
        fixed, both = _slopes(of_gamed, gamed.won, gamed.weights, beta).sum(axis=0), own.sum(axis=(0, 1))
        mine = own[0].sum(axis=0) + swapped @ (own[1] - own[0])
        steps = [_newton_steps(sums + fixed, beta, c) for sums in (mine, both - mine)]
        p = _sigmoid(beta[1] * difficulty + beta[2])
        slope = np.array([0.0, np.mean(p * (1 - p) * difficulty), np.mean(p * (1 - p))])
        return (steps[0] - steps[1]) @ slope


def _stacked(samples: Sequence[Items]) -> Items:
    """Several samples' items as one, of shape (samples, n)."""
    return Items(np.stack([items.won for items in samples]), np.stack([items.shorter_by for items in samples]), None)


def _slopes(x: np.ndarray, won: np.ndarray, weights: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """What each row adds to the gradient of the loss at `beta` and to its Hessian: (n, 3 + 9)."""
    p = _sigmoid(x @ beta)
    hessian = (weights * p * (1 - p))[:, None] * (x[:, :, None] * x[:, None, :]).reshape(-1, 9)
    return np.hstack([(weights * (p - won))[:, None] * x, hessian])


def _newton_steps(sums: np.ndarray, beta: np.ndarray, c: float) -> np.ndarray:
    """The Newton step, (p, 3), from `beta` for each of the sums, (p, 3 + 9), of `_slopes`.

    A weight that the L1 norm holds at 0 stays there; of the others the norm's slope is their sign.
    """
    free, steps = beta != 0, np.zeros((len(sums), 3))
    gradient = sums[:, :3][:, free] + np.sign(beta[free]) / c
    hessian = sums[:, 3:].reshape(-1, 3, 3)[:, free][:, :, free] + 1e-12 * np.eye(int(free.sum()))
    steps[:, free] = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    return steps
