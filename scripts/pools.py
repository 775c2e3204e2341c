"""Choose what to learn from: replies that disappointed, replies that satisfied, and corrections.

Reads:  the Turns table (--turns), the Labels table (--labels), and the Tasks tables of the
        benchmarks that no training row may hold (--benchmark NAME=PATH). The choice itself is in
        sql/: one file a pool, and what they share.
Writes: the Dsat, Sat and Corrections tables (--dsat, --sat, --corrections), the replies that hold a
        benchmark's prompt (--quarantine), and the ledger (--ledger).
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import duckdb
import numpy as np
import polars as pl

from drift import cli, tables
from drift.data.contamination import BenchmarkTexts
from drift.data.prefetch import mapped
from drift.data.similarity import clusters, signatures
from drift.ledger import LedgerBook
from drift.settings.base import Settings
from drift.settings.data import ContaminationSettings, PoolsSettings

SQL = Path(__file__).parent / "sql"
SCHEMAS = {"dsat": tables.Dsat, "sat": tables.Sat, "corrections": tables.Corrections}
# What the reply in question, and the one after it, are to a pool.
REPLIES = {
    "dsat": {"response": "rejected"},
    "sat": {"response": "chosen"},
    "corrections": {"response": "rejected", "next_response": "chosen"},
}
# The types of settings in SQL.
SQL_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR", list[str]: "VARCHAR[]"}
# DuckDB's share of the job's memory; what does not fit goes to disk.
MEMORY = "1GB"
TEXTS_AT_A_TIME = 2048
# Rows of a pool that sql/rows.sql puts together at once.
ROWS_AT_A_TIME = 10_000


def choose(
    turns: Path, labels: Path, benchmarks: dict[str, Path], settings: PoolsSettings, paths: dict[str, Path]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write every pool to its place in `paths`; returns the quarantine and the ledger.

    `turns`, `labels`: paths of these tables. `benchmarks`: paths of Tasks tables by name. Raises
    StageError where no reply is left to train on.
    """
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute("SET temp_directory = $1", [folder])
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET threads = $1", [pl.thread_pool_size()])
        _set_variable(connection, "turns", str(turns))
        _set_variable(connection, "labels", str(labels))
        _set_variables(connection, settings)
        _set_variables(connection, settings.filters)
        for name in ("filters", "replies", "dsat", "sat", "corrections", "candidates"):
            connection.execute(_sql(name))
        quarantine = _quarantine(connection, benchmarks, settings.decontamination)
        connection.register("quarantine", quarantine)
        threshold = settings.filters.near_duplicates
        connection.register("near_duplicates", _near_duplicates(connection, threshold))
        connection.register("groups", _groups(connection, threshold))
        connection.execute(_sql("split"))
        books = {pool: _ledger(connection, pool) for pool in SCHEMAS}
        ledger = pl.concat(book.table() for book in books.values())
        _check_training_rows(connection, ledger, settings)
        _check_training_corrections(connection, settings)
        for pool, schema in SCHEMAS.items():
            written = tables.write_batches(_rows(connection, pool), schema, paths[pool])
            if books[pool].rows != written:
                raise AssertionError(f"pool {pool}: {written} rows were taken, but the ledger leaves {books[pool].rows}")
    return quarantine, ledger


