"""What tools/check_logs.py says of logs: found, counted, named."""

import json

import pytest
import yaml

import check_logs
from drift.cli import StageError
from drift.sources import exchanges, logs
from drift.sources.shapes import rows
from drift.sources.shapes.calls import BRANCH
from tests.builders.sources import EXCHANGE, write_logs

COMPLAINT = [*EXCHANGE, {"role": "user", "content": "That is wrong. I asked for something else."}]


def test_what_is_found_is_told_with_the_first_bad_record_of_each_reason(tmp_path):
    liked = [EXCHANGE[0], EXCHANGE[1] | {"feedback": {"thumbs": "up", "comment": "Thanks"}}]
    records = [
        {"id": 1, "user": "anna", "language": "English", "messages": COMPLAINT},
        {"id": 2, "user": "anna", "messages": liked},
        {"messages": EXCHANGE, "id": None},
        {"id": 4, "messages": EXCHANGE[1:]},
    ]
    write_logs(tmp_path / "my chats.jsonl", *records)
    found = check_logs.Findings(tmp_path / "my chats.jsonl", None)
    said = check_logs.report(found)
    for line in (
        "shape          OpenAI messages (4 records)",
        "keys           id, messages, user, language",
        "conversations  2 kept, with 2 replies",
        "users          1",
        "languages      English 1",
        "feedback       0 DSAT, 0 NEUTRAL, 1 SAT by thumbs and ratings; 1 comments",
        f"  1  {logs.NO_ID}; {tmp_path}/my chats.jsonl, record 3: " + '{"messages"',
        f"  1  {exchanges.STARTS_WITH_ASSISTANT}; conversation 4: ",
        "    feedback  That is wrong. I asked for something else.",
    ):
        assert line in said
    data = yaml.safe_load(check_logs.pasted(found))["data"]
    assert data["sources"] == {"mychats": {"kind": "logs", "path": str(tmp_path / "my chats.jsonl")}}
    assert (data["labelers"], data["labeler"]) == ({"lexical": {"kind": "lexical"}}, "lexical"), "no thumb is down"


def test_one_broken_conversation_of_many_is_found_counted_and_named(tmp_path):
    lines = [json.dumps({"id": number, "messages": EXCHANGE}) for number in range(9000)]
    lines[7654] = lines[7654][:-9]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    found = check_logs.Findings(tmp_path / "x.jsonl", None)
    assert (found.kept, found.counts[logs.NOT_JSON]) == (8999, 1)
    assert f"1  {logs.NOT_JSON}; {tmp_path}/x.jsonl, record 7655: no JSON" in check_logs.report(found)


def test_columns_are_those_of_the_configuration(tmp_path):
    (tmp_path / "x.csv").write_text("c,r,t\n1,user,q\n1,assistant,r\n")
    columns = {"conversation": "c", "role": "r", "content": "t"}
    found = check_logs.Findings(tmp_path / "x.csv", columns)
    assert yaml.safe_load(check_logs.pasted(found))["data"]["sources"]["x"]["columns"] == columns
    with pytest.raises(ValueError, match="say which column holds content"):
        check_logs.Findings(tmp_path / "x.csv", {"conversation": "c", "role": "r"})
    with pytest.raises(StageError, match="keys c, r, t"):
        check_logs.Findings(tmp_path / "x.csv", None)


def test_with_thumbs_the_examples_are_the_replies_with_a_thumb_down(tmp_path):
    """They are what the labeler that is to be pasted takes."""
    down = {"thumbs": "down", "comment": "Too vague."}
    write_logs(
        tmp_path / "x.jsonl",
        {"id": 1, "messages": COMPLAINT},
        {"id": 2, "messages": [EXCHANGE[0], EXCHANGE[1] | {"feedback": down}]},
    )
    found = check_logs.Findings(tmp_path / "x.jsonl", None)
    said = check_logs.report(found)
    data = yaml.safe_load(check_logs.pasted(found))["data"]
    assert (data["labelers"], data["labeler"]) == ({"source": {"kind": "source"}}, "source")
    examples = said.partition("replies that disappointed, by thumbs and ratings:")[2].partition("to paste")[0]
    assert "Too vague." in examples
    assert "That is wrong." not in examples


def test_what_the_filters_leave_out_by_its_flags_is_counted_and_is_no_example(tmp_path):
    image = {"role": "user", "content": [{"type": "text", "text": "See."}, {"type": "image_url"}]}
    result = {"role": "tool", "content": "9 min"}
    write_logs(
        tmp_path / "x.jsonl",
        {"id": 1, "messages": [image, *COMPLAINT[1:]]},
        {"id": 2, "messages": [COMPLAINT[0], result, *COMPLAINT[1:]]},
        {"id": 3, "messages": [*EXCHANGE[:1], *COMPLAINT]},
    )
    said = check_logs.report(check_logs.Findings(tmp_path / "x.jsonl", None))
    for name in ("drop_missing_parts", "drop_tool_calls", "drop_merged"):
        assert f"left out       1 of these replies, by data.filters.{name}" in said
    assert "no reply that could be used disappointed, by the rules of labeler lexical" in said


def test_the_first_row_that_cannot_be_read_and_the_first_branch_are_shown(tmp_path):
    (tmp_path / "x.csv").write_text("c,r,t,v\n1,customer,q,\n1,bot,,up\n1,bot,r,up\n2,user,q,\n2,bot,r,so so\n")
    columns = {"conversation": "c", "role": "r", "content": "t", "feedback": "v"}
    found = check_logs.Findings(tmp_path / "x.csv", columns)
    assert (found.kept, found.left) == (1, {"SAT": 1})
    assert f"1  {rows.BAD_ROW}; conversation 2: " in check_logs.report(found)
    assert '"so so"' in check_logs.report(found)
    calls = [
        {"messages": [*EXCHANGE, {"role": "user", "content": asked}], "response": "r", "session_id": "s", "request_id": asked}
        for asked in ("a", "b")
    ]
    write_logs(tmp_path / "x.jsonl", *calls)
    assert f"1  {BRANCH}; of conversation s: " in check_logs.report(check_logs.Findings(tmp_path / "x.jsonl", None))


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("", "no record in it, an empty file"),
        ("[]", "no record in it"),
        ("hello\n", "no JSON object in 1 lines. Known are: request"),
    ],
)
def test_a_file_without_a_record_is_refused_in_a_line(tmp_path, monkeypatch, content, answer):
    (tmp_path / "x.json").write_text(content)
    monkeypatch.setattr("sys.argv", ["check_logs.py", str(tmp_path / "x.json")])
    with pytest.raises(StageError, match=answer):
        check_logs.main()


@pytest.mark.parametrize(
    ("columns", "answer"),
    [
        (["conversation=c", "roll=r"], "--columns roll: Input should be 'conversation'"),
        (["conversation=c", "role=r"], "--columns: say which column holds content"),
    ],
)
def test_columns_that_are_none_are_refused_in_a_line(tmp_path, monkeypatch, columns, answer):
    (tmp_path / "x.csv").write_text("c,r,t\n")
    monkeypatch.setattr("sys.argv", ["check_logs.py", str(tmp_path / "x.csv"), "--columns", *columns])
    with pytest.raises(StageError, match=answer):
        check_logs.main()


def test_texts_of_strangers_move_no_cursor():
    assert check_logs.short("a\n\x1b[2Jb\u202e") == "a \ufffd[2Jb\ufffd"
