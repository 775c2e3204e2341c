"""What a labeler is checked on, and what is said of files that are none of it."""

import json
import sys

import polars as pl
import pytest

import check_labels
from drift.cli import StageError


def conversation(*texts: str) -> dict:
    """A conversation with the id "a", of a question, a reply, and so on."""
    turns = zip(("user", "assistant") * len(texts), texts, strict=False)
    return {"id": "a", "messages": [{"role": role, "content": text} for role, text in turns]}


def called(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["check_labels.py", *map(str, arguments)])
    check_labels.main()


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id": "a", "turn_index": 2, "label": "SAT", "half": 1}\n')
    return path


def test_of_conversations_with_one_id_the_first_is_read_and_no_turn_of_another(tmp_path):
    both = conversation("Hi", "Hello", "Thanks", "Welcome"), conversation("Who?", "I", "No", "You", "Still wrong", "He")
    path = tmp_path / "logs.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in both))
    assert check_labels.read_conversations("logs", path)["user"].to_list() == ["Hi", "Thanks"]


def test_a_half_is_found_that_the_file_has_as_a_number(tmp_path, gold, monkeypatch, capsys):
    logs = tmp_path / "logs.jsonl"
    logs.write_text(json.dumps(conversation("Hi", "Hello", "Thanks", "Welcome")))
    called(monkeypatch, gold, "--labeler", "lexical", "--half", "1", "--conversations", f"logs={logs}")
    assert "1 of 1 labels found" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["none", "text", "other"])
def test_a_table_that_is_none_of_a_run_is_refused_in_a_line(tmp_path, gold, monkeypatch, content):
    table = tmp_path / "turns.parquet"
    if content == "text":
        table.write_text("no Parquet")
    elif content == "other":
        pl.DataFrame({"conversation_id": ["s:a"], "turn": [0], "label": ["SAT"]}).write_parquet(table)
    said = r"no column user, response, feedback" if content == "other" else "not a readable table of a run"
    with pytest.raises(StageError, match=rf"turns\.parquet: .*{said}"):
        called(monkeypatch, gold, "--labeler", "lexical", "--turns", table, "--source", "s")


def test_a_file_without_conversations_is_refused_in_a_line(tmp_path, gold, monkeypatch):
    empty = tmp_path / "logs.jsonl"
    empty.write_text("")
    with pytest.raises(StageError, match=r"logs\.jsonl: no conversation in it"):
        called(monkeypatch, gold, "--labeler", "lexical", "--conversations", f"logs={empty}")
