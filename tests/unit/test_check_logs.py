"""What tools/check_logs.py says of logs: found, counted, named."""

import json

import pytest
import yaml

import check_logs
from drift.cli import StageError
from drift.sources import exchanges, logs
from tests.builders.sources import EXCHANGE, write_logs

COMPLAINT = [*EXCHANGE, {"role": "user", "content": "That is wrong. I asked for something else."}]


def test_what_is_found_is_told_with_the_first_bad_record_of_each_reason(tmp_path):
    liked = [EXCHANGE[0], EXCHANGE[1] | {"feedback": {"thumbs": "up", "comment": "Thanks"}}]
    records = [
        {"id": 1, "user": "anna", "language": "English", "messages": COMPLAINT},
        {"id": 2, "user": "anna", "messages": liked},
        {"messages": EXCHANGE},
        {"id": 4, "messages": EXCHANGE[1:]},
    ]
    write_logs(tmp_path / "my chats.jsonl", *records)
    found = check_logs.Findings(tmp_path / "my chats.jsonl", None)
    said = check_logs.report(found)
    for line in (
        "shape          OpenAI messages (4 records)",
        "keys           messages, id, user, language",
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
    assert (data["labelers"], data["labeler"]) == ({"source": {"kind": "source"}}, "source")


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


def test_texts_of_strangers_move_no_cursor():
    assert check_logs.short("a\n\x1b[2Jb\u202e") == "a \ufffd[2Jb\ufffd"
