"""What docs/study.md claims, as contrasts, and what the finished policies of a run say of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from drift.metrics import resampling

J = "pass_rate"
BEYOND_LENGTH = "pass_rate_beyond_length"
BETTER = "better_pairs"

# The columns of what is said of the claims.
CONTRASTS = {
    **dict.fromkeys(("claim", "contrast", "family", "claimed"), pl.String),
    "seeds": pl.Int32,
    **dict.fromkeys(("difference", "low", "high"), pl.Float64),
    "verdict": pl.String,
    # The same of J where only answers count that name their topic; the plan did not have it.
    **dict.fromkeys(("on_topic", "on_topic_low", "on_topic_high"), pl.Float64),
}

# By method, iteration and seed: a number with its replicates, on the same resamples for all, and
# the effective number of clusters behind it.
Numbers = Mapping[tuple[str, int, int], tuple[float, np.ndarray, float]]


@dataclass(frozen=True)
class Claim:
    """A contrast of policies that is claimed to lie above 0, or below."""

    text: str
    contrast: str
    metric: str
    # Policies by method and iteration, each with the factor by which it counts.
    terms: tuple[tuple[int, str, int], ...]
    above: bool = True
    primary: bool = False


def gain(method: str, last: int, sign: int = 1) -> tuple[tuple[int, str, int], ...]:
    """The terms of what a method gains after its first iteration."""
    return (sign, method, last), (-sign, method, 1)


def claims(methods: Sequence[str], last: int) -> Iterator[Claim]:
    """The claims of the plan; those about methods that are not in `methods` are left out."""
    known = {*methods}
    for claim in _planned([method for method in methods if method != "drift-epochs"], last):
        if {method for _, method, _ in claim.terms} <= known:
            yield claim


def _planned(methods: Sequence[str], last: int) -> Iterator[Claim]:
    for drift, primary in (("drift-checked", True), ("drift-unguided", False)):
        for other in ("spin", "iterdpo-six"):
            terms = gain(drift, last) + gain(other, last, -1)
            contrast = f"gain of {drift} less that of {other}"
            yield Claim("keeps improving longer", contrast, J, terms, primary=primary)
    for method in ("spin", "iterdpo-six"):
        yield Claim("peaks and falls", f"gain of {method}", J, gain(method, last), above=False)
    drifts = ("drift-checked", "drift-unguided")
    # Variants of drift-checked, with claims of their own.
    held = ("drift-initial", "drift-slow", "drift-on-topic")
    variants = ("drift-coin", *held)
    for number, drift in enumerate(drifts):
        for other in methods:
            if other not in drifts[: number + 1] + variants:
                contrast = f"{drift} less {other}"
                yield Claim("is better in the end", contrast, J, ((1, drift, last), (-1, other, last)))
    checked = (1, "drift-checked", last)
    contrast = "drift-checked less drift-coin"
    yield Claim("the gate does it", contrast, J, (checked, (-1, "drift-coin", last)))
    contrast = "drift-checked less drift-epochs"
    yield Claim("fresh positives do it", contrast, J, (checked, (-1, "drift-epochs", 1)))
    for method in held:
        yield Claim("keeps improving when held", f"gain of {method}", J, gain(method, last))
        yield Claim("is held", f"{method} less drift-checked", J, ((1, method, last), (-1, "drift-checked", last)))
    for method in methods:
        yield Claim("it is not length", f"{method}, beyond length", BEYOND_LENGTH, ((1, method, last),))
    for method in methods:
        contrast = f"better pairs of {method}, last less first"
        yield Claim("pairs stay informative", contrast, BETTER, gain(method, last))


def judged(claim: Claim, numbers: Numbers) -> dict | None:
    """A row of the contrasts: the mean over the seeds that all its policies have, with its
    interval; None where they have no seed in common."""
    seeds_of = [{of for method, k, of in numbers if (method, k) == term[1:]} for term in claim.terms]
    seeds = sorted(set.intersection(*seeds_of))
    if not seeds:
        return None
    each = [[(sign, numbers[method, k, of]) for sign, method, k in claim.terms] for of in seeds]
    values = [sum(sign * value for sign, (value, _, _) in terms) for terms in each]
    replicates = [sum(sign * drawn for sign, (_, drawn, _) in terms) for terms in each]
    clusters = min(of_number for terms in each for _, (_, _, of_number) in terms)
    low, high = resampling.interval_over_seeds(values, replicates, clusters) or (None, None)
    return {
        "claim": claim.text,
        "contrast": claim.contrast,
        "family": "primary" if claim.primary else "exploratory",
        "claimed": "above 0" if claim.above else "below 0",
        "seeds": len(seeds),
        "difference": float(np.mean(values)),
        "low": low,
        "high": high,
        "verdict": verdict(claim.above, low, high),
    }


def verdict(above: bool, low: float | None, high: float | None) -> str:
    """Whether an interval shows what is claimed, or its opposite."""
    if low is None or low <= 0 <= high:
        return "open"
    return "shown" if (low > 0) == above else "contradicted"
