"""The ledger of a stage: what it drops, and why."""

import polars as pl

from drift.tables import Ledger


class LedgerBook:
    """Counts what a stage drops and why: `book.drop(...)` in the order of the checks, then
    `book.table()`."""

    def __init__(self, lineage: str, stage: str, unit: str, rows_in: int):
        self.lineage, self.stage, self.unit, self.rows, self._rows = lineage, stage, unit, rows_in, []

    def drop(self, reason: str, dropped: int) -> None:
        """Drop this many of the remaining rows, for `reason`. Steps that drop nothing are recorded
        too: they show that the check ran."""
        self._add("drop", reason, dropped, self.rows - dropped, self.unit)

    def regroup(self, reason: str, unit: str, rows_out: int) -> None:
        """Turn the remaining rows into `rows_out` rows of another `unit`, such as records into
        conversations."""
        self._add("regroup", reason, 0, rows_out, unit)

    def _add(self, event: str, reason: str, dropped: int, rows_out: int, unit_out: str) -> None:
        self._rows.append(
            {
                "lineage": self.lineage,
                "step": len(self._rows),
                "stage": self.stage,
                "event": event,
                "reason": reason,
                "unit_in": self.unit,
                "rows_in": self.rows,
                "dropped": dropped,
                "rows_out": rows_out,
                "unit_out": unit_out,
            }
        )
        self.rows, self.unit = rows_out, unit_out

    def table(self) -> pl.DataFrame:
        """The ledger rows so far, as a Ledger table."""
        return pl.DataFrame(self._rows, schema=Ledger.create_empty().schema)
