"""The readers of WildChat, in all of its releases, and of LMSYS-Chat-1M."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import turns
from drift.cli import StageError
from drift.sources import exchanges
from tests.builders.sources import TIME, dropped_in, read_turns, wildchat_first, wildchat_with
from tests.shards import wildchat_1m

# Rows as the releases have them; the text is made up.
SECRET = {"hashed_ip": "SECRET", "header": {"user-agent": "SECRET"}, "state": "SECRET", "country": "SECRET"}


def wildchat_48m() -> pa.Table:
    usage = {"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 0}}
    said = [
        {**SECRET, "turn_identifier": 7, "role": "user", "created": 1, "content": "q", "timestamp": None, "toxic": True},
        {**SECRET, "turn_identifier": 7, "role": "assistant", "created": 1, "content": "r", "timestamp": TIME, "usage": usage},
    ]
    row = {**SECRET, "language": "English", "conversation": said, "timestamp": TIME, "model": "m", "conversation_hash": "h"}
    return pa.Table.from_pylist([row])


def one_of_wildchat_1m() -> pa.Table:
    return wildchat_1m(pa.array(["q", "r"]), np.array([2]))


@pytest.mark.parametrize(
    ("table", "key", "user", "toxic"),
    [
        (one_of_wildchat_1m(), "cfcd208495d565ef66e7dff9f98764da_0", "w:1", False),
        (wildchat_48m(), "h_7", "w:1", True),
        (wildchat_first(), "h", None, False),
    ],
    ids=["1M", "4.8M", "first"],
)
def test_all_releases_of_wildchat_read_alike(tmp_path, table, key, user, toxic):
    rows, _ = read_turns(tmp_path, "wildchat", w=table)
    (exchange,) = rows.to_dicts()
    assert exchange["conversation_id"] == f"w:{key}"
    assert (exchange["user"], exchange["response"], exchange["timestamp"]) == ("q", "r", TIME)
    assert exchange["language"] == "English"
    assert (exchange["user_id"], exchange["toxic"]) == (user, toxic)


@pytest.mark.parametrize("table", [one_of_wildchat_1m(), wildchat_48m()], ids=["1M", "4.8M"])
def test_nothing_personal_of_wildchat_is_in_any_file(tmp_path, monkeypatch, table):
    kept = []
    monkeypatch.setattr(turns.tempfile, "TemporaryDirectory", lambda dir, prefix: Kept(tmp_path / "temporary"))

    class Kept:
        def __init__(self, folder):
            folder.mkdir()
            kept.append(folder)

        def __enter__(self):
            return str(kept[0])

        def __exit__(self, *_):
            pass

    read_turns(tmp_path, "wildchat", w=table)
    assert "SECRET" in repr(pq.read_table(tmp_path / "w.parquet").to_pylist())
    for written in (tmp_path / "turns.parquet", kept[0] / "gathered.parquet"):
        assert "SECRET" not in repr(pq.read_table(written).to_pylist())


def test_users_are_numbered_and_keep_their_number(tmp_path):
    texts_of = pa.array([f"{'qr'[place % 2]}{place}" for place in range(7 * 2)])
    table = wildchat_1m(texts_of, np.full(7, 2))
    ips = [None, "x", "y", "x", "z", "y", ""]
    table = table.set_column(table.column_names.index("hashed_ip"), "hashed_ip", pa.array(ips))
    rows, _ = read_turns(tmp_path, "wildchat", w=table)
    said = dict(rows.select("user", "user_id").rows())
    assert said["q0"] is said["q12"] is None
    assert said["q2"] == said["q6"]
    assert said["q4"] == said["q10"]
    assert sorted({user for user in said.values() if user}) == ["w:1", "w:2", "w:3"]


def test_every_row_of_wildchat_that_is_not_a_conversation_is_counted(tmp_path):
    whole = wildchat_first()
    row = whole.to_pylist()[0]
    tables_of = [
        whole,
        pa.Table.from_pylist([row | {"conversation_id": None}, row | {"conversation_id": ""}], schema=whole.schema),
        wildchat_with(("user", None)),
        wildchat_with((None, "a")),
        pa.Table.from_pylist([row | {"conversation": []}, row | {"conversation": None}], schema=whole.schema),
        pa.Table.from_pylist([row | {"conversation": [None]}], schema=whole.schema),
        pa.Table.from_pylist([row, row | {"conversation_id": "i"}], schema=whole.schema),
    ]
    _, ledger = read_turns(tmp_path, "wildchat", w=pa.concat_tables(tables_of))
    assert dropped_in(ledger) == {
        ("source:w", exchanges.NO_ID): 2,
        ("source:w", exchanges.NO_TEXT): 3,
        ("source:w", exchanges.NO_EXCHANGE): 2,
        ("source:w", turns.EXACT_COPY): 2,
    }
    assert ledger["rows_in"][0] == 10


def test_a_column_that_is_missing_or_of_another_type_is_named(tmp_path):
    with pytest.raises(StageError, match=r"no column conversation\.role, conversation\.content; it has: text"):
        read_turns(tmp_path, "wildchat", w=pa.table({"text": ["a"]}))
    said = pa.table({"conversation_hash": ["h"], "conversation": [[{"role": "user", "content": 7}]]})
    with pytest.raises(StageError, match=r"column conversation\.content is Int64, not String"):
        read_turns(tmp_path, "wildchat", w=said)


@pytest.mark.parametrize("damage", ["not parquet", "cut", "overwritten"])
def test_a_damaged_shard_stops_with_its_name(tmp_path, damage):
    file = tmp_path / "train-00000.parquet"
    pq.write_table(wildchat_1m(pa.array([f"text {n}" * 50 for n in range(2000)]), np.full(1000, 2)), file)
    whole = file.read_bytes()
    middle = len(whole) // 8
    file.write_bytes(
        {"not parquet": b"<html>", "cut": whole[:-1000], "overwritten": whole[:200] + bytes(middle) + whole[200 + middle :]}[
            damage
        ]
    )
    with pytest.raises(StageError, match=r"train-00000\.parquet: not a whole Parquet file"):
        read_turns(tmp_path, "wildchat", w=file)
    assert not (tmp_path / "turns.parquet").exists()


def test_text_that_is_not_utf8_is_fixed(tmp_path):
    raw = pa.array([b"broken \xed\xa0\xbd here", b"r"]).cast(pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    rows, _ = read_turns(tmp_path, "wildchat", w=wildchat_1m(broken, np.array([2])))
    assert rows["user"].to_list() == ["broken \ufffd\ufffd\ufffd here"]


def test_very_long_messages_are_kept_whole(tmp_path):
    text = "long " * 2_000_000
    rows, _ = read_turns(tmp_path, "wildchat", w=wildchat_1m(pa.array([text, text + "reply"]), np.array([2])))
    assert (rows["user"][0], rows["response"][0]) == (text, text + "reply")


def test_lmsys(tmp_path):
    said = [{"content": "q", "role": "user"}, {"content": "r", "role": "assistant"}]
    row = {"conversation_id": "c", "model": "vicuna", "conversation": said, "turn": 1, "language": "English", "redacted": True}
    judged = [
        {"categories": {"hate": False}, "category_scores": {"hate": 0.1}, "flagged": flagged} for flagged in (False, True)
    ]
    rows, _ = read_turns(tmp_path, "lmsys", l=pa.Table.from_pylist([row | {"openai_moderation": judged}]))
    (exchange,) = rows.to_dicts()
    assert (exchange["conversation_id"], exchange["user"], exchange["response"]) == ("l:c", "q", "r")
    assert (exchange["model"], exchange["toxic"], exchange["redacted"]) == ("vicuna", True, True)
