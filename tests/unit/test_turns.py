"""The table of exchanges of all sources: copies, order, and the ledger of each source."""

import io
import json
import os
import subprocess

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import turns
from drift import plugins, tables
from drift.cli import StageError
from drift.config import Source
from drift.sources import conversations, exchanges, logs
from tests.builders.sources import (
    EXCHANGE,
    dropped_in,
    read_turns,
    turns_settings,
    wildchat_first,
    wildchat_with,
    write_logs,
)
from tests.conftest import REPOSITORY, STAGE_PYTHON
from tests.shards import wildchat_1m


@pytest.fixture
def two_sources(tmp_path):
    """Two sources that share a conversation, with one of every drop that readers have in common."""
    ours = tmp_path / "ours"
    ours.mkdir()
    other = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "another reply"}]
    longer = [*EXCHANGE, {"role": "user", "content": "no"}]
    write_logs(ours / "b.jsonl", {"id": "1", "messages": other, "timestamp": 9}, {"id": "3"})
    write_logs(
        ours / "a.jsonl",
        {"id": "1", "messages": EXCHANGE, "timestamp": 8},
        {"id": "2", "messages": EXCHANGE[1:]},
        {"id": "9", "messages": longer},
    )
    write_logs(tmp_path / "theirs.jsonl", {"id": "1", "messages": EXCHANGE}, {"id": "2", "messages": other})
    return {"theirs": tmp_path / "theirs.jsonl", "ours": ours}


def test_every_record_of_every_source_is_accounted_for(tmp_path, two_sources):
    rows, ledger = read_turns(tmp_path, "logs", **two_sources)
    assert sorted(rows["conversation_id"]) == ["ours:1", "ours:9", "ours:9"]
    assert dropped_in(ledger) == {
        ("source:ours", logs.NO_SHAPE): 1,
        ("source:ours", exchanges.STARTS_WITH_ASSISTANT): 1,
        ("source:ours", turns.SAME_ID): 1,
        ("source:theirs", turns.EXACT_COPY): 2,
    }
    last = ledger.group_by("lineage").agg(pl.col("rows_out").sort_by("step").last()).sort("lineage")
    assert last.rows() == [("source:ours", 3), ("source:theirs", 0)]


