"""Judgments and tasks whose scores are known."""

import polars as pl

from drift import tables


def judgment(item: str, order: str | None = "AB", number: int = 0, **columns) -> dict:
    """A row of Judgments; a comparison with the baseline unless `columns` say otherwise."""
    row = {"request_id": f"{item}#{order}-{number}-{columns}", "prompt_id": item, "sample": 0, "kind": "pairwise", "vote": 0}
    row |= {"opponent": "baseline", "order": order, "policy_chars": 10, "opponent_chars": 10}
    return row | ({"mass": 0.9} if columns.get("preference") is not None else {}) | columns


def score_of(item: str, score: float, **columns) -> dict:
    """A row of Judgments with the score of a single answer."""
    return judgment(item, None, kind="score", opponent=None, opponent_chars=None, score=score, **columns)


def compared(*rows: tuple[str, str, float | None]) -> pl.DataFrame:
    """Judgments of comparisons: item, order, and the preference; None: no verdict."""
    made = []
    for number, (item, order, preference) in enumerate(rows):
        failed = {"error": "the reply is neither letter"}
        verdict = failed if preference is None else {"mass": 0.5, "preference": preference}
        made.append(judgment(item, order, number, **verdict))
    return frame(made)


def frame(rows: list[dict], schema=tables.Judgments) -> pl.DataFrame:
    """A table with these rows; columns that they lack are null."""
    return pl.DataFrame(rows, schema=schema.create_empty().schema)


def tasks(*items: str, **columns) -> pl.DataFrame:
    """A Tasks table of these items, with the values of `columns` in their order."""
    rows = [
        {"prompt_id": item, "cluster": item} | {name: values[number] for name, values in columns.items()}
        for number, item in enumerate(items)
    ]
    return frame(rows, tables.Tasks)


def values(statistics: dict) -> dict[str, float]:
    """The value of every statistic."""
    return {name: statistic.value() for name, statistic in statistics.items()}
