"""Broken logs: what cannot be read is dropped, counted and named, and the rest is read."""

import copy
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from drift.cli import StageError
from drift.sources import files, logs
from drift.sources.shapes import SHAPES, shape_of
from drift.sources.shapes.bodies import messages_of
from tests.builders.sources import EXCHANGE, write_logs

CALL = {"id": "r1", "choices": [{"message": {"role": "assistant", "content": "r"}}]}
SCORES = [{"name": "user-feedback", "value": 0, "source": "API", "comment": "No."}]
REPLY = {"role": "assistant", "content": "r", "annotation": {"rating": -1, "comment": "No.", "details": {"rating": 2}}}
TREE = {"a": {"role": "user", "content": "q", "parentId": None}, "b": REPLY | {"parentId": "a"}}
# A record of every shape, with what users thought of the reply.
SAMPLES = {
    "request and response": {
        "request": {"messages": EXCHANGE[:1], "user": "u", "metadata": {"session_id": "c"}},
        "response": CALL,
        "feedback": {"rating": 1, "scale": [1, 5], "comment": "No."},
    },
    "LiteLLM": {"request_id": "1", "messages": EXCHANGE[:1], "response": CALL, "metadata": {"session_id": "c"}, "startTime": 5},
    "Open WebUI": {"id": "1", "user_id": "u", "created_at": 5, "chat": {"history": {"currentId": "b", "messages": TREE}}},
    "LangSmith": {
        "id": "1",
        "run_type": "chain",
        "inputs": {"question": "q"},
        "outputs": {"generations": [[{"text": "r"}]]},
        "extra": {"metadata": {"session_id": "c", "user_id": "u"}},
        "feedback_stats": {"user_score": {"avg": 0, "comments": ["No."]}},
        "start_time": "2024-01-01T00:00:00",
    },
    "Langfuse": {
        "id": "1",
        "sessionId": "c",
        "input": {"messages": EXCHANGE[:1]},
        "output": "r",
        "scores": SCORES,
        "observations": [{"type": "GENERATION", "startTime": "x", "input": "q", "output": "r", "model": "m"}],
    },
    "ShareGPT": {"id": "1", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]},
    "OpenAI messages": {"id": "1", "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": {"thumbs": "down"}}]},
}
ODD = [None, "", "x", "{", '["x"]', 5, -1.5, True, float("inf"), 10**400, [], [None], [5], [[]], {}, {"x": {}}, {"role": 5}]


def read(folder, *lines: object, name: str = "x.jsonl", **options) -> tuple[list[dict], Counter, logs.Reading]:
    """The conversations of records, the counts, and how they were read."""
    write_logs(folder / name, *lines)
    counts: Counter[str] = Counter()
    reading = logs.Reading(counts, **options)
    return list(reading.conversations([folder / name])), +counts, reading


def mangled(value: object) -> Iterator[object]:
    """`value` with each of its parts, however deep, replaced by each odd value, or left out."""
    yield from ODD
    for place in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        left = copy.copy(value)
        del left[place]
        yield left
        for part in mangled(value[place]):
            changed = copy.copy(value)
            changed[place] = part
            yield changed


