"""Ledgers that do not add up are refused."""

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import ledger
from drift import cli, tables
from drift.ledger import LedgerBook
from tests.conftest import REPOSITORY


def python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run a stage as the pipeline does."""
    command = [sys.executable, str(REPOSITORY / "scripts" / script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def book(lineage: str, *drops: int) -> pl.DataFrame:
    made = LedgerBook(lineage, "stage", "rows", 100)
    for number, dropped in enumerate(drops):
        made.drop(f"reason {number}", dropped)
    return made.table()


def test_flows_that_add_up_are_taken():
    ledger.check_flows(pl.concat([book("a", 10, 20, 0), book("b", 1)]))


def broken_book() -> pl.DataFrame:
    """A lineage whose second step starts with ten rows less than the first one left."""
    second = pl.col("step") == 1
    return book("a", 10, 20).with_columns(
        pl.when(second).then(pl.col(name) - 10).otherwise(name) for name in ("rows_in", "rows_out")
    )


def test_step_that_starts_with_other_rows_is_refused(tmp_path):
    tables.write_table(broken_book(), tables.Ledger, tmp_path / "a.parquet")
    made = python("ledger.py", "--parts", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 1
    assert re.search(r"error: ledger of 'a': step 1 .* starts with 80 rows, but step 0 left 90 rows", made.stderr)
    assert not (tmp_path / "all.parquet").exists()


def test_step_in_another_unit_is_refused():
    changed = book("a", 10, 20).with_columns(unit_in=pl.when(pl.col("step") == 1).then(pl.lit("pairs")).otherwise("unit_in"))
    with pytest.raises(cli.StageError, match="starts with 90 pairs, but step 0 left 90 rows"):
        ledger.check_flows(changed)


def test_missing_step_is_refused():
    with pytest.raises(cli.StageError, match="step 1 is missing"):
        ledger.check_flows(book("a", 10, 20, 30).filter(pl.col("step") != 1))


def test_parts_become_one_ledger(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book(name, 10), tables.Ledger, tmp_path / f"{name}.parquet")
    made = python("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert tables.read_table(tables.Ledger, tmp_path / "all.parquet")["lineage"].to_list() == ["a", "b"]


def test_flow_that_two_stages_claim_is_refused(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book("same", 10), tables.Ledger, tmp_path / f"{name}.parquet")
    made = python("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 1
    assert not (tmp_path / "all.parquet").exists()
