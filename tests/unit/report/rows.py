"""Rows of the scores."""


def score(judge: str, metric: str = "win_rate", **columns) -> dict:
    """A score of the base model on the held-out benchmark."""
    policy = {"model": "qwen-0.5b", "method": "base", "iteration": -1, "seed": 0}
    statistic = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 5, "total": 6, "samples": 1, "spread": None}
    return {**policy, "benchmark": "heldout", "judge": judge, "metric": metric, **statistic, **columns}