def _sql(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def _set_variables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make every setting a variable of its name; None is NULL of the setting's type. Sections of
    settings are left out."""
    for name, field in type(settings).model_fields.items():
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        if kinds[0] in SQL_TYPES:
            _set_variable(connection, name, getattr(settings, name), kinds[0])


def _set_variable(connection: duckdb.DuckDBPyConnection, name: str, value: Any, kind: type | None = None) -> None:
    connection.execute(f"SET VARIABLE {name} = $value::{SQL_TYPES[kind or type(value)]}", {"value": value})


def _batches(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pl.DataFrame]:
    """The rows of a query, some at a time: texts are never all in memory at once."""
    for batch in connection.sql(sql).to_arrow_reader(TEXTS_AT_A_TIME):
        yield pl.from_arrow(batch)


def _quarantine(
    connection: duckdb.DuckDBPyConnection, benchmarks: dict[str, Path], settings: ContaminationSettings
) -> pl.DataFrame:
    """The candidates whose prompt holds a benchmark's, with the evidence."""
    tasks = [(name, tables.read_table(tables.Tasks, path)) for name, path in sorted(benchmarks.items())]
    known = BenchmarkTexts(tasks, settings.ngram, settings.similarity)
    messages = """
        SELECT conversation_id, turn, "user" AS text
        FROM candidate_turns
        JOIN (SELECT conversation_id, max(turn) AS last FROM candidates WHERE reason IS NULL GROUP BY ALL) USING (conversation_id)
        WHERE turn <= last
    """
    parts = list(mapped(partial(_hits, known), _batches(connection, messages))) if tasks else []
    conversations = connection.sql("SELECT DISTINCT conversation_id FROM candidates WHERE reason IS NULL").pl()
    parts.append(known.named_after(conversations).with_columns(turn=pl.lit(0, pl.Int32)))
    columns = {"conversation_id": pl.String, "turn": pl.Int32} | dict.fromkeys(
        ("benchmark", "task", "how", "evidence"), pl.String
    )
    hits = pl.concat([pl.DataFrame(schema=columns), *(part.select(list(columns)).cast(columns) for part in parts)])
    candidates = connection.sql("SELECT pool, prompt_id, conversation_id, turn FROM candidates WHERE reason IS NULL").pl()
    # A prompt holds what was said up to its turn.
    held = candidates.join(hits, on="conversation_id", suffix="_hit").filter(pl.col("turn_hit") <= pl.col("turn"))
    first = held.sort("pool", "prompt_id", "turn_hit", "how", "benchmark", "task")
    return first.unique(["pool", "prompt_id"], keep="first", maintain_order=True).drop("conversation_id", "turn", "turn_hit")


def _hits(known: BenchmarkTexts, batch: pl.DataFrame) -> pl.DataFrame:
    """`found_in` of the batch's texts, by conversation_id and turn."""
    keys = batch.with_row_index("row").select(pl.col("row").cast(pl.Int64), "conversation_id", "turn")
    return known.found_in(batch["text"]).join(keys, on="row").drop("row")


def _near_duplicates(connection: duckdb.DuckDBPyConnection, threshold: float | None) -> pl.DataFrame:
    """Pool and prompt_id of candidates that are nearly the same text as one that stays."""
    exchanges = """
        SELECT pool, prompt_id, "user" || chr(10) || response AS text
        FROM (
            SELECT pool, prompt_id, conversation_id, turn
            FROM candidates
            WHERE reason IS NULL AND (pool, prompt_id) NOT IN (SELECT (pool, prompt_id) FROM quarantine)
        )
        JOIN candidate_turns USING (conversation_id, turn)
    """
    rows = _clustered(connection, exchanges, threshold)
    return rows.filter(pl.col("cluster") != pl.col("prompt_id")).select("pool", "prompt_id")


def _groups(connection: duckdb.DuckDBPyConnection, threshold: float | None) -> pl.DataFrame:
    """conversation_id and group_key of what a split keeps on one side: conversations of one user,
    and those that open alike."""
    conversations = connection.sql(
        """
        SELECT
            conversation_id,
            any_value(opening_key) AS opening,
            coalesce(any_value(user_id), 'conversation ' || conversation_id) AS user
        FROM candidates
        GROUP BY conversation_id
        """
    ).pl()
    openings = """
        SELECT 'openings' AS pool, conversation_id AS prompt_id, "user" AS text
        FROM candidate_turns
        WHERE turn = 0
    """
    alike = _clustered(connection, openings, threshold).select("cluster", conversation_id="prompt_id")
    conversations = conversations.sort("conversation_id").join(alike, on="conversation_id", how="left", maintain_order="left")
    return _linked(conversations.with_columns(pl.col("cluster").fill_null(pl.col("conversation_id"))))


def _clustered(connection: duckdb.DuckDBPyConnection, sql: str, threshold: float | None) -> pl.DataFrame:
    """pool, prompt_id and cluster of the query's rows (pool, prompt_id, text): the first prompt_id
    of those in the pool whose texts are nearly the same. No rows where there is no threshold."""
    signed = list(mapped(_signed, _batches(connection, sql))) if threshold else []
    names = pl.concat([pl.DataFrame(schema={"pool": pl.String, "prompt_id": pl.String}), *(name for name, _ in signed)])
    matrix = np.concatenate([signatures(pl.Series(dtype=pl.String)), *(rows for _, rows in signed)])
    del signed  # Signatures are the largest thing that is held of the candidates: not twice.
    parts = [names.clear().select("pool", "prompt_id", cluster="prompt_id")]
    for pool in names.with_row_index("row").sort("pool", "prompt_id").partition_by("pool", maintain_order=True):
        first = clusters(matrix[pool["row"].to_numpy()], threshold)
        parts.append(pool.select("pool", "prompt_id", cluster=pl.col("prompt_id").gather(first)))
    return pl.concat(parts)


def _signed(batch: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    return batch.select("pool", "prompt_id"), signatures(batch["text"])


def _linked(conversations: pl.DataFrame) -> pl.DataFrame:
    """conversation_id and group_key: the same for conversations that share a user, an opening or a
    cluster of openings, and for those that share one with these."""
    # The least key of everything that shares a link, link after link, until nothing changes: the
    # connected components of the graph whose edges are the links.
    rows = conversations.with_columns(group_key=pl.col("conversation_id"))
    while True:
        before = rows["group_key"]
        for link in ("user", "opening", "cluster"):
            rows = rows.with_columns(pl.col("group_key").min().over(link))
        if rows["group_key"].equals(before):
            return rows.select("conversation_id", "group_key")


def _rows(connection: duckdb.DuckDBPyConnection, pool: str) -> Iterator[pl.DataFrame]:
    """The rows that a pool takes, with their texts, in the order of prompt_id, some at a time."""
    first = 0
    while True:
        for name, value in {"pool": pool, "first_row": first, "rows_at_a_time": ROWS_AT_A_TIME}.items():
            _set_variable(connection, name, value)
        rows = connection.sql(_sql("rows")).pl()
        yield rows.rename(REPLIES[pool])
        first += rows.height
        if rows.height < ROWS_AT_A_TIME:
            return


def _ledger(connection: duckdb.DuckDBPyConnection, pool: str) -> LedgerBook:
    """What became of every labelled reply in a pool; reasons are in the order of the checks."""
    counted = """
        SELECT reason, sum(rows)
        FROM (
            SELECT pool, reason, rows FROM dropped
            UNION ALL
            SELECT pool, reason, count(*) FROM split_candidates GROUP BY ALL
        )
        WHERE pool = $1
        GROUP BY ALL
    """
    counts = {reason: int(count) for reason, count in connection.execute(counted, [pool]).fetchall()}
    reasons = f"SELECT unnest(enum_range(NULL::{pool}_reason)::VARCHAR[] || enum_range(NULL::shared_reason)::VARCHAR[])"
    book = LedgerBook(pool, "pools", "replies", sum(counts.values()))
    for (reason,) in connection.execute(reasons).fetchall():
        book.drop(reason, counts.get(reason, 0))
    return book


def _check_training_rows(connection: duckdb.DuckDBPyConnection, ledger: pl.DataFrame, settings: PoolsSettings) -> None:
    """Raises StageError where no DSAT reply is left to train on."""
    taken = "SELECT split, count(*) FROM split_candidates WHERE reason IS NULL AND pool = 'dsat' GROUP BY split"
    rows = dict(connection.sql(taken).fetchall())
    if "train" in rows:
        return
    if rows:
        raise cli.StageError(
            f"all {rows['test']} DSAT replies went to the test side: there are fewer conversations with one than "
            f"test_conversations ({settings.test_conversations}) asks for. Lower it, or add conversations."
        )
    drops = ledger.filter((pl.col("lineage") == "dsat") & (pl.col("dropped") > 0)).select("reason", "dropped").rows()
    dropped = ", ".join(f"{reason}: {count}" for reason, count in drops) or "nothing was labelled"
    raise cli.StageError(f"no DSAT reply of labeler {settings.labeler} is left ({dropped}). Relax the settings that drop most.")


def _check_training_corrections(connection: duckdb.DuckDBPyConnection, settings: PoolsSettings) -> None:
    """Raises StageError where the test side, which is filled first, leaves fewer corrections to
    train on than it takes, max_corrections aside: a warm-up on a handful of pairs is none."""
    taken = """
        SELECT split, count(*)
        FROM split_candidates
        WHERE pool = 'corrections' AND (reason IS NULL OR reason = 'training row over the maximum')
        GROUP BY split
    """
    rows = dict(connection.sql(taken).fetchall())
    left, tested = rows.get("train", 0), rows.get("test", 0)
    if left < tested:
        raise cli.StageError(
            f"{left} corrections are left to train on, and {tested} are kept for testing: test_correction_conversations is "
            f"{settings.test_correction_conversations}, and those of the test_conversations come on top. The warm-up is trained "
            "on the former: lower test_correction_conversations, to a third of all conversations with a correction or less, "
            "or add conversations."
        )


def main() -> None:
    command = cli.parser(__doc__, PoolsSettings)
    command.add_argument("--turns", required=True, type=Path, help="Turns table")
    command.add_argument("--labels", required=True, type=Path, help="Labels table")
    command.add_argument(
        "--benchmark", nargs="*", default=[], metavar="NAME=PATH", type=cli.named_path, help="Tasks tables to keep out"
    )
    for pool in SCHEMAS:
        command.add_argument(f"--{pool}", required=True, type=Path, help=f"where to write the {pool.capitalize()} table")
    command.add_argument("--quarantine", required=True, type=Path, help="where to write the Quarantine table")
    command.add_argument("--ledger", required=True, type=Path, help="where to write the Ledger table")
    arguments = command.parse_args()
    paths = {pool: getattr(arguments, pool) for pool in SCHEMAS}
    quarantine, ledger = choose(arguments.turns, arguments.labels, dict(arguments.benchmark), arguments.settings, paths)
    tables.write_table(quarantine, tables.Quarantine, arguments.quarantine)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