def test_there_is_a_sample_of_every_shape():
    assert {shape_of(record).NAME: name for name, record in SAMPLES.items()} == {shape.NAME: shape.NAME for shape in SHAPES}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_broken_record_of_any_shape_costs_no_other_and_is_counted(tmp_path, name):
    """Wherever it is broken."""
    records = [{"id": "good", "messages": EXCHANGE}, *mangled(SAMPLES[name])]
    found, counts, reading = read(tmp_path, *records)
    assert found[0]["id"] == "good"
    assert counts["records"] == len(records)
    dropped = {reason: counts[reason] for reason in logs.DROPS if counts[reason]}
    assert dropped.keys() == reading.bad.keys(), "each with the place of the first"
    assert 0 < sum(dropped.values()) < len(records)
    assert counts["conversations"] == len(found) + sum(counts[reason] for reason in logs.CONVERSATION_DROPS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_record_that_is_nested_without_end_is_dropped(tmp_path, name):
    deep: object = "q"
    for _ in range(700):
        deep = {"input": deep}
    with pytest.raises(RecursionError):
        messages_of(deep)
    changed = [SAMPLES[name] | {key: deep} for key in SAMPLES[name]]
    found, counts, _ = read(tmp_path, {"id": "good", "messages": EXCHANGE}, *changed)
    assert found[0]["id"] == "good"
    assert counts["records"] == len(changed) + 1


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"], ids=["nothing", "blank lines", "a byte order mark"])
def test_an_empty_file_has_no_conversation(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    counts: Counter[str] = Counter()
    assert list(logs.Reading(counts).conversations([tmp_path / name])) == []
    assert not +counts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", b'{"level": "info", "time": 5}\n{"level": "warn", "time": 6}\n'),
        ("x.json", b'{"level": "info",\n "time": 5}'),
        ("x.json", b'[{"level": "info", "time": 5}]'),
        ("x.csv", b"level,time\ninfo,5\n"),
    ],
    ids=["lines", "a document", "an array", "a table"],
)
def test_a_file_of_another_shape_is_refused_with_its_keys(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StageError, match=rf"{name}: no record has a shape that is known. The first has the keys level, time"):
        list(logs.Reading(Counter()).conversations([tmp_path / name]))


def test_an_array_with_a_broken_record_is_refused_with_its_number_and_the_cure(tmp_path):
    """Nothing says where the next one begins."""
    (tmp_path / "x.json").write_text(f"[{GOOD[0]}, {GOOD[1][:-9]}, {GOOD[0]}]")
    with pytest.raises(StageError, match=r"x.json: .*record 2 is broken, .* at character \d+\. .*in JSON Lines"):
        list(logs.Reading(Counter()).conversations([tmp_path / "x.json"]))


def test_a_line_that_is_too_long_is_dropped_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST_LINE", 300)
    long = {"id": "long", "messages": [*EXCHANGE, {"role": "user", "content": "x" * 5000}]}
    good = [{"id": f"g{number}", "messages": EXCHANGE} for number in range(2)]
    found, counts, reading = read(tmp_path, good[0], long, good[1])
    assert [row["id"] for row in found] == ["g0", "g1"]
    assert counts[logs.NOT_JSON] == 1
    assert reading.bad[logs.NOT_JSON] == (f"{tmp_path / 'x.jsonl'}, record 2", None)
    assert [row["id"] for row in read(tmp_path, good[0], long)[0]] == ["g0"], "the last line, too"
    exact = json.dumps({"id": "exact", "messages": EXCHANGE})
    (tmp_path / "x.jsonl").write_text(exact + " " * (299 - len(exact)) + "\n" + exact)
    assert len(list(logs.Reading(Counter()).conversations([tmp_path / "x.jsonl"]))) == 2


GOOD = [json.dumps({"id": name, "messages": EXCHANGE}) for name in "12"]


@pytest.mark.parametrize(
    "lines",
    [GOOD, ['{"id": "0", "mess', *GOOD], ["not JSON", *GOOD], [GOOD[0], '{"id": "0", "mess', GOOD[1]]],
    ids=["sound", "the first is cut", "the first is none", "the second is cut"],
)
def test_json_lines_in_a_file_called_json_are_read_line_by_line(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(logs, "json_document", lambda file: pytest.fail("all of it was read at once"))
    (tmp_path / "x.json").write_text("\n".join(["", *lines]))
    assert [row["id"] for row in logs.Reading(Counter()).conversations([tmp_path / "x.json"])] == ["1", "2"]


@pytest.mark.parametrize("indent", [None, 0, 1], ids=["a line", "lines", "indented"])
@pytest.mark.parametrize("page", [False, True], ids=["a record", "a page of records"])
def test_one_document_in_a_file_called_json_is_read_as_one(tmp_path, indent, page):
    record = {"id": "1", "messages": EXCHANGE}
    (tmp_path / "x.json").write_text(json.dumps({"data": [record]} if page else record, indent=indent) + "\n\n")
    counts: Counter[str] = Counter()
    assert [row["id"] for row in logs.Reading(counts).conversations([tmp_path / "x.json"])] == ["1"]
    assert counts["records"] == 1
