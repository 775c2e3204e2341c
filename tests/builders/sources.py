"""Raw conversations of several kinds, and what turns.py makes of them."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import turns
from drift import tables
from drift.settings.data import TurnsSettings
from drift.sources.conversations import frames
from drift.sources.exchanges import exchanges

# A question and its reply, as logs have them.
EXCHANGE = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
# When WildChat's conversation took place.
TIME = datetime(2023, 4, 9, 0, 2, 53)


def exchanged(*chats: dict) -> list[dict] | str:
    """The rows of Turns that the conversations make; or why the only one makes none."""
    (frame,) = frames(chats)
    rows, dropped = exchanges(frame)
    return rows.to_dicts() or next(iter(+dropped))


def texts(rows: list[dict]) -> list[tuple]:
    """What each row of Turns has of the conversation."""
    return [(row["user"], row["response"], row["feedback"]) for row in rows]


def write_logs(path, *records: object) -> None:
    """Write records as JSON Lines."""
    path.write_bytes(b"\n".join(json.dumps(record, ensure_ascii=False).encode() for record in records))


def wildchat_first() -> pa.Table:
    said = [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}]
    row = {"conversation_id": "h", "model": "m", "timestamp": TIME, "conversation": said, "language": "English", "toxic": False}
    time = pa.array([TIME], pa.timestamp("s"))
    return pa.Table.from_pylist([row]).set_column(2, "timestamp", time)


def wildchat_with(*said: tuple[str | None, str | None]) -> pa.Table:
    """The first WildChat, with these messages."""
    row = wildchat_first().to_pylist()[0]
    messages = [{"role": role, "content": content} for role, content in said]
    return pa.Table.from_pylist([row | {"conversation": messages}], schema=wildchat_first().schema)


def turns_settings(**kinds: str) -> TurnsSettings:
    """The settings of turns.py for sources of these kinds, by name."""
    return TurnsSettings.of(sources={name: {"kind": kind} for name, kind in kinds.items()})


def read_turns(folder: Path, kind: str, **sources: Path | pa.Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turns and ledger of the tables (as Parquet) or files given by name of their source."""
    paths = {}
    for name, source in sources.items():
        paths[name] = source
        if isinstance(source, pa.Table):
            paths[name] = folder / f"{name}.parquet"
            pq.write_table(source, paths[name])
    ledger = turns.write_turns(paths, turns_settings(**dict.fromkeys(paths, kind)), folder / "turns.parquet")
    tables.Ledger.validate(ledger.sort("lineage", "step"), cast=True)
    return tables.read_table(tables.Turns, folder / "turns.parquet"), ledger


def dropped_in(ledger: pl.DataFrame) -> dict[tuple[str, str], int]:
    """What a ledger says was dropped, by lineage and reason."""
    return {(lineage, reason): n for lineage, reason, n in ledger.select("lineage", "reason", "dropped").rows() if n}
