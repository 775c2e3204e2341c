"""Tables on disk are whole, are what their schema says, and are the same bytes for the same
rows."""

import os

import polars as pl
import pytest

from drift import tables
from drift.files import atomic_path
from drift.tables import TableError, read_table, write_batches, write_table


def logps(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pair_id": [f"s:{number:04d}/0" for number in range(count)],
            "chosen_logp": [-1.5 * number for number in range(count)],
            "rejected_logp": [-2.5 * number for number in range(count)],
        }
    )


def pair(**columns) -> pl.DataFrame:
    row = {
        "pair_id": "s:1/0",
        "prompt": [{"role": "user", "content": "Hello?"}],
        "prompt_token_ids": [1, 2],
        "chosen": "Good.",
        "rejected": "Bad.",
        "chosen_from": "s:1/0#guided-0",
        "rejected_from": "logged",
        "chosen_finish": "stop",
        "rejected_finish": None,
        "chosen_cut": False,
        "rejected_cut": False,
        "chosen_token_ids": [3, 4, 5],
        "rejected_token_ids": [3, 6, 5],
        "chosen_tokens": 3,
        "rejected_tokens": 3,
        "consistency": None,
        "alludes": False,
    }
    return pl.DataFrame([row | columns], schema=tables.Pairs.create_empty().schema)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "new" / "folder" / "logps.parquet"
    write_table(logps(5), tables.Logps, path)
    assert read_table(tables.Logps, path).equals(logps(5))


def test_the_same_rows_in_any_order_are_the_same_bytes(tmp_path):
    write_table(logps(500), tables.Logps, tmp_path / "a.parquet")
    shuffled = logps(500).sample(fraction=1.0, shuffle=True, seed=1).select("rejected_logp", "pair_id", "chosen_logp")
    write_table(shuffled, tables.Logps, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_rows_in_batches_of_any_size_are_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 100)
    written = []
    for size in (1, 70, 100, 1000):
        written.append(tmp_path / f"{size}.parquet")
        assert write_batches(logps(500).iter_slices(size), tables.Logps, written[-1]) == 500
    assert len({path.read_bytes() for path in written}) == 1
    assert read_table(tables.Logps, written[0]).equals(logps(500))


def test_batches_of_nothing_are_a_table_without_rows(tmp_path):
    assert write_batches([], tables.Logps, tmp_path / "logps.parquet") == 0
    assert read_table(tables.Logps, tmp_path / "logps.parquet").is_empty()


def unsound(how: str):
    yield logps(3)
    if how == "order":
        yield logps(2)
    if how == "twice":
        yield logps(3)[2:]
    if how == "column":
        yield logps(4)[3:].drop("chosen_logp")
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("order", TableError, "not sorted by pair_id"),
        ("twice", TableError, "come twice"),
        ("column", TableError, "chosen_logp"),
        ("reading", OSError, "the disk is gone"),
    ],
)
def test_unsound_batches_are_refused_and_the_file_stays(tmp_path, how, error, message):
    path = tmp_path / "logps.parquet"
    write_table(logps(3), tables.Logps, path)
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        write_batches(unsound(how), tables.Logps, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_columns_without_a_declaration_are_left_out(tmp_path):
    write_table(logps(2).with_columns(extra=pl.lit(1)), tables.Logps, tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").columns == ["pair_id", "chosen_logp", "rejected_logp"]


def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "logps.parquet"
    write_table(logps(3), tables.Logps, path)
    before = path.read_bytes()

    def full_disk(self, file, **_):
        file.write_bytes(b"half a table")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_disk)
    for target in (path, tmp_path / "other.parquet"):
        with pytest.raises(OSError, match="No space left"):
            write_table(logps(4), tables.Logps, target)
    assert os.listdir(tmp_path) == ["logps.parquet"], "no half table, no temporary file"
    assert path.read_bytes() == before


def test_a_file_appears_only_when_it_is_whole_and_others_may_read_it(tmp_path):
    path = tmp_path / "file.txt"
    umask = os.umask(0o022)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text("text")
            assert not path.exists()
            assert temporary.parent == path.parent, "a rename across file systems is not atomic"
    finally:
        os.umask(umask)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_broken_rule_names_the_file_and_the_rule_and_writes_nothing(tmp_path):
    path = tmp_path / "labels.parquet"
    rows = pl.DataFrame(
        {
            "conversation_id": ["s:1"],
            "turn": [0],
            "labeler": ["words"],
            "label": ["ANGRY"],
            "evidence": [["strict/no"]],
            "score": [0.5],
        }
    )
    with pytest.raises(TableError) as error:
        write_table(rows, tables.Labels, path)
    assert str(path) in str(error.value)
    assert "label" in str(error.value)
    assert not path.exists()


def test_two_rows_of_one_key_are_refused(tmp_path):
    with pytest.raises(TableError, match="primary_key"):
        write_table(pl.concat([logps(2), logps(1)]), tables.Logps, tmp_path / "a.parquet")


def test_shards_with_the_same_request_are_refused(tmp_path):
    for name in ("1", "2"):
        write_table(logps(1), tables.Logps, tmp_path / name)
    with pytest.raises(TableError, match="primary_key"):
        read_table(tables.Logps, tmp_path / "1", tmp_path / "2")


def test_shards_are_read_as_one_table_in_key_order(tmp_path):
    write_table(logps(6)[3:], tables.Logps, tmp_path / "1")
    write_table(logps(6)[:3], tables.Logps, tmp_path / "2")
    assert read_table(tables.Logps, tmp_path / "1", tmp_path / "2").equals(logps(6))


def test_a_missing_column_is_named_with_its_file(tmp_path):
    path = tmp_path / "logps.parquet"
    logps(2).drop("rejected_logp").write_parquet(path)
    with pytest.raises(TableError) as error:
        read_table(tables.Logps, path)
    assert str(path) in str(error.value)
    assert "rejected_logp" in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"not parquet"])
def test_a_file_that_is_absent_or_broken_is_named(tmp_path, content):
    path = tmp_path / "logps.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError) as error:
        read_table(tables.Logps, path)
    assert str(path) in str(error.value)


def test_a_sound_pair_is_written(tmp_path):
    write_table(pair(), tables.Pairs, tmp_path / "pairs.parquet")
    assert (tmp_path / "pairs.parquet").exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"chosen_finish": "length"},
        {"rejected_finish": "length", "rejected_from": "s:1/0#plain-0"},
        {"chosen": "Same.", "rejected": "Same."},
        {"chosen": "Same.", "rejected": " Same.\n"},
    ],
    ids=["chosen cut", "rejected cut", "equal sides", "equal but for white space"],
)
def test_no_pair_that_teaches_the_wrong_thing_gets_to_disk(tmp_path, columns):
    path = tmp_path / "pairs.parquet"
    with pytest.raises(TableError):
        write_table(pair(**columns), tables.Pairs, path)
    assert not path.exists()


def test_a_statistic_that_is_not_a_number_is_refused(tmp_path):
    log = pl.DataFrame({"step": [1], "metric": ["loss"], "value": [float("nan")]})
    with pytest.raises(TableError):
        write_table(log, tables.TrainLog, tmp_path / "train.parquet")
