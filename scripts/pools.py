"""Choose what to learn from: replies that disappointed, with and without a word, replies that
satisfied, and corrections.

Reads:  the Turns table (--turns), the Labels table (--labels), and the Tasks tables of the
        benchmarks that no training row may hold (--benchmark NAME=PATH); for data that come after
        the start its pools (--first), whose test side stays out. The choice itself is in sql/: one
        file a pool, and what they share.
Writes: the Dsat, Sat, Corrections and Wordless tables (--dsat, ...), the replies that hold a
        benchmark's prompt (--quarantine), and the ledger (--ledger).
"""

import _python  # noqa: F401 - before what may be missing
import sys
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
from drift.data.allusions import alludes, without_allusion
from drift.data.contamination import BenchmarkTexts
from drift.data.pool_checks import check_false_rows, check_training_corrections, check_training_rows
from drift.data.prefetch import mapped
from drift.data.similarity import clusters, signatures
from drift.labelers import source
from drift.ledger import LedgerBook
from drift.settings.base import Settings
from drift.settings.data import AllusionsSettings, ContaminationSettings, LabelNoiseSettings, PoolsSettings

SQL = Path(__file__).parent / "sql"
SCHEMAS = {"dsat": tables.Dsat, "sat": tables.Sat, "corrections": tables.Corrections, "wordless": tables.Wordless}
# What the reply in question, and the one after it, are to a pool.
REPLIES = {
    "dsat": {"response": "rejected"},
    "sat": {"response": "chosen"},
    "corrections": {"response": "rejected", "next_response": "chosen"},
    "wordless": {"response": "rejected"},
}
# The types of settings in SQL.
SQL_TYPES = {bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", str: "VARCHAR", list[str]: "VARCHAR[]"}
# DuckDB's share of the job's memory; what does not fit goes to disk.
MEMORY = "1GB"
TEXTS_AT_A_TIME = 2048
# Why later data leave rows out: the reason of sql/split.sql.
HELD_OUT = "held out with the data of the start"
# Rows of a pool that sql/rows.sql puts together at once.
ROWS_AT_A_TIME = 10_000


def choose(
    turns: Path,
    labels: Path,
    benchmarks: dict[str, Path],
    settings: PoolsSettings,
    paths: dict[str, Path],
    first: list[Path] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write every pool to its place in `paths`; returns the quarantine and the ledger.

    `turns`, `labels`: paths of these tables. `benchmarks`: paths of Tasks tables by name. `first`:
    the pools of the start, where these are of later data, which have no test side. Raises
    StageError where no reply is left to train on, where label noise asks for more false rows than
    there are, or where the test side takes more corrections than it leaves.
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
        _set_variables(connection, settings.label_noise, "noise_")
        _set_variable(connection, "neutral_counts", settings.label_noise.drawn_from == "neutral" and _any(settings.label_noise))
        connection.register("arrivals", _arrivals(settings.arrivals))
        for name in ("filters", "replies", *SCHEMAS, "candidates"):
            connection.execute(_sql(name))
        quarantine = _quarantine(connection, benchmarks, settings.decontamination)
        connection.register("quarantine", quarantine)
        near_duplicates, groups = _compared(connection, settings)
        connection.register("near_duplicates", near_duplicates)
        connection.register("groups", groups)
        connection.register("allusions", _allusions(connection, settings.allusions))
        connection.execute(_sql("caps"))
        _hold_out(connection, first or [], settings)
        connection.register("test_groups", _test_groups(connection, settings, first or []))
        connection.execute(_sql("split"))
        check_false_rows(connection, settings.label_noise)
        books = {pool: _ledger(connection, pool, first or []) for pool in SCHEMAS}
        ledger = pl.concat(book.table() for book in books.values())
        check_training_rows(connection, ledger, settings)
        check_training_corrections(connection, settings)
        for pool, schema in SCHEMAS.items():
            written = tables.write_batches(_rows(connection, pool, settings.allusions), schema, paths[pool])
            if books[pool].rows != written:
                raise AssertionError(f"pool {pool}: {written} rows were taken, but the ledger leaves {books[pool].rows}")
    return quarantine, ledger


def _sql(name: str) -> str:
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")


def _set_variables(connection: duckdb.DuckDBPyConnection, settings: Settings, prefix: str = "") -> None:
    """Make every setting a variable of its name after `prefix`; None is NULL of the setting's type.
    Sections of settings are left out."""
    for name, field in type(settings).model_fields.items():
        kinds = get_args(field.annotation) if isinstance(field.annotation, UnionType) else (field.annotation,)
        if kinds[0] in SQL_TYPES:
            _set_variable(connection, prefix + name, getattr(settings, name), kinds[0])


def _any(noise: LabelNoiseSettings) -> bool:
    return any(share > 0 for share in (noise.dsat, noise.sat, noise.corrections))


def _set_variable(connection: duckdb.DuckDBPyConnection, name: str, value: Any, kind: type | None = None) -> None:
    connection.execute(f"SET VARIABLE {name} = $value::{SQL_TYPES[kind or type(value)]}", {"value": value})


def _batches(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pl.DataFrame]:
    """The rows of a query, some at a time: texts are never all in memory at once."""
    for batch in connection.sql(sql).to_arrow_reader(TEXTS_AT_A_TIME):
        yield pl.from_arrow(batch)


def _quarantine(
    connection: duckdb.DuckDBPyConnection, benchmarks: dict[str, Path], settings: ContaminationSettings
) -> pl.DataFrame:
    """The candidates that answer a benchmark's prompt, with the evidence."""
    tasks = [(name, tables.read_table(tables.Tasks, path)) for name, path in sorted(benchmarks.items())]
    known = BenchmarkTexts(tasks, settings.ngram, settings.coverage)
    # A prompt holds what was said up to its turn; a correction's chosen reply answers the next
    # message as well.
    connection.execute(
        """
        CREATE TEMP VIEW answered AS
        SELECT pool, prompt_id, conversation_id, turn + (pool = 'corrections')::INT AS last_message
        FROM candidates
        WHERE reason IS NULL
        """
    )
    messages = """
        SELECT conversation_id, turn, "user" AS text
        FROM candidate_turns
        JOIN (SELECT conversation_id, max(last_message) AS last FROM answered GROUP BY ALL) USING (conversation_id)
        WHERE turn <= last
    """
    parts = list(mapped(partial(_hits, known), _batches(connection, messages))) if tasks else []
    columns = {"conversation_id": pl.String, "turn": pl.Int32} | dict.fromkeys(
        ("benchmark", "task", "how", "evidence"), pl.String
    )
    hits = pl.concat([pl.DataFrame(schema=columns), *(part.select(list(columns)).cast(columns) for part in parts)])
    held = (
        connection.sql("FROM answered").pl().join(hits, on="conversation_id").filter(pl.col("turn") <= pl.col("last_message"))
    )
    first = held.sort("pool", "prompt_id", "turn", "how", "benchmark", "task")
    return first.unique(["pool", "prompt_id"], keep="first", maintain_order=True).drop(
        "conversation_id", "turn", "last_message"
    )


def _hits(known: BenchmarkTexts, batch: pl.DataFrame) -> pl.DataFrame:
    """`found_in` of the batch's texts, by conversation_id and turn."""
    keys = batch.with_row_index("row").select(pl.col("row").cast(pl.Int64), "conversation_id", "turn")
    return known.found_in(batch["text"]).join(keys, on="row").drop("row")


def _compared(connection: duckdb.DuckDBPyConnection, settings: PoolsSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables near_duplicates and groups. Whatever false rows there may be, true rows are
    compared with true rows alone: noise must move none of them."""
    threshold = settings.filters.near_duplicates
    duplicates = _near_duplicates(connection, "true_candidates", threshold)
    groups = _groups(connection, "true_candidates", threshold)
    if not _any(settings.label_noise):
        return duplicates.drop("flipped"), groups.with_columns(wider_key="group_key")
    of_false_rows = _near_duplicates(connection, "candidates", threshold).filter("flipped")
    wider = _groups(connection, "candidates", threshold).rename({"group_key": "wider_key"})
    groups = wider.join(groups, on="conversation_id", how="left", validate="1:1")
    return pl.concat([duplicates, of_false_rows]).drop("flipped"), groups


def _near_duplicates(connection: duckdb.DuckDBPyConnection, candidates: str, threshold: float | None) -> pl.DataFrame:
    """pool, flipped and prompt_id of `candidates` (a table) that are nearly the same text as one
    that stays."""
    exchanges = f"""
        SELECT pool, flipped, from_iteration, prompt_id, "user" || chr(10) || response AS text
        FROM (
            SELECT pool, flipped, from_iteration, prompt_id, conversation_id, turn
            FROM {candidates}
            WHERE reason IS NULL AND (pool, prompt_id) NOT IN (SELECT (pool, prompt_id) FROM quarantine)
        )
        JOIN candidate_turns USING (conversation_id, turn)
    """
    rows = _clustered(connection, exchanges, threshold)
    return rows.filter(pl.col("cluster") != pl.col("prompt_id")).select("pool", "flipped", "prompt_id")


def _groups(connection: duckdb.DuckDBPyConnection, candidates: str, threshold: float | None) -> pl.DataFrame:
    """conversation_id and group_key of what a split keeps on one side: conversations of one user,
    and those that open alike. `candidates`: the table that has the conversations."""
    conversations = connection.sql(
        f"""
        SELECT
            conversation_id,
            any_value(opening_key) AS opening,
            coalesce(any_value(user_id), 'conversation ' || conversation_id) AS user
        FROM {candidates}
        GROUP BY conversation_id
        """
    ).pl()
    openings = f"""
        SELECT 'openings' AS pool, FALSE AS flipped, 1 AS from_iteration, conversation_id AS prompt_id, "user" AS text
        FROM candidate_turns
        WHERE turn = 0 AND conversation_id IN (SELECT conversation_id FROM {candidates})
    """
    alike = _clustered(connection, openings, threshold).select("cluster", conversation_id="prompt_id")
    conversations = conversations.sort("conversation_id").join(alike, on="conversation_id", how="left", maintain_order="left")
    return _linked(conversations.with_columns(pl.col("cluster").fill_null(pl.col("conversation_id"))))


def _clustered(connection: duckdb.DuckDBPyConnection, sql: str, threshold: float | None) -> pl.DataFrame:
    """pool, flipped, prompt_id and cluster of the query's rows (pool, flipped, from_iteration,
    prompt_id, text).

    The cluster is the first prompt_id of those in the pool whose texts are nearly the same, a true
    row's where there is one, and of these one that came earliest. No rows where there is no
    threshold.
    """
    signed = list(mapped(_signed, _batches(connection, sql))) if threshold else []
    keys = {"pool": pl.String, "flipped": pl.Boolean, "from_iteration": pl.Int32, "prompt_id": pl.String}
    names = pl.concat([pl.DataFrame(schema=keys), *(name for name, _ in signed)])
    matrix = np.concatenate([signatures(pl.Series(dtype=pl.String)), *(rows for _, rows in signed)])
    del signed  # Signatures are the largest thing that is held of the candidates: not twice.
    parts = [names.clear().with_columns(cluster="prompt_id")]
    for pool in names.with_row_index("row").sort(*keys).partition_by("pool", maintain_order=True):
        first = clusters(matrix[pool["row"].to_numpy()], threshold)
        parts.append(pool.select(*keys, cluster=pl.col("prompt_id").gather(first)))
    return pl.concat(parts)


def _signed(batch: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    return batch.drop("text"), signatures(batch["text"])


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


def _allusions(connection: duckdb.DuckDBPyConnection, settings: AllusionsSettings) -> pl.DataFrame:
    """prompt_id, train and test of the corrections that open with words on the feedback: whether
    such a one is unfit for that side."""
    replies = """
        SELECT prompt_id, replied.response AS rejected, followed.response AS chosen
        FROM candidates
        JOIN candidate_turns AS replied USING (conversation_id, turn)
        JOIN candidate_turns AS followed
            ON followed.conversation_id = candidates.conversation_id AND followed.turn = candidates.turn + 1
        WHERE pool = 'corrections' AND reason IS NULL AND replied.feedback IS NOT NULL
    """
    modes, found = settings.model_dump(), []
    for batch in _batches(connection, replies):
        for prompt_id, rejected, chosen in batch.iter_rows():
            if alludes(chosen):
                left = without_allusion(chosen)
                unfit = {"keep": False, "drop": True, "strip": left is None or left == rejected.strip()}
                found.append((prompt_id, *(unfit[mode] for mode in modes.values())))
    return pl.DataFrame(found, schema={"prompt_id": pl.String} | dict.fromkeys(modes, pl.Boolean), orient="row")


def _arrivals(arrivals: dict[str, int]) -> pl.DataFrame:
    """source and from_iteration of the sources that came after the start."""
    return pl.DataFrame(list(arrivals.items()), schema={"source": pl.String, "from_iteration": pl.Int32}, orient="row")


def _hold_out(connection: duckdb.DuckDBPyConnection, first: list[Path], settings: PoolsSettings) -> None:
    """Make the tables held_out and held_out_messages: what the pools of the start keep out."""
    if not first:
        connection.execute("CREATE TEMP TABLE held_out (conversation_id VARCHAR)")
        connection.execute("CREATE TEMP TABLE held_out_messages AS SELECT message_key FROM few LIMIT 0")
        return
    _set_variable(connection, "first", [str(path) for path in first], list[str])
    threshold = settings.filters.near_duplicates
    connection.register("start_groups", _groups(connection, "start_candidates", threshold))
    connection.execute(_sql("tested"))
    openings = """
        SELECT 'openings' AS pool, FALSE AS flipped, 1 AS from_iteration, conversation_id AS prompt_id, "user" AS text
        FROM turns
        WHERE turn = 0 AND (conversation_id IN (FROM tested) OR conversation_id IN (SELECT conversation_id FROM candidates))
    """
    connection.register("alike", _clustered(connection, openings, threshold).select("cluster", conversation_id="prompt_id"))
    connection.execute(_sql("held_out"))


def _test_groups(connection: duckdb.DuckDBPyConnection, settings: PoolsSettings, first: list[Path]) -> pl.DataFrame:
    """pool and group_key of the groups that are picked for the test side: in their order, each that
    does not bring in more conversations than are left to find. None of later data."""
    if first:
        return pl.DataFrame(schema={"pool": pl.String, "group_key": pl.String})
    left = {"dsat": settings.test_conversations, "corrections": settings.test_correction_conversations}
    picked = []
    choices = "SELECT pool, group_key, conversations FROM test_choices ORDER BY pool, place, group_key"
    for pool, group, conversations in connection.sql(choices).fetchall():
        if conversations <= left[pool]:
            left[pool] -= conversations
            picked.append((pool, group))
    return pl.DataFrame(picked, schema={"pool": pl.String, "group_key": pl.String}, orient="row")


def _rows(connection: duckdb.DuckDBPyConnection, pool: str, allusions: AllusionsSettings) -> Iterator[pl.DataFrame]:
    """The rows that a pool takes, with their texts, in the order of prompt_id, some at a time."""
    first = 0
    while True:
        for name, value in {"pool": pool, "first_row": first, "rows_at_a_time": ROWS_AT_A_TIME}.items():
            _set_variable(connection, name, value)
        rows = connection.sql(_sql("rows")).pl()
        named = rows.rename(REPLIES[pool])
        yield _stripped(named, allusions) if pool == "corrections" else named
        first += rows.height
        if rows.height < ROWS_AT_A_TIME:
            return


def _stripped(rows: pl.DataFrame, settings: AllusionsSettings) -> pl.DataFrame:
    """Corrections with `alludes`, and without words on the feedback on the sides that are stripped
    of them. Without feedback there are no words on it."""
    said = rows.select("split", "chosen", "feedback").rows()
    found = [feedback is not None and alludes(chosen) for _, chosen, feedback in said]
    left = [
        without_allusion(chosen) if alluding and getattr(settings, split) == "strip" else chosen
        for (split, chosen, _), alluding in zip(said, found, strict=True)
    ]
    return rows.with_columns(alludes=pl.Series(found, dtype=pl.Boolean), chosen=pl.Series(left, dtype=pl.String))


def _ledger(connection: duckdb.DuckDBPyConnection, pool: str, first: list[Path]) -> LedgerBook:
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
        if first or reason != HELD_OUT:  # a check of later data alone
            book.drop(reason, counts.get(reason, 0))
    return book


def main() -> None:
    command = cli.parser(__doc__, PoolsSettings)
    command.add_argument("--turns", required=True, type=Path, help="Turns table")
    command.add_argument("--labels", required=True, type=Path, help="Labels table")
    cli.add_benchmarks(command, "training row")
    command.add_argument("--first", nargs="*", default=[], type=Path, help="the pools of the start")
    for pool in SCHEMAS:
        command.add_argument(f"--{pool}", required=True, type=Path, help=f"where to write the {pool.capitalize()} table")
    command.add_argument("--quarantine", required=True, type=Path, help="where to write the Quarantine table")
    command.add_argument("--ledger", required=True, type=Path, help="where to write the Ledger table")
    arguments = command.parse_args()
    if said := source.unheard(arguments.turns, arguments.labels, arguments.settings.labeler):
        print(f"warning: {said}", file=sys.stderr)
    paths = {pool: getattr(arguments, pool) for pool in SCHEMAS}
    quarantine, ledger = choose(
        arguments.turns, arguments.labels, dict(arguments.benchmark), arguments.settings, paths, arguments.first
    )
    tables.write_table(quarantine, tables.Quarantine, arguments.quarantine)
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
