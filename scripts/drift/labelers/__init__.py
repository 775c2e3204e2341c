"""Who was satisfied with which reply: one module a kind of labeler.

A labeler is a module with

    DROPS                  why it gives an exchange no label, in the order of the ledger
    label(turns, answers)  the labels that it gives a frame of Turns, and how many of the exchanges
                           it gives none, by reason (of DROPS)

The labels are a frame with the columns of Labels but `labeler`: conversation_id, turn, label, tier,
evidence and score. A frame is some exchanges of the table, not all of them, so a labeler judges
each exchange by itself. What it may read of an exchange are COLUMNS.

`answers` is None, but for a labeler that asks a model: it has what the model answered about each
reply (conversation_id, turn, text, finish_reason; see rubric.py). The names of those labelers are
in plugins.ASKING, and rows of the configuration give them a path or an endpoint. And of a labeler
whose model is a classifier (plugins.CLASSIFYING; see classifier.py) it is what the module's own

    answers(probabilities, classes)     makes of the ClassProbabilities and of the label that the
                                        configuration has for each class

A new labeler is such a module and a line in plugins.py; source.py is a short one to start from.
"""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # rules, which run without polars, import this package
    import polars as pl

Frame = TypeVar("Frame", "pl.DataFrame", "pl.LazyFrame")

# What a labeler may read of an exchange.
COLUMNS = ["conversation_id", "turn", "user", "response", "feedback", "source_label", "source_evidence"]

# Why an exchange cannot be judged by its follow-up.
NO_FOLLOW_UP = "no reply, or no user message after it"


def answered(turns: Frame) -> Frame:
    """The rows of `turns` with a reply that the user answered."""
    return turns.drop_nulls(["response", "feedback"])
