"""Rows of the scores and of their comparisons."""


def score(judge: str, metric: str = "win_rate", **columns) -> dict:
    """A score of the base model on the held-out benchmark."""
    policy = {"model": "qwen-0.5b", "method": "base", "iteration": -1, "seed": 0}
    statistic = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 5, "total": 6, "samples": 1, "spread": None}
    statistic |= {"seeds": 1, "seed_spread": None}
    return {**policy, "benchmark": "heldout", "judge": judge, "metric": metric, **statistic, **columns}


def compared(**columns) -> dict:
    """A row of Comparisons: drift against the base model on the held-out benchmark."""
    row = {"model": "qwen-0.5b", "method": "drift", "iteration": 1, "other_method": "base", "other_iteration": -1, "seed": 0}
    row |= {
        "against": "base",
        "benchmark": "heldout",
        "judge": "tiny",
        "metric": "win_rate",
        "n": 6,
        "seeds": 1,
        "p_seeds": None,
    }
    row |= {
        "family": "exploratory",
        "difference": -0.031,
        "low": -0.05,
        "high": -0.01,
        "p": 0.0004,
        "p_holm": None,
        "p_fdr": 0.004,
    }
    return row | columns
