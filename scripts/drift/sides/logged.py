"""The reply that the deployment gave, as the logs have it."""

from drift.sides import Needs, Reply

NEEDS = Needs(logged=True)


def asks(recipe, n) -> dict[str, int]:
    """Nothing is sampled."""
    return {}


def replies(prompt, side, sampled, scores) -> list[Reply]:
    """The logged reply of that side."""
    return [{"text": prompt[side], "from": "logged", "reply": None, "score": None}]