def lines_of(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def parquet_of(table: pa.Table) -> bytes:
    pq.write_table(table, buffer := io.BytesIO())
    return buffer.getvalue()


LMSYS = {"conversation_id": "c", "model": "m", "language": "English", "conversation": EXCHANGE}


RATED = {"instruction": "q", "completions": [{"response": reply, "overall_score": n} for n, reply in enumerate("ab")]}


ANNOTATED = [
    {
        "UtteranceId": n,
        "Role": role,
        "Content": text,
        "Preceeding": "YES",
        "Satisfaction": None,
        "Disatisfaction": n == 2 or None,
    }
    for n, (role, text) in enumerate((("User", "q"), ("Agent", "r"), ("User", "no"), ("Agent", "s")))
]


SAID = [("user", "q"), ("assistant", "r"), ("user", "no"), ("assistant", "s")]


@pytest.mark.parametrize(
    ("kind", "file", "content", "records", "rows"),
    [
        ("wildchat", "x.parquet", parquet_of(pa.concat_tables([wildchat_first(), wildchat_with(("user", None))])), 2, 1),
        ("lmsys", "x.parquet", parquet_of(pa.Table.from_pylist([LMSYS, LMSYS | {"conversation": []}])), 2, 1),
        ("logs", "x.jsonl", lines_of({"id": "1", "messages": EXCHANGE}, {"id": "2"}), 2, 1),
        ("ultrafeedback", "x.jsonl", lines_of(RATED, 7), 2, 2),
        (
            "sharegpt",
            "x.json",
            json.dumps(
                [7, {"id": "a_0", "conversations": [{"from": role, "value": "t"} for role in ("human", "gpt")]}]
            ).encode(),
            2,
            1,
        ),
        ("wildfeedback", "x.json", json.dumps([*ANNOTATED, ANNOTATED[0] | {"Content": "elsewhere"}]).encode(), 2, 2),
    ],
)
def test_the_ledger_of_every_kind_leads_from_its_records_to_its_turns(tmp_path, kind, file, content, records, rows):
    (tmp_path / file).write_bytes(content)
    conversations = {}
    if kind == "wildfeedback":
        conversations["s"] = tmp_path / "wildchat.parquet"
        pq.write_table(wildchat_with(*SAID), conversations["s"])
    written = tmp_path / "turns.out"
    ledger = turns.write_turns({"s": tmp_path / file}, turns_settings(s=kind), written, conversations)
    tables.Ledger.validate(ledger, cast=True)
    ledger = ledger.filter(lineage="source:s").sort("step")
    assert ledger["rows_in"][0] == records
    assert ledger["rows_in"][1:].to_list() == ledger["rows_out"][:-1].to_list()
    assert ledger["dropped"].sum() == 1
    assert ledger["rows_out"][-1] == tables.read_table(tables.Turns, written).height == rows


def test_of_copies_the_one_that_the_source_has_labelled_is_kept(tmp_path):
    liked = [EXCHANGE[0], EXCHANGE[1] | {"feedback": {"thumbs": "up"}}]
    write_logs(tmp_path / "a.jsonl", {"id": "1", "messages": EXCHANGE})
    write_logs(tmp_path / "b.jsonl", {"id": "1", "messages": liked})
    rows, _ = read_turns(tmp_path, "logs", a=tmp_path / "a.jsonl", b=tmp_path / "b.jsonl")
    assert rows.select("conversation_id", "source_label").rows() == [("b:1", "SAT")]


@settings(deadline=None, max_examples=8)
@given(st.permutations(range(4)), st.integers(1, 5))
def test_the_order_of_shards_and_rows_does_not_matter(tmp_path_factory, order, frame):
    """The same conversations, cut into shards and frames in any way, give the same bytes."""
    folder = tmp_path_factory.mktemp("order")
    texts_of = pa.array([f"{'qr'[place % 2]}{place % 10}" for place in range(4 * 6)])
    shards = wildchat_1m(texts_of, np.full(12, 2))
    ips = pa.array([f"ip{n % 3}" for n in range(12)])
    shards = shards.set_column(shards.column_names.index("hashed_ip"), "hashed_ip", ips)
    (folder / "shards").mkdir()
    for place, number in enumerate(order):
        pq.write_table(shards.slice(number * 3, 3), folder / "shards" / f"{place}.parquet")
    whole = folder / "whole.parquet"
    pq.write_table(shards, whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations, "ROWS", frame)
        turns.write_turns({"w": folder / "shards"}, turns_settings(w="wildchat"), folder / "a.parquet")
    turns.write_turns({"w": whole}, turns_settings(w="wildchat"), folder / "b.parquet")
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def test_any_number_of_threads_gives_the_same_bytes(tmp_path):
    for shard in range(2):
        texts_of = pa.array([f"{shard} {place} " * 20 for place in range(60_000)])
        pq.write_table(wildchat_1m(texts_of, np.full(15_000, 4), shard * 12_000), tmp_path / f"train-{shard}.parquet")
    written = []
    for threads in ("1", "4"):
        written.append(tmp_path / f"turns-{threads}.out")
        command = [STAGE_PYTHON, REPOSITORY / "scripts/turns.py", "--source", f"w={tmp_path}", "--turns", written[-1]]
        command += ["--ledger", tmp_path / f"ledger-{threads}.out", "--settings", '{"sources": {"w": {"kind": "wildchat"}}}']
        subprocess.run(command, check=True, env=os.environ | {"POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads})
    assert written[0].read_bytes() == written[1].read_bytes()
    assert pq.read_metadata(written[0]).num_rows > 2 * tables.ROW_GROUP


def test_a_source_of_another_kind_stops_with_what_was_dropped(tmp_path):
    write_logs(tmp_path / "x.jsonl", {"id": "a_0", "conversations": []})
    with pytest.raises(StageError, match=f"no exchange in 1 records \\({logs.NO_MESSAGES}: 1\\)"):
        read_turns(tmp_path, "logs", ours=tmp_path / "x.jsonl")


def test_a_source_that_loses_many_conversations_says_so_on_the_terminal(tmp_path, capsys):
    whole = [{"id": str(number), "messages": [{"role": "user", "content": str(number)}, EXCHANGE[1]]} for number in range(9)]
    write_logs(tmp_path / "few.jsonl", *whole, {"id": "9"})
    write_logs(tmp_path / "many.jsonl", *whole, {"id": "9"}, {"id": "10"})
    unanswered = [{"id": f"u{number}", "messages": EXCHANGE[:1]} for number in range(2)]
    write_logs(tmp_path / "silent.jsonl", *whole, *unanswered)
    copies = [record | {"id": f"copy{record['id']}"} for record in whole]
    write_logs(tmp_path / "twice.jsonl", *whole, *copies)
    read_turns(tmp_path, "logs", **{name: tmp_path / f"{name}.jsonl" for name in ("few", "many", "silent", "twice")})
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in said] == ["warning: source many", "warning: source silent"]
    assert f"2 of 11 records were dropped ({logs.NO_SHAPE}: 2)" in said[0]
    assert f"2 of 11 conversations were dropped ({exchanges.NO_EXCHANGE}: 2)" in said[1]


def test_an_empty_folder_stops_with_its_name(tmp_path):
    with pytest.raises(StageError, match=r"no \*\.jsonl or .* or \*\.parquet file there"):
        read_turns(tmp_path, "logs", ours=tmp_path)


READER = """
from drift.sources.conversations import frames

SUFFIXES, UNIT, DROPS, CONVERSATION_DROPS = (".txt",), "lines", (), ()


def read(files, counts):
    lines = [line for file in files for line in file.read_text().splitlines()]
    counts.update({UNIT: len(lines), "conversations": len(lines)})
    roles = ("user", "assistant")
    yield from frames(
        {"id": str(n), "messages": [dict(zip(("role", "content"), said)) for said in zip(roles, line.split(" | "))]}
        for n, line in enumerate(lines)
    )
"""


def test_a_reader_of_your_own_is_a_module_and_a_line_in_the_registry(tmp_path, monkeypatch):
    with pytest.raises(ValidationError, match="there is no 'lines'"):
        Source(kind="lines", path="x")
    (tmp_path / "lines_reader.py").write_text(READER)
    (tmp_path / "x.txt").write_text("q1 | r1\nq2 | r2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(plugins.SOURCES, "lines", "lines_reader")
    assert Source(kind="lines", path="x").kind == "lines"
    rows, _ = read_turns(tmp_path, "lines", mine=tmp_path / "x.txt")
    assert rows.select("user", "response").rows() == [("q1", "r1"), ("q2", "r2")]


def later_turns(folder, march: list[dict], april: list[dict], kind: str = "logs") -> pl.DataFrame:
    """Turns of a source of the start and of one that comes in iteration 2."""
    paths = {"march": folder / "march.jsonl", "april": folder / "april.jsonl"}
    write_logs(paths["march"], *march)
    write_logs(paths["april"], *april)
    rows = {"march": {"kind": "logs"}, "april": {"kind": kind, "from_iteration": 2}}
    turns.write_turns(paths, turns.TurnsSettings.of(sources=rows), folder / "turns.parquet")
    return tables.read_table(tables.Turns, folder / "turns.parquet")


def test_a_user_of_the_start_who_comes_back_later_is_the_same_user(tmp_path):
    chats = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"r{n}"}] for n in range(4)]
    march = [{"id": str(n), "user": f"ann{n}", "messages": chats[n]} for n in (0, 1)]
    april = [{"id": "5", "user": "ann1", "messages": chats[2]}, {"id": "6", "user": "bob", "messages": chats[3]}]
    users = dict(later_turns(tmp_path, march, april).select("conversation_id", "user_id").iter_rows())
    assert users["april:5"] == users["march:1"]
    assert len({users["march:0"], users["march:1"], users["april:6"]}) == 3
    alone, _ = read_turns(tmp_path, "logs", march=tmp_path / "march.jsonl", april=tmp_path / "april.jsonl")
    users = dict(alone.select("conversation_id", "user_id").iter_rows())
    assert users["april:5"] != users["march:1"], "sources that come together know users apart"


def test_an_export_that_repeats_older_conversations_adds_the_new_ones_and_changes_none(tmp_path):
    chats = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"r{n}"}] for n in range(3)]
    march = [{"id": str(n), "messages": chats[n]} for n in (0, 1)]
    thumbs = [chats[0][0], chats[0][1] | {"feedback": {"thumbs": "down"}}]
    april = [{"id": "0", "messages": thumbs}, {"id": "1", "messages": chats[1]}, {"id": "2", "messages": chats[2]}]
    rows = later_turns(tmp_path, march, april)
    assert set(rows["conversation_id"]) == {"march:0", "march:1", "april:2"}, "what is known first stays, whatever a copy adds"
