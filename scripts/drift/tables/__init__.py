"""Every table of the pipeline: its columns, what they mean, and how it is written.

A table is declared once, here. Writing checks it against its schema and sorts it by its key, so
that the same rows always give the same bytes; the descriptions become the column comments of the
catalog.
"""

from drift.tables.columns import LABELS, ROLES, SPLITS
from drift.tables.data import (
    Agreement,
    ClassProbabilities,
    Contamination,
    Corrections,
    Dsat,
    Labels,
    Ledger,
    Quarantine,
    Sat,
    Tasks,
    Turns,
)
from drift.tables.evaluation import Behaviour, Checks, Comparisons, Judgments, Logps, Published, Responses, Scores, Validation
from drift.tables.exploration import AnswerRewards, Embeddings, Exploration, Landscape, Maps
from drift.tables.io import ROW_GROUP, TableError, read_table, write_batches, write_table
from drift.tables.training import (
    Completions,
    Diagnostics,
    Dropped,
    Gradients,
    Improvement,
    Likelihoods,
    Margins,
    PairQuality,
    Pairs,
    Prompts,
    RankAgreement,
    Ranks,
    Requests,
    TrainLog,
)

__all__ = [
    "LABELS",
    "ROLES",
    "ROW_GROUP",
    "SPLITS",
    "Agreement",
    "AnswerRewards",
    "Behaviour",
    "Checks",
    "ClassProbabilities",
    "Comparisons",
    "Completions",
    "Contamination",
    "Corrections",
    "Diagnostics",
    "Dropped",
    "Dsat",
    "Embeddings",
    "Exploration",
    "Gradients",
    "Improvement",
    "Judgments",
    "Labels",
    "Landscape",
    "Ledger",
    "Likelihoods",
    "Logps",
    "Maps",
    "Margins",
    "PairQuality",
    "Pairs",
    "Prompts",
    "Published",
    "Quarantine",
    "RankAgreement",
    "Ranks",
    "Requests",
    "Responses",
    "Sat",
    "Scores",
    "TableError",
    "Tasks",
    "TrainLog",
    "Turns",
    "Validation",
    "read_table",
    "write_batches",
    "write_table",
]
