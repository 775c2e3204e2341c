"""A sequence classifier reads what the user wrote next, or more of the exchange; each of its
classes stands for a label (data.labelers.NAME.classes).

The classifier is run by classify.py; this module makes labels of the probabilities that it gave its
classes, so that another label for a class classifies nothing again.
"""

from collections import Counter

import polars as pl

from drift.labelers import NO_FOLLOW_UP, answered

TOO_LONG = "longer than the classifier reads"
DROPS = (NO_FOLLOW_UP, TOO_LONG)

_EXCHANGE = ["conversation_id", "turn"]


def answers(probabilities: pl.DataFrame, classes: dict[str, str]) -> pl.DataFrame:
    """What the classifier says of each exchange: its most probable label and the score, which is
    the summed probability of the label's classes, with the most probable of those as evidence.

    `probabilities`: ClassProbabilities; `classes`: the label of each class.
    """
    labelled = probabilities.with_columns(label=pl.col("class_name").replace_strict(classes, return_dtype=pl.String))
    # Sorted, so that sums do not depend on the order in which threads add.
    by_label = (
        labelled.sort(*_EXCHANGE, "label", "probability", "class_name", descending=[False, False, False, True, False])
        .group_by(*_EXCHANGE, "label", maintain_order=True)
        .agg(score=pl.col("probability").sum(), class_name=pl.col("class_name").first(), most=pl.col("probability").first())
    )
    best = by_label.sort(*_EXCHANGE, "score", descending=[False, False, True], maintain_order=True)
    evidence = pl.format("class {}: {}", "class_name", pl.col("most").round(2))
    return best.unique(_EXCHANGE, keep="first", maintain_order=True).select(
        *_EXCHANGE, "label", pl.concat_list(evidence).alias("evidence"), pl.col("score").clip(upper_bound=1.0)
    )


def label(turns: pl.DataFrame, answers: pl.DataFrame) -> tuple[pl.DataFrame, Counter]:
    """The label that the classifier's `answers` give every answered reply which it could read."""
    replies = answered(turns)
    labels = replies.select(_EXCHANGE).join(answers, on=_EXCHANGE, maintain_order="left")
    dropped = {NO_FOLLOW_UP: turns.height - replies.height, TOO_LONG: replies.height - labels.height}
    return labels.with_columns(tier=pl.lit(None, pl.String)), Counter(dropped)
