"""Every table of the pipeline: its columns, what they mean, and how it is written.

A table is declared once, here. Writing checks it against its schema and sorts it by its key, so
that the same rows always give the same bytes; the descriptions become the column comments of the
catalog.
"""

from drift.tables.columns import LABELS, POOLS, ROLES, SPLITS
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
    Wordless,
)
from drift.tables.evaluation import Behaviour, Checks, Comparisons, Judgments, Logps, Published, Responses, Scores, Validation
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
    Unpaired,
)

__all__ = [
    "LABELS",
    "POOLS",
    "ROLES",
    "ROW_GROUP",
    "SPLITS",
    "Agreement",
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
    "Gradients",
    "Improvement",
    "Judgments",
    "Labels",
    "Ledger",
    "Likelihoods",
    "Logps",
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
    "Unpaired",
    "Validation",
    "Wordless",
    "read_table",
    "write_batches",
    "write_table",
]
