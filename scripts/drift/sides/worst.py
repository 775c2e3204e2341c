"""The candidate that ranks lowest."""

from collections import Counter

from drift.sides import Needs, Reply, ranked_replies

NEEDS = Needs(ranking=True, only="rejected")


def asks(recipe, n) -> dict[str, int]:
    """The candidates of the recipe, whatever `n` is."""
    return dict(Counter(recipe["candidates"]))


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """All candidates that have a score, the lowest one first."""
    return ranked_replies(sampled, scores, side)
