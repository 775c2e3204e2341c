"""Thumbs and ratings that the chosen labeler does not read are not passed over in silence."""

import polars as pl
import pytest

from drift.labelers import source


@pytest.mark.parametrize(
    ("judged", "differ"),
    [(["DSAT", "SAT"], None), (["NEUTRAL", "SAT"], 1), ([None, "DSAT"], 2)],
    ids=["the same", "another label", "no label, and another"],
)
def test_a_labeler_that_says_something_else_than_the_users_is_named(tmp_path, judged, differ):
    keys = {"conversation_id": ["a", "b", "c"], "turn": [0, 0, 0]}
    turns = pl.DataFrame(keys | {"response": ["r"] * 3, "source_label": ["DSAT", "SAT", None]})
    labels = pl.DataFrame(keys | {"labeler": "lexical", "label": [*judged, "DSAT"]}).drop_nulls("label")
    other = labels.with_columns(labeler=pl.lit("source"), label=pl.lit("SAT"))
    turns.write_parquet(tmp_path / "turns.parquet")
    pl.concat([labels, other]).write_parquet(tmp_path / "labels.parquet")
    said = source.unheard(tmp_path / "turns.parquet", tmp_path / "labels.parquet", "lexical")
    if differ is None:
        assert said is None
    else:
        assert "of 2 replies" in said
        assert f"labeler lexical, which data.labeler chooses, does not read that and differs on {differ}" in said
