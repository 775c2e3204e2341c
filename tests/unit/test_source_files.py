"""Files of sources as people have them: byte order marks, compression, names, types of Parquet."""

import codecs
import gzip
import json
from collections import Counter
from types import SimpleNamespace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift.cli import StageError
from drift.sources import files, logs, sharegpt, source_files, ultrafeedback, wildchat, wildfeedback
from tests.builders.sources import EXCHANGE

LOG = json.dumps({"id": "1", "messages": EXCHANGE}).encode()
SHARED = json.dumps([{"id": "s_0", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]}]).encode()
RATED = json.dumps(
    {"instruction": "q", "completions": [{"response": "a", "overall_score": 2}, {"response": "b", "overall_score": 7}]}
).encode()
SAID = [
    {"UtteranceId": number, "Role": role, "Content": text, "Satisfaction": "N/A", "Disatisfaction": flag, "Preceeding": "true"}
    for number, (role, text, flag) in enumerate([("User", "q", "N/A"), ("Agent", "r", "N/A"), ("User", "No.", "true")])
]


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def read(reader, file) -> list[dict]:
    """The conversations that a reader finds in a file."""
    return [row for frame in reader.read([file], Counter()) for row in frame.to_dicts()]


@pytest.mark.parametrize("compress", [("", bytes), (".gz", gzip.compress), (".ZST", zstd)], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize(
    ("reader", "name", "content"),
    [
        (logs, "a.JSONL", LOG),
        (sharegpt, "a.json", SHARED),
        (ultrafeedback, "a.ndjson", RATED),
        (wildfeedback, "a.json", json.dumps(SAID).encode()),
    ],
    ids=["logs", "sharegpt", "ultrafeedback", "wildfeedback"],
)
def test_a_byte_order_mark_compression_and_capitals_change_nothing(tmp_path, reader, name, content, compress):
    suffix, compressed = compress
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes(compressed(codecs.BOM_UTF8 + content + b"\n"))
    (conversation,) = read(reader, file)
    assert len(conversation["messages"]) >= 2
    assert source_files(tmp_path, reader) == [file]


@pytest.mark.parametrize("reader", [logs, sharegpt, wildfeedback])
def test_a_compressed_file_that_is_cut_off_is_named(tmp_path, reader):
    content = {logs: LOG, sharegpt: SHARED, wildfeedback: json.dumps(SAID).encode()}[reader]
    file = tmp_path / "chats.jsonl.gz"
    file.write_bytes(gzip.compress(content)[:-12])
    with pytest.raises(StageError, match=r"chats\.jsonl\.gz"):
        read(reader, file)


@pytest.mark.parametrize("reader", [logs, sharegpt, ultrafeedback, wildfeedback, wildchat])
@pytest.mark.parametrize(
    ("begins", "name"),
    [
        (codecs.BOM_UTF16_LE, "UTF-16"),
        (b"PK\x03\x04", "zip archive"),
        (b"ARROW1\0\0", "Arrow file"),
        (b"BZh91AY", "bzip2"),
        (b"SQLite format 3", "SQLite"),
    ],
)
def test_a_file_that_is_something_else_is_called_so(tmp_path, reader, begins, name):
    file = tmp_path / f"chats{reader.SUFFIXES[0]}"
    file.write_bytes(begins + LOG)
    with pytest.raises(StageError, match=rf"chats.*{name}"):
        read(reader, file)


def test_what_a_file_is_compressed_by_is_told_by_its_bytes(tmp_path):
    for name, content in (("a.jsonl", gzip.compress(LOG)), ("b.jsonl.gz", LOG), ("c.jsonl.gz", zstd(LOG))):
        (tmp_path / name).write_bytes(content)
        assert [row["id"] for row in read(logs, tmp_path / name)] == ["1"]


@pytest.mark.parametrize("array", ["[%s]", "[\n  %s\n]"], ids=["a line", "lines"])
def test_an_array_where_lines_are_read_is_called_so_and_logs_read_it(tmp_path, array):
    (tmp_path / "a.jsonl").write_text(array % LOG.decode())
    with pytest.raises(StageError, match=r"a\.jsonl: one JSON array, where JSON Lines are read"):
        read(ultrafeedback, tmp_path / "a.jsonl")
    assert [row["id"] for row in read(logs, tmp_path / "a.jsonl")] == ["1"]


def test_files_that_nobody_reads_are_named_and_hidden_ones_are_not(tmp_path, capsys):
    for name in ("a.jsonl", "b.txt", "sub/c.parquet.gz", ".cache/d.txt", "._a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(LOG)
    assert source_files(tmp_path, logs) == [tmp_path / "a.jsonl"]
    said = capsys.readouterr().err
    assert "2 of 3 files are not read: b.txt, sub/c.parquet.gz" in said
    assert source_files(tmp_path, SimpleNamespace(SUFFIXES=(".txt", ".jsonl", ".parquet.gz")))
    assert capsys.readouterr().err == "", "all are read"


def test_a_record_that_cannot_be_parsed_is_skipped_to_its_end(tmp_path):
    deep = b'{"x": "]}\\"", "y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    file = tmp_path / "a.json"
    file.write_bytes(b"[" + deep + b', {"n": ' + b"9" * 10_000 + b"}, " + SHARED[1:])
    counts = Counter()
    assert [row["id"] for row in sharegpt.read_conversations([file], counts)] == ["s"]
    assert counts == {"records": 3, "conversations": 1, sharegpt.NOT_A_RECORD: 2}


def test_numbered_records_of_sharegpt_are_conversations_and_json_lines_are_called_so(tmp_path):
    record = json.loads(SHARED)[0]
    (tmp_path / "a.json").write_text(json.dumps([record | {"id": number} for number in (0, 1, 2.0)]))
    assert [row["id"] for row in read(sharegpt, tmp_path / "a.json")] == ["0", "1", "2"]
    longest = record | {"id": "s_" + "9" * 5000}
    (tmp_path / "a.json").write_text(json.dumps([record | {"id": "s"}, longest]))
    assert [row["id"] for row in read(sharegpt, tmp_path / "a.json")] == ["s", longest["id"]]
    (tmp_path / "b.json").write_text(json.dumps(record))
    with pytest.raises(StageError, match="JSON Lines, where kind sharegpt reads one JSON array"):
        read(sharegpt, tmp_path / "b.json")


@pytest.mark.parametrize(
    ("fine", "best"), [(1.0, "the other"), (None, "ten"), (9.0, "ten")], ids=["a known error", "not said", "a real ten"]
)
def test_a_score_of_ten_that_stands_for_one_is_one(fine, best):
    odd = {"response": "ten", "overall_score": 10, "fine-grained_score": fine}
    completions = [odd, {"response": "the other", "overall_score": 7}, {"response": "worse", "overall_score": 10**400}]
    assert ultrafeedback.converse("k", "q", completions)["messages"][-1]["content"] == best


def typed(kind: pa.DataType) -> pa.Array:
    """The texts and lists of a conversation in `kind`."""
    return pa.array([EXCHANGE, None, EXCHANGE], kind)


TEXT = pa.dictionary(pa.int8(), pa.string())


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.struct({"role": pa.large_string(), "content": pa.large_string()})),
        pa.list_view(pa.struct({"role": pa.string(), "content": pa.string()})),
        pa.large_list_view(pa.struct({"role": pa.string(), "content": pa.string()})),
        pa.list_(pa.struct({"role": TEXT, "content": pa.string()})),
        pa.list_(pa.struct({"role": pa.binary(), "content": pa.large_binary()})),
        pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}), 2),
    ],
    ids=["large", "views of lists", "large views", "dictionaries", "bytes", "lists of one length"],
)
@pytest.mark.parametrize("reader", [logs, wildchat])
def test_types_of_other_writers_are_text_and_lists(tmp_path, reader, kind):
    column = "messages" if reader is logs else "conversation"
    names = {"id": ["a", "b", "c"]} if reader is logs else {"conversation_id": ["a", "b", "c"]}
    pq.write_table(pa.table(names | {column: typed(kind)}), tmp_path / "x.parquet")
    rows = read(reader, tmp_path / "x.parquet")
    said = [[(m["role"], m["content"]) for m in row["messages"] or []] for row in rows]
    whole = [("user", "q"), ("assistant", "r")]
    assert [messages for messages in said if messages] == [whole, whole]


