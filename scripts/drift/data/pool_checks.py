"""Whether enough rows are left in the pools: errors that name what to change."""

import duckdb
import polars as pl

from drift import cli
from drift.settings.data import LabelNoiseSettings, PoolsSettings


def check_false_rows(connection: duckdb.DuckDBPyConnection, noise: LabelNoiseSettings) -> None:
    """Raise StageError where there are fewer false rows than label noise asks for."""
    counts = """
        SELECT pool, any_value(false_rows), count(*) FILTER (flipped AND reason IS NULL)
        FROM split_candidates
        GROUP BY pool
    """
    for pool, asked, found in sorted(connection.sql(counts).fetchall()):
        if found < asked:
            label = {"neutral": "NEUTRAL", "opposite": "DSAT" if pool == "sat" else "SAT"}[noise.drawn_from]
            raise cli.StageError(
                f"data.label_noise.{pool} is {getattr(noise, pool):g}, which asks for {asked:.0f} false rows, but only {found} "
                f"replies labelled {label} pass the filters on the training side. Lower it, lower data.max_{pool}, or set "
                f"drawn_from to {'opposite' if noise.drawn_from == 'neutral' else 'neutral'}."
            )


def check_training_rows(connection: duckdb.DuckDBPyConnection, ledger: pl.DataFrame, settings: PoolsSettings) -> None:
    """Raise StageError where no DSAT reply is left to train on. One that nobody said a word of
    counts where there is no other, as in a run on published pairs.
    """
    taken = "SELECT pool, split, count(*) FROM split_candidates WHERE reason IS NULL AND pool <> 'sat' GROUP BY pool, split"
    rows = {(pool, split): count for pool, split, count in connection.sql(taken).fetchall()}
    if ("dsat", "train") in rows:
        return
    if tested := rows.get(("dsat", "test")):
        raise cli.StageError(
            f"all {tested} DSAT replies went to the test side: there are fewer conversations with one than "
            f"test_conversations ({settings.test_conversations}) asks for. Lower it, or add conversations."
        )
    if any(split == "train" for _, split in rows):
        return
    drops = ledger.filter((pl.col("lineage") == "dsat") & (pl.col("dropped") > 0)).select("reason", "dropped").rows()
    dropped = ", ".join(f"{reason}: {count}" for reason, count in drops) or "nothing was labelled"
    raise cli.StageError(f"no DSAT reply of labeler {settings.labeler} is left ({dropped}). Relax the settings that drop most.")


def check_training_corrections(connection: duckdb.DuckDBPyConnection, settings: PoolsSettings) -> None:
    """Raise StageError where the test side, which is filled first, leaves fewer corrections to
    train on than it takes, max_corrections aside: a warm-up on a handful of pairs is none."""
    found = "FROM split_candidates WHERE pool = 'corrections' AND (reason IS NULL OR reason = 'training row over the maximum')"
    rows = dict(connection.sql(f"SELECT split, count(*) {found} GROUP BY split").fetchall())
    left, tested = rows.get("train", 0), rows.get("test", 0)
    if left < tested:
        raise cli.StageError(
            f"{left} corrections are left to train on, and {tested} are kept for testing: test_correction_conversations is "
            f"{settings.test_correction_conversations}, and those of the test_conversations come on top. The warm-up is trained "
            "on the former: lower test_correction_conversations, to a third of what there is or less, or add conversations."
        )
