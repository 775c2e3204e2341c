"""The registry of metrics: what the report shows of each score, the most telling first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from drift import benchmarks, plugins
from drift.metrics import shown
from drift.metrics.display import Metric, hundredths, percent, signed, whole
from drift.names import DIRECTIONS


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(row: dict, text: Callable[[float], str]) -> str | None:
    """An interval as it is shown; None where there is none, or where all items are alike: its width
    of 0 would say that a value is known for certain."""
    if row["low"] is None or row["low"] == row["high"]:
        return None
    return f"{text(row['low']).rstrip('%')} to {text(row['high']).rstrip('%')}"


@dataclass(frozen=True)
class Measure:
    """What was measured as it is shown: a value, its interval, and how many items are behind it."""

    text: str
    interval: str | None
    n: str


def without_empty(columns: Sequence, rows: list[list[Measure | None]]) -> tuple[tuple, list[list[Measure | None]]]:
    """The columns in which any row has a measure, and the rows without the others."""
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    return tuple(columns[place] for place in kept), [[row[place] for place in kept] for row in rows]


def measure(row: dict | None, text: Callable[[float], str]) -> Measure | None:
    """The measure that a row (value, low, high, n) is; None where there is none."""
    if row is None or row["value"] is None:
        return None
    return Measure(text(row["value"]), interval(row, text), whole(row["n"]))


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


def size(megabytes: float) -> str:
    """Mebibytes, or gibibytes where they are many."""
    return f"{megabytes:,.0f} MiB" if megabytes < 1024 else f"{megabytes / 1024:,.1f} GiB"


@cache
def known() -> dict[str, Metric]:
    """Every metric that says how it is shown, by name, the most telling first: those of any
    benchmark, what kinds of benchmarks add, then what describes the judge, the answers and held-out
    pairs."""
    added = [metric for kind in plugins.BENCHMARKS for metric in benchmarks.metrics_shown(kind)]
    metrics = [
        *shown.JUDGED,
        *added,
        *shown.RELIABILITY,
        *shown.ANSWERS,
        *shown.PAIRS,
    ]
    return {metric.name: metric for metric in metrics}


def metric_named(name: str) -> Metric:
    """How the scores' metric of this name is shown; one that nobody labelled goes by its name.

    NAME:X is NAME against the reference X, or over the group X: a detail, but for directions of
    length, which show what a mean over them hides.
    """
    stem, _, part = name.partition(":")
    metric = known().get(stem) or Metric(stem, stem)
    return (
        replace(metric, name=name, label=f"{metric.label}: {part}", curve="", detail=part not in DIRECTIONS) if part else metric
    )


def in_order(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names, the most telling first; last those that nobody labelled."""
    places = {name: place for place, name in enumerate(known())}
    return [
        metric_named(name) for name in sorted(names, key=lambda name: (places.get(name.partition(":")[0], len(places)), name))
    ]


LENGTH = Metric(
    "tokens_median",
    "Length of answers",
    whole,
    "~s",
    unit="tokens",
    scale="response_tokens",
    curve="Tokens of an answer (median; whiskers: the middle half). Falling in every iteration: whatever the margins say, the policy "
    "is losing its words. Compare the lengths of both sides of its pairs.",
)
VARIETY = Metric(
    "distinct_2",
    "Variety of words",
    hundredths,
    "f",
    unit="share of the base model's",
    curve="Different word pairs in the answers (distinct-2), as a share of the base model's (dashed), of as many word pairs. Falling: "
    "the answers become like each other.",
    rule=1.0,
)
ON_PROMPT = Metric(
    "on_prompt",
    "Answers to the prompt",
    percent,
    "%",
    curve="Answers with more in common with their own prompt than with 95% of the others. Falling: the policy no longer answers what "
    "it is asked, whatever it scores.",
)
PAIR_QUALITY = Metric(
    "pair_quality",
    "y+ beats y\N{MINUS SIGN}",
    percent,
    "%",
    curve="How often the chosen reply of an iteration's pairs is the better one; a tie counts half. Falling towards 50% (dashed): "
    "the pairs tell better from worse no more; below: they teach the worse reply.",
    rule=0.5,
)
TRAINING_CURVES = (
    Metric(
        "s",
        "Training margin s",
        signed,
        unit="s",
        curve="How far an iteration moved its own pairs from where it started (mean; whiskers: the middle half of the pairs). "
        "Falling towards 0 (dashed): the later iterations find less to learn in their pairs.",
        rule=0.0,
    ),
    Metric(
        "sigma_minus_s",
        "Weight left: sigma(-s)",
        percent,
        axis="f",
        unit="weight",
        curve="The weight of a pair's gradient after the iteration (mean; whiskers: the middle half). It starts at 0.5 (dashed); "
        "falling: the pairs are fitted and their signal is used up; at 0.5: the iteration hardly moved the policy.",
        rule=0.5,
    ),
)
