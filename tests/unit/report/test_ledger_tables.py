"""Lineages of the ledger as the page shows them."""

import polars as pl

from drift.ledger import LedgerBook
from drift.report.ledger_tables import ledger_lineages


def test_bars_of_a_lineage_are_shares_of_their_stretch():
    book = LedgerBook("source", "turns", "records", 200)
    book.drop("empty", 50)
    book.drop("odd", 0)
    book.regroup("split", "turns", 400)
    book.drop("late", 100)
    (lineage,) = ledger_lineages(book.table().to_dicts())
    records, turns = lineage.stretches
    assert [(drop.kept, drop.lost) for drop in records.drops] == [(75.0, 25.0)]
    assert (records.clean, records.regrouped, turns.rows) == (["odd"], "split", 400)
    assert [(drop.kept, drop.lost) for drop in turns.drops] == [(75.0, 25.0)]
    assert (lineage.rows_in, lineage.rows_out) == (200, 300)


def test_lineage_without_rows_has_bars_of_no_width():
    book = LedgerBook("source", "turns", "records", 0)
    book.drop("empty", 0)
    (lineage,) = ledger_lineages(book.table().to_dicts())
    assert (lineage.stretches[0].rows, lineage.stretches[0].clean) == (0, ["empty"])


def test_lineages_are_listed_in_the_order_of_a_rows_way():
    books = [
        LedgerBook("m/drift/seed42/iter1", "pairs", "prompts", 3),
        LedgerBook("m/kto/seed42/iter1", "unpaired", "prompts", 3),
        LedgerBook("m/warmup", "pairs", "prompts", 3),
        LedgerBook("m/prompts/dsat", "prompts", "prompts", 3),
        LedgerBook("corrections", "pools", "replies", 3),
        LedgerBook("source:chats", "turns", "lines", 3),
    ]
    for book in books:
        book.drop("a check", 1)
    rows = pl.concat([book.table() for book in books]).to_dicts()
    names = [lineage.name for lineage in ledger_lineages(rows)]
    policies = ["m/warmup", "m/drift/seed42/iter1", "m/kto/seed42/iter1"]
    assert names == ["source:chats", "corrections", "m/prompts/dsat", *policies]
