"""The length-controlled win rate of AlpacaEval 2: what the win rate would be if both answers had
one length.

Source of the idea: Dubois et al. 2024, "Length-Controlled AlpacaEval" (arXiv:2404.04475). A
logistic regression explains each win by the difference in length, the difficulty of the instruction
and the model itself; the rate is its mean prediction with the length term left out. Where the paper
leaves a choice open, this is what the published leaderboard does; tools/check_golden.py recomputes
that leaderboard with the functions here.

Shares and rates are 0 to 1. The features of every row, (n, 3), are length, difficulty, and 1 for a
row of the model, 0 for a gamed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.metrics import published_files
from drift.metrics.logistic_regression import Rows, choose_c, fit, newton_steps, sigmoid, slopes

# Of a gamed row in the fit, where a row of the model counts 1: half the published lambda of 0.2.
GAMED_WEIGHT = 0.1
# Of a fit to a resample, whose own spread is a hundredth or more.
_RESAMPLED_TOLERANCE = 1e-6


# ------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Items:
    """A model's answers, one item per instruction, in a fixed order. All arrays are of shape
    (n,)."""

    # The model's share of the win, 0 to 1; NaN without a verdict.
    won: np.ndarray
    # Characters: length of the baseline's answer less that of the model's.
    shorter_by: np.ndarray
    # Of the instruction; None: the variant without it.
    difficulty: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Items":
        """The items at `rows`, which may repeat."""
        difficulty = None if self.difficulty is None else self.difficulty[rows]
        return Items(self.won[rows], self.shorter_by[rows], difficulty)


def read_difficulty(path: Path) -> np.ndarray:
    """The difficulty, (n,), of each instruction of the published set, in its order: column
    instruction_difficulty."""
    values = published_files.read_csv(path, {"instruction_difficulty": pl.Float64})["instruction_difficulty"]
    if not values.is_finite().all():
        raise published_files.unreadable(path, "an instruction_difficulty is not finite")
    return values.to_numpy()


def read_gamed(path: Path) -> Rows:
    """The regularising rows: the baseline made verbose and concise, judged against itself.

    Columns preference (0 to 1), std_delta_len (length difference over its standard deviation),
    instruction_difficulty.
    """
    columns = ("std_delta_len", "instruction_difficulty", "preference")
    frame = published_files.read_csv(path, dict.fromkeys(columns, pl.Float64))
    length, difficulty, won = (frame[name].to_numpy() for name in columns)
    if not np.isfinite(frame.to_numpy()).all() or np.any((won < 0) | (won > 1)):
        raise published_files.unreadable(path, "a figure is not finite, or a preference is outside 0 to 1")
    features = np.column_stack([np.tanh(length), difficulty, np.zeros(len(won))])
    return Rows(features, won, np.full(len(won), GAMED_WEIGHT))


# ---------------------------------------------------------------------------------------------- fit


def length_feature(shorter_by: np.ndarray) -> np.ndarray:
    """tanh of the differences in length over their sample standard deviation (over all of them, of
    any shape), not centred; 0 where all differ alike."""
    spread = np.std(shorter_by, ddof=1) if np.size(shorter_by) > 1 else 0.0
    return np.tanh(shorter_by / spread) if spread > 0 else np.zeros(np.shape(shorter_by))


def training_rows(items: Items, gamed: Rows | None) -> Rows:
    """What is fitted: `gamed` (None: the variant without), then the items that have a verdict, each
    with weight 1. The length feature is standardised over all items, judged or not."""
    if not np.isfinite(items.shorter_by).all():
        raise StageError("the length of an answer is not known: length control needs the lengths of all items")
    judged = ~np.isnan(items.won)
    features = np.column_stack([length_feature(items.shorter_by), _difficulty(items), np.ones(len(items.won))])[judged]
    return _gamed_for(items, gamed).followed_by(Rows(features, items.won[judged], np.ones(int(judged.sum()))))


def _gamed_for(items: Items, gamed: Rows | None) -> Rows:
    """The regularising rows of a fit to `items`: without difficulty where the items have none."""
    if gamed is None:
        return Rows(np.empty((0, 3)), np.empty(0), np.empty(0))
    return gamed if items.difficulty is not None else Rows(gamed.features * [1, 0, 1], gamed.won, gamed.weights)


def _difficulty(items: Items) -> np.ndarray:
    return np.zeros(len(items.won)) if items.difficulty is None else items.difficulty


# ------------------------------------------------------------------------------------------ predict


@dataclass(frozen=True)
class Fit:
    """A fitted regression, and the length-controlled win rate that it gives."""

    beta: np.ndarray  # (3,): of length, difficulty, and the model itself
    # None: nothing was fitted.
    c: float | None
    # 0 to 1.
    win_rate: float

    @property
    def emptied(self) -> bool:
        """Whether the penalty took all of the model's own weight, as it does where few verdicts are
        no clear majority: 0.5 would be the penalty's, with no spread over resamples."""
        return self.c is not None and not self.beta[1:].any()


