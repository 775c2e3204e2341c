"""Training on pairs: DPO, and what else TRL's trainer of it and drift.losses have. See
drift.training."""

from pathlib import Path

import polars as pl
from datasets import Dataset

from drift.cli import StageError
from drift.settings.training import TrainingRun, TrainSettings
from drift.tables import Pairs, read_table
from drift.training import logps, trainer
from drift.training.gates import Gates
from drift.training.logps import PairLogps, PairTokens
from drift.training.pacing import paced
from drift.training.pair_gates import PairGates, prompt_of
from drift.training.trainer import Arguments, Trainer

__all__ = ["Trainer"]

REWARDS = ("rewards/margins",)


def read_rows(own: Path, replayed: list[Path]) -> pl.DataFrame:
    """The pairs of this iteration and those of earlier ones, nearest first, whose ids get ~1, ~2,
    ... to stay unique."""
    tables = []
    for back, path in enumerate([own, *replayed]):
        pairs = read_table(Pairs, path)
        if pairs.is_empty():
            raise StageError(f"{path} has no pairs; the ledger says where they went")
        tables.append(pairs.with_columns(pair_id=pl.col("pair_id") + (f"~{back}" if back else "")))
    return pl.concat(tables)


def token_rows(rows: pl.DataFrame, settings: TrainSettings) -> list[PairTokens]:
    """The token ids that the pairs carry."""
    return logps.token_rows(rows)


def selected(
    gates: Gates, rows: pl.DataFrame, tokens: list[PairTokens], reference: PairLogps, settings: TrainSettings
) -> tuple[pl.DataFrame, list[PairTokens]]:
    """Those that training.pacing takes."""
    tokens = paced(gates, tokens, reference, settings.pace)
    return rows.filter(pl.col("pair_id").is_in([row["pair_id"] for row in tokens])), tokens


def arguments(settings: TrainSettings, run: TrainingRun, state: Path, rows: pl.DataFrame) -> Arguments:
    """The trainer's arguments, whatever the rows are."""
    return trainer.trainer_config(settings, run, state)


def as_dataset(rows: pl.DataFrame, settings: TrainSettings) -> Dataset:
    """The pairs as the trainer takes them; it orders them itself."""
    return trainer.as_dataset(rows)


def gates(recorded: Gates, dataset: Dataset) -> PairGates:
    """The gates on the trainer's data set."""
    return PairGates(recorded, dataset)


def own_logps(reference: PairLogps) -> PairLogps:
    """Those of the iteration's own pairs."""
    return {pair_id: sides for pair_id, sides in reference.items() if prompt_of(pair_id) == pair_id}
