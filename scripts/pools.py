"""Choose the conversations to learn from: replies that disappointed, replies that satisfied, and corrections from one to the other.

Reads:  the Turns table (--turns) and the Labels table (--labels). The choice itself is in sql/: one file a pool, and what they
        share.
Writes: the Dsat, Sat and Seed tables (--dsat, --sat, --seed) and the ledger (--ledger).

Settings: labeler (whose labels), seed (of the choice), languages (list, or null: all), min_chars (of the prompt's last message
and of the reply), max_chars (of prompt and reply together), max_per_conversation (rows a pool takes of one), test_conversations
and test_seed_conversations (how many with a DSAT reply, and with a correction, go to the test side with all their copies),
max_dsat, max_sat, max_seed (training rows; null: all).
"""

from pathlib import Path

import duckdb
import polars as pl

from drift import cli, tables

SQL = Path(__file__).parent / "sql"
SCHEMAS = {"dsat": tables.Dsat, "sat": tables.Sat, "seed": tables.Seed}
# What the reply in question, and the one after it, are to a pool.
REPLIES = {
    "dsat": {"response": "rejected"},
    "sat": {"response": "chosen"},
    "seed": {"response": "rejected", "next_response": "chosen"},
}
SETTINGS = {
    "labeler": "VARCHAR",
    "seed": "BIGINT",
    "languages": "VARCHAR[]",
    "min_chars": "BIGINT",
    "max_chars": "BIGINT",
    "max_per_conversation": "BIGINT",
    "test_conversations": "BIGINT",
    "test_seed_conversations": "BIGINT",
    "max_dsat": "BIGINT",
    "max_sat": "BIGINT",
    "max_seed": "BIGINT",
}


def choose(turns: str, labels: str, settings: dict, threads: int | None = None) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """The rows of every pool by name, and their ledger, from the tables at the paths `turns` and `labels`.

    Raises StageError where no reply is left to train on.
    """
    with duckdb.connect() as connection:
        if threads:
            connection.execute(f"SET threads = {threads}")
        _set_variables(connection, {"turns": turns, "labels": labels}, dict.fromkeys(("turns", "labels"), "VARCHAR"))
        _set_variables(connection, settings, SETTINGS)
        for name in ("replies", "dsat", "sat", "seed", "split"):
            connection.execute((SQL / f"{name}.sql").read_text(encoding="utf-8"))
        rows = connection.sql((SQL / "rows.sql").read_text(encoding="utf-8")).pl()
        pools = {pool: rows.filter(pl.col("pool") == pool).rename(names) for pool, names in REPLIES.items()}
        ledger = pl.concat([_ledger(connection, pool, rows.height) for pool, rows in pools.items()])
    _check_training_rows(pools["dsat"], ledger, settings)
    return pools, ledger


def _set_variables(connection: duckdb.DuckDBPyConnection, values: dict, types: dict[str, str]) -> None:
    for name, kind in types.items():
        connection.execute(f"SET VARIABLE {name} = $value::{kind}", {"value": values[name]})


def _ledger(connection: duckdb.DuckDBPyConnection, pool: str, rows: int) -> pl.DataFrame:
    counts = dict(
        connection.execute("SELECT reason, count(*) FROM split_candidates WHERE pool = $1 GROUP BY ALL", [pool]).fetchall()
    )
    book = tables.LedgerBook(pool, "pools", "replies", sum(counts.values()))
    for (reason,) in connection.execute(f"SELECT unnest(enum_range(NULL::{pool}_reason))").fetchall():
        book.drop(reason, counts.get(reason, 0))
    if book.rows != rows:
        raise AssertionError(f"pool {pool}: {rows} rows were taken, but the ledger leaves {book.rows}")
    return book.table()


def _check_training_rows(dsat: pl.DataFrame, ledger: pl.DataFrame, settings: dict) -> None:
    if (dsat["split"] == "train").any():
        return
    if not dsat.is_empty():
        raise cli.StageError(
            f"all {dsat.height} DSAT replies went to the test side: there are fewer conversations with one than "
            f"test_conversations ({settings['test_conversations']}) asks for. Lower it, or add conversations."
        )
    drops = ledger.filter((pl.col("flow") == "dsat") & (pl.col("dropped") > 0)).select("reason", "dropped").rows()
    dropped = ", ".join(f"{reason}: {count}" for reason, count in drops) or "nothing was labelled"
    raise cli.StageError(
        f"no DSAT reply of labeler {settings['labeler']} is left ({dropped}). Relax the settings that drop most."
    )


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--turns", required=True, help="Turns table")
    command.add_argument("--labels", required=True, help="Labels table")
    for pool in SCHEMAS:
        command.add_argument(f"--{pool}", required=True, help=f"where to write the {pool.capitalize()} table")
    command.add_argument("--ledger", required=True, help="where to write the Ledger table")
    arguments = command.parse_args()
    pools, ledger = choose(arguments.turns, arguments.labels, arguments.settings)
    for pool, schema in SCHEMAS.items():
        tables.write_table(pools[pool], schema, getattr(arguments, pool))
    tables.write_table(ledger, tables.Ledger, arguments.ledger)


if __name__ == "__main__":
    cli.run(main)
