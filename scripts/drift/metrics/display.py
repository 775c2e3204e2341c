"""How a metric of the scores is called and how its numbers are written.

Benchmarks declare their metrics with these, and rules load benchmarks: the standard library alone
is imported here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


def minus(text: str) -> str:
    """`text` with a minus as long as its plus."""
    return text.replace("-", "\N{MINUS SIGN}")


def percent(value: float) -> str:
    """A share, 0 to 1, in per cent."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of shares, in percentage points."""
    return minus(f"{100 * value:+.1f}")


def tenths(value: float) -> str:
    """With one digit after the point."""
    return minus(f"{value:.1f}")


def signed_tenths(value: float) -> str:
    """With its sign and one digit after the point."""
    return minus(f"{value:+.1f}")


def hundredths(value: float) -> str:
    """With two digits after the point."""
    return minus(f"{value:.2f}")


def signed(value: float) -> str:
    """With its sign, and three digits after the point where it is small."""
    return minus(f"{value:+.3f}" if abs(value) < 10 else f"{value:+,.1f}")


def whole(value: float) -> str:
    """A whole number with separators of thousands."""
    return minus(f"{value:,.0f}")


def plain(value: float) -> str:
    """Four digits, whatever the scale is."""
    return minus(f"{value:,.4g}")


@dataclass(frozen=True)
class Metric:
    """How a metric of the scores is called and shown."""

    name: str
    label: str
    # How a value is written; differences of two values are written to match (`difference`).
    text: Callable[[float], str] = plain
    # d3-format of the chart's axis.
    axis: str = ",~r"
    # What the metric is, in a few words.
    help: str = ""
    # The sentence under its chart; empty where it has no chart.
    curve: str = ""
    # Which way is better; neither: a rise is as good as a fall, and is never coloured.
    better: Literal["higher", "lower", "neither"] = "neither"
    # Unit of the chart's axis where the numbers on it do not say it.
    unit: str = ""
    # Charts of one scale have the same y axis, so that their heights can be compared; default: the
    # metric's own name.
    scale: str = ""
    # Where the chart has a dashed reference line.
    rule: float | None = None
    # Shown on demand only.
    detail: bool = False
    # Policies are compared and tested by it. One headline or two a benchmark: each further test
    # makes all others harder to believe, as p-values are corrected for their number.
    headline: bool = False

    def difference(self, value: float) -> str:
        """A difference of two values, with its sign; of shares in percentage points."""
        return {percent: points, tenths: signed_tenths}.get(self.text, signed)(value)