def predicted(beta: np.ndarray, items: Items) -> np.ndarray:
    """The probability, (n,), that the model wins each item, judged or not, if both answers had one
    length: the regression `beta`, (3,), without its length term."""
    return sigmoid(beta[1] * _difficulty(items) + beta[2])


def with_weights(beta: np.ndarray, items: Items, c: float | None = None) -> Fit:
    """The fit whose weights are `beta`, (3,): its win rate is the mean of what it predicts."""
    return Fit(np.asarray(beta), c, float(np.mean(predicted(beta, items))))


def length_controlled(items: Items, gamed: Rows | None, c: float | None = None) -> Fit:
    """The fit to `items` and `gamed`; `c` None: chosen by cross-validation.

    For prompts other than AlpacaEval's, whose difficulty nobody has estimated, leave
    items.difficulty or `gamed` out (None), or both. A model whose every answer draws and is as long
    as the baseline's is the baseline: 0.5 by definition. StageError where nothing was judged.
    """
    judged = items.won[~np.isnan(items.won)]
    if not len(judged):
        raise StageError("no item has a preference: there is nothing to fit a length-controlled win rate to")
    if np.all(judged == 0.5) and not np.any(items.shorter_by):
        return with_weights(np.zeros(3), items)
    rows = training_rows(items, gamed)
    c = choose_c(rows) if c is None else c
    return with_weights(fit(rows, c), items, c)


# ---------------------------------------------------------------------------------------- statistic


