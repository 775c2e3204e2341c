"""What a stage drops is counted, and every lineage adds up from its first step to its last."""

import re

import polars as pl
import pytest

import ledger
from drift import cli, tables
from drift.ledger import LedgerBook
from drift.tables import TableError, read_table, write_table
from tests.builders.run import stage


def test_the_ledger_adds_up_step_by_step(tmp_path):
    book = LedgerBook("source:chats", "turns", "records", 10)
    book.drop("broken", 3)
    book.drop("copies", 0)
    book.regroup("cut into exchanges", "turns", 40)
    book.drop("too long", 5)
    assert (book.rows, book.unit) == (35, "turns")
    write_table(book.table(), tables.Ledger, tmp_path / "ledger.parquet")
    steps = read_table(tables.Ledger, tmp_path / "ledger.parquet")
    assert steps.select("rows_in", "dropped", "rows_out").rows() == [(10, 3, 7), (7, 0, 7), (7, 0, 40), (40, 5, 35)]
    assert steps.select("unit_in", "unit_out").rows() == [("records", "records")] * 2 + [
        ("records", "turns"),
        ("turns", "turns"),
    ]
    assert steps["step"].to_list() == [0, 1, 2, 3]


def test_a_ledger_that_does_not_add_up_is_refused(tmp_path):
    book = LedgerBook("source:chats", "turns", "records", 10)
    book.drop("broken", 3)
    with pytest.raises(TableError, match="adds_up"):
        write_table(book.table().with_columns(rows_out=pl.lit(8)), tables.Ledger, tmp_path / "ledger.parquet")


def test_more_drops_than_rows_are_refused(tmp_path):
    book = LedgerBook("source:chats", "turns", "records", 1)
    book.drop("broken", 3)
    with pytest.raises(TableError):
        write_table(book.table(), tables.Ledger, tmp_path / "ledger.parquet")


def book(lineage: str, *drops: int) -> pl.DataFrame:
    made = LedgerBook(lineage, "stage", "rows", 100)
    for number, dropped in enumerate(drops):
        made.drop(f"reason {number}", dropped)
    return made.table()


def test_lineages_that_add_up_are_accepted():
    ledger.check_lineages(pl.concat([book("a", 10, 20, 0), book("b", 1)]))


def broken_book() -> pl.DataFrame:
    """A lineage whose second step starts with ten rows less than the first one left."""
    second = pl.col("step") == 1
    return book("a", 10, 20).with_columns(
        pl.when(second).then(pl.col(name) - 10).otherwise(name) for name in ("rows_in", "rows_out")
    )


def test_step_that_starts_with_other_rows_is_refused(tmp_path):
    tables.write_table(broken_book(), tables.Ledger, tmp_path / "a.parquet")
    done = stage("ledger.py", "--parts", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"error: ledger of 'a': step 1 .* starts with 80 rows, but step 0 left 90 rows", done.stderr)
    assert not (tmp_path / "all.parquet").exists()


def test_step_in_another_unit_is_refused():
    changed = book("a", 10, 20).with_columns(unit_in=pl.when(pl.col("step") == 1).then(pl.lit("pairs")).otherwise("unit_in"))
    with pytest.raises(cli.StageError, match="starts with 90 pairs, but step 0 left 90 rows"):
        ledger.check_lineages(changed)


def test_missing_step_is_refused():
    with pytest.raises(cli.StageError, match="step 1 is missing"):
        ledger.check_lineages(book("a", 10, 20, 30).filter(pl.col("step") != 1))


def test_parts_become_one_ledger(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book(name, 10), tables.Ledger, tmp_path / f"{name}.parquet")
    done = stage("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert tables.read_table(tables.Ledger, tmp_path / "all.parquet")["lineage"].to_list() == ["a", "b"]


def test_lineage_of_two_stages_is_refused(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book("same", 10), tables.Ledger, tmp_path / f"{name}.parquet")
    done = stage("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert not (tmp_path / "all.parquet").exists()


def test_lineages_of_later_data_have_their_folder_in_front(tmp_path):
    book = LedgerBook("dsat", "pools", "replies", 5)
    book.drop("held out", 2)
    write_table(book.table(), tables.Ledger, tmp_path / "first.parquet")
    write_table(book.table(), tables.Ledger, tmp_path / "later.parquet")
    done = stage(
        "ledger.py",
        *("--parts", tmp_path / "first.parquet"),
        *("--later", f"data/iter2={tmp_path / 'later.parquet'}"),
        *("--ledger", tmp_path / "ledger.parquet"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(read_table(tables.Ledger, tmp_path / "ledger.parquet")["lineage"]) == ["data/iter2/dsat", "dsat"]
