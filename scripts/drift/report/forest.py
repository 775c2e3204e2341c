"""Where the marks of a forest plot stand: differences with their intervals on one scale around
0."""

from collections.abc import Iterable
from dataclasses import dataclass

# Room at both ends of the scale, as a share of it.
_MARGIN = 0.06


@dataclass(frozen=True)
class Mark:
    """A difference on the scale: per cent of its width, from the left."""

    zero: float
    middle: float
    low: float
    width: float  # of the interval


@dataclass(frozen=True)
class Scale:
    """From the least to the greatest value that is shown; 0 is on it."""

    least: float
    greatest: float

    @classmethod
    def of(cls, rows: Iterable[dict]) -> "Scale":
        """The scale of rows of Comparisons."""
        values = [row[name] for row in rows for name in ("difference", "low", "high") if row[name] is not None]
        return cls(min([0.0, *values]), max([0.0, *values]))

    def mark(self, row: dict) -> Mark | None:
        """The mark of a row of Comparisons; None where its difference is not defined."""
        if row["difference"] is None:
            return None
        low, high = (row["difference"] if row[name] is None else row[name] for name in ("low", "high"))
        left, right = self._place(low), self._place(high)
        return Mark(self._place(0.0), self._place(row["difference"]), left, right - left)

    def _place(self, value: float) -> float:
        span = self.greatest - self.least or 1.0
        return 100 * (_MARGIN + (1 - 2 * _MARGIN) * (value - self.least) / span)