@dataclass(frozen=True)
class LengthControl:
    """The length-controlled win rate as a statistic (drift.metrics.resampling): the mean over
    samples of the answers of their fits' win rates."""

    keys: np.ndarray  # (n,), of the items
    samples: tuple[Items, ...]  # one per sample of the answers, each in the order of `keys`
    gamed: Rows | None
    fits: tuple[Fit, ...]  # one per sample

    @classmethod
    def fitted(cls, keys: np.ndarray, samples: Sequence[Items], gamed: Rows | None) -> "LengthControl":
        """Fits of each sample, each with a C of its own."""
        return cls(keys, tuple(samples), gamed, tuple(length_controlled(items, gamed) for items in samples))

    def value(self) -> float:
        return float(np.mean([fitted.win_rate for fitted in self.fits]))

    def replicates(self, counts: np.ndarray) -> np.ndarray:
        """The fit is repeated on every resample of the items, at its C and with all of `gamed`,
        which are no sample of anything."""
        everything = np.arange(len(self.keys))
        rows = [np.repeat(everything, times) for times in counts.astype(np.int64)]
        # (samples, resamples), averaged over samples.
        return np.mean([[self._refitted(number, drawn) for drawn in rows] for number in range(len(self.fits))], axis=0)

    def _refitted(self, number: int, drawn: np.ndarray) -> float:
        """The win rate of sample `number` on the items at `drawn`; NaN where none of them is
        judged, or they are won and lost by length alone: such a fit has no end."""
        items, fitted = self.samples[number].take(drawn), self.fits[number]
        if fitted.c is None:  # the baseline itself
            return fitted.win_rate
        rows = training_rows(items, self.gamed)
        if not len(rows.won):
            return np.nan
        try:
            return with_weights(fit(rows, fitted.c, fitted.beta, _RESAMPLED_TOLERANCE), items).win_rate
        except ArithmeticError:
            return np.nan

    def take(self, positions: np.ndarray) -> "LengthControl":
        samples = tuple(items.take(positions) for items in self.samples)
        refits = (length_controlled(items, self.gamed, one.c) for items, one in zip(samples, self.fits, strict=True))
        return LengthControl(self.keys[positions], samples, self.gamed, tuple(refits))

    def permuted(self, other: "LengthControl", swapped: np.ndarray) -> np.ndarray:
        """The linearised difference, (p,), of two Newton steps from the fit to both sides together,
        which no exchange moves.

        A refit for each of thousands of exchanges would take minutes; an exchange moves the fit
        little, so that one step nearly is the refit.
        """
        both = _Both.of(self, other)
        c = _common_c(self, other)
        try:
            beta = fit(both.gamed.followed_by(both.pooled()), c)
        except ArithmeticError:
            return np.full(len(swapped), np.nan)
        own = both.slopes(beta)
        fixed = slopes(both.gamed, beta).sum(axis=0)
        # (p, 12): one side's sums after each exchange; the other side has the rest.
        mine = own[0].sum(axis=0) + swapped @ (own[1] - own[0])
        others = own.sum(axis=(0, 1)) - mine
        steps = [newton_steps(sums + fixed, beta, c) for sums in (mine, others)]
        # The win rate is the mean over items of p: its gradient in beta, (3,), turns the difference
        # of steps into one of win rates.
        p = predicted(beta, self.samples[0])
        gradient = np.array([0.0, np.mean(p * (1 - p) * both.difficulty), np.mean(p * (1 - p))])
        return (steps[0] - steps[1]) @ gradient


@dataclass(frozen=True)
class _Both:
    """The items of two policies as one regression sees them: axis 0 is the side, then sample and
    item."""

    x: np.ndarray  # (2, samples, n, 3)
    won: np.ndarray  # (2, samples, n), NaN without a verdict
    weights: np.ndarray  # (2, samples, n): a side's samples share the weight of one row per item
    difficulty: np.ndarray  # (n,)
    gamed: Rows

    @classmethod
    def of(cls, one: LengthControl, other: LengthControl) -> "_Both":
        """The items of both; length is standardised over both sides, so that an exchange leaves
        every row's features as they are."""
        won, shorter_by = (
            np.stack([np.stack([getattr(items, name) for items in side.samples]) for side in (one, other)])
            for name in ("won", "shorter_by")
        )
        length, difficulty = length_feature(shorter_by), _difficulty(one.samples[0])
        x = np.stack([length, np.broadcast_to(difficulty, length.shape), np.ones_like(length)], axis=-1)
        by_side = 1 / np.array([len(side.samples) for side in (one, other)])
        weights = np.broadcast_to(by_side[:, None, None], won.shape)
        return cls(x, won, weights, difficulty, _gamed_for(one.samples[0], one.gamed))

    def pooled(self) -> Rows:
        """All judged rows, each side with half a weight: together they weigh as much as one
        policy."""
        judged = ~np.isnan(self.won)
        return Rows(self.x[judged], self.won[judged], self.weights[judged] / 2)

    def slopes(self, beta: np.ndarray) -> np.ndarray:
        """`slopes` of every item of each side, summed over its samples: (2, n, 12)."""
        sides, samples, n = self.won.shape
        weights = self.weights * ~np.isnan(self.won)
        rows = Rows(self.x.reshape(-1, 3), np.nan_to_num(self.won).ravel(), weights.ravel())
        return slopes(rows, beta).reshape(sides, samples, n, -1).sum(axis=1)


def _common_c(*sides: LengthControl) -> float:
    """One C for a fit to several policies: the geometric mean of theirs."""
    fitted = [one.c for side in sides for one in side.fits if one.c is not None]
    return float(np.exp(np.mean(np.log(fitted)))) if fitted else 1.0