@pytest.mark.parametrize("reader", [logs, wildchat])
def test_what_polars_writes_is_read(tmp_path, reader):
    column = "messages" if reader is logs else "conversation"
    names = {"id": ["a"]} if reader is logs else {"conversation_id": ["a"]}
    pl.DataFrame(names | {column: [EXCHANGE]}).write_parquet(tmp_path / "x.parquet")
    ((role, text), _) = ((m["role"], m["content"]) for m in read(reader, tmp_path / "x.parquet")[0]["messages"])
    assert (role, text) == ("user", "q")


def test_a_name_says_what_a_file_is():
    names = {"a.JSONL": ".jsonl", "a.jsonl.GZ": ".jsonl", "a.b.json": ".json", "a.parquet.gz": ".parquet.gz", "a": ""}
    assert {name: files.suffix(files.Path(name)) for name in names} == names


def rows_of(folder, content: str) -> list[dict]:
    (folder / "chats.csv").write_bytes(content.encode())
    return list(files.csv_rows(folder / "chats.csv"))


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_quotes_separators_and_line_breaks_in_quoted_cells_are_text(tmp_path, end):
    said = ['a, "b"\nc', "5\" wide; it's 4,5 bar", "", "{}"]
    cells = ",".join(f'"{text}"' for text in (words.replace('"', '""') for words in said))
    rows = rows_of(tmp_path, end.join(["", '"one","two",three,"fo', 'ur"', cells, "", 'a 5" tyre,x']))
    assert [list(row) for row in rows] == [["one", "two", "three", f"fo{end}ur"]] * 2
    assert [list(row.values()) for row in rows] == [[*said[:2], None, "{}"], ['a 5" tyre', "x", None, None]]


@pytest.mark.parametrize(
    ("lines", "place", "said"),
    [
        (["1,user,pump it to 4,5 bar"], 3, r"4 cells for 3 columns\. Put texts that hold the separator ',' in quotes"),
        (['1,user,"How?', "1,bot,With a pump.", '2,user,"Thanks, great!"'], 3, r"'\"'\)\. Close .* double"),
        (['0,user,"fi\nne"', '1,user,"How?', "1,bot,With a pump."], 5, r"unexpected end of data\)\. Close .* double"),
        (["0,user,fine", '1,user,"He said \\"pump, then ride\\"."'], 4, r"'\"'\)\. Close .* double"),
    ],
    ids=["a separator without quotes", "a quote without end", "none to the end of the file", "backslashes"],
)
def test_a_table_whose_cells_cannot_be_told_apart_is_refused_with_its_row(tmp_path, lines, place, said):
    """Read on, it would lose the rest of a text, or whole rows."""
    with pytest.raises(StageError, match=rf"chats\.csv, the row from line {place} on: .*{said}"):
        rows_of(tmp_path, "\n".join(["", "chat,who,text", *lines]))


def test_a_separator_at_the_end_of_rows_is_no_cell(tmp_path):
    assert rows_of(tmp_path, "chat,text\n1,fine,\n2,,\n") == [{"chat": "1", "text": "fine"}, {"chat": "2", "text": None}]
