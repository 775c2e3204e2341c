"""Conversations and their labels, and the pools that are chosen from them."""

from pathlib import Path

import polars as pl

import pools
from drift import tables
from drift.config import CorrectionAllusions, Decontamination, Filters, LabelNoise
from drift.settings.data import PoolsSettings

SETTINGS = {
    "labeler": "words",
    "label_noise": LabelNoise().model_dump(),
    "allusions": CorrectionAllusions().model_dump(),
    "seed": 42,
    "pick": "hash",
    "test_conversations": 0,
    "test_correction_conversations": 0,
    "max_dsat": None,
    "max_sat": None,
    "max_corrections": None,
}


def pools_settings(**changed) -> PoolsSettings:
    """The settings of pools.py, with keys of the settings or of the filters changed."""
    filters = Filters().model_dump()
    filters |= {key: changed.pop(key) for key in filters.keys() & changed.keys()}
    return PoolsSettings.of(SETTINGS | changed, filters=filters, decontamination=Decontamination().model_dump())


class Corpus:
    """Conversations of (reply, the user's next message, label), written as Turns and Labels."""

    def __init__(self, folder):
        self.folder, self.turns, self.labels, self.benchmarks = folder, [], [], {}

    def add(
        self,
        name: str,
        opening: str,
        *replies: tuple[str, str, str],
        system: str | None = None,
        language: str = "English",
        source: str = "s",
        **columns,
    ):
        """A conversation of a source; `columns` are of Turns."""
        user = opening
        for turn, (response, feedback, label) in enumerate(replies):
            key = {"conversation_id": f"{source}:{name}", "turn": turn}
            said = {"user": user, "response": response, "feedback": feedback, "system": system if turn == 0 else None}
            self.turns.append(key | said | {"source": source, "language": language, "unseen": False, "flags": []} | columns)
            self.labels.append(key | {"labeler": "words", "label": label, "evidence": ["strict/no"], "score": 0.8})
            user = feedback
        self.turns.append(
            {
                "conversation_id": f"{source}:{name}",
                "turn": len(replies),
                "source": source,
                "user": user,
                "unseen": False,
                "flags": [],
            }
        )

    def write(self):
        """Write both tables."""
        turns_table = pl.DataFrame(self.turns, schema=tables.Turns.create_empty().schema)
        labels_table = pl.DataFrame(self.labels, schema=tables.Labels.create_empty().schema)
        tables.write_table(turns_table, tables.Turns, self.folder / "turns.parquet")
        tables.write_table(labels_table, tables.Labels, self.folder / "labels.parquet")

    def choose(self, first: list[Path] | None = None, **changed):
        """The pools and their ledger, after a change of settings or filters; keeps the quarantine.
        `first`: of later data the pools of the start."""
        self.write()
        paths = [self.folder / f"{name}.parquet" for name in ("turns", "labels")]
        written = {pool: self.folder / f"{pool}.parquet" for pool in pools.SCHEMAS}
        self.quarantine, ledger = pools.choose(*paths, self.benchmarks, pools_settings(**changed), written, first)
        written = {pool: tables.read_table(schema, written[pool]) for pool, schema in pools.SCHEMAS.items()}
        return written, tables.Ledger.validate(ledger.sort("lineage", "step"), cast=True)


def add_many(corpus: Corpus, conversations: int = 30) -> Corpus:
    """Conversations with a complaint, a correction and thanks; every third opens as the one
    before."""
    for number in range(conversations):
        opening = f"Question {number - number % 3 // 2}?"
        corpus.add(
            f"c{number}",
            opening,
            (f"r{number}", "no", "DSAT"),
            (f"s{number}", "thanks", "SAT"),
            (f"t{number}", "go", "NEUTRAL"),
        )
    return corpus


def drops(ledger: pl.DataFrame, pool: str) -> dict[str, int]:
    """What a pool dropped, by reason."""
    return {reason: n for lineage, reason, n in ledger.select("lineage", "reason", "dropped").rows() if lineage == pool and n}


def ids(rows: pl.DataFrame, split: str | None = None) -> set[str]:
    """The prompt_ids of rows, or of one side of them."""
    return set(rows.filter(pl.col("split") == split if split else True)["prompt_id"])
