"""Every question becomes a row of Judgments, with its verdict or the reason why there is none."""

import subprocess
import sys

import pytest

import judgments
from drift import cli, tables
from drift.judging import prompts
from tests.builders.judging import (
    LETTER,
    QUESTION,
    SCORE,
    answers,
    completions_of,
    judged,
    judgment_settings,
    letters,
    requests_of,
    tasks_of,
)
from tests.conftest import REPOSITORY


def test_an_endpoints_failure_is_the_reason_of_its_rows_alone():
    def reply(request):
        failed = {"error": "HTTP 400: context length", "finish_reason": "error"}
        return failed if request["prompt_id"] == "s:1/0" else {"text": '{"score": 3}'}

    rows = judged(SCORE, reply)
    assert [row["error"] for row in rows] == [None, "HTTP 400: context length", None]
    assert [row["score"] for row in rows] == [3.0, None, 3.0]


def test_an_answer_too_long_for_the_judge_is_a_row_with_the_reason_and_the_others_are_judged(tokenizer):
    rows = judged(LETTER, lambda _: letters(0.5, 0.5), "river " * 9000, "Short.", tokenizer=tokenizer)
    assert {(row["prompt_id"], row["error"]) for row in rows} == {("s:0/0", prompts.TOO_LONG), ("s:1/0", None)}


def test_a_request_without_a_reply_is_an_error_and_no_draw():
    tasks, given = tasks_of(QUESTION), answers("One.")
    requests, _ = requests_of(LETTER, tasks, given)
    with pytest.raises(cli.StageError, match="2 requests have no reply"):
        judgments.judge(tasks, given, requests, tables.Completions.create_empty(), judgment_settings(LETTER))


@pytest.fixture
def judged_answers(tmp_path):
    """A folder with two scored answers, of which the judge gave one a verdict; returns the program
    to call."""
    tasks, given = tasks_of(QUESTION, QUESTION), answers("One.", "Two.")
    requests, _ = requests_of(SCORE, tasks, given, context=4096)
    texts = {"s:0/0": '{"score": 5}', "s:1/0": "I would rather not say."}
    completions = completions_of(requests, lambda request: {"text": texts[request["prompt_id"]]})
    for name, schema, table in (
        ("tasks", tables.Tasks, tasks),
        ("responses", tables.Responses, given),
        ("requests", tables.Requests, requests),
        ("completions", tables.Completions, completions),
    ):
        tables.write_table(table, schema, tmp_path / f"{name}.parquet")

    def program(min_verdicts: float) -> subprocess.CompletedProcess:
        command = [sys.executable, str(REPOSITORY / "scripts/judgments.py"), "--judgments", "judgments.parquet"]
        for name in ("tasks", "responses", "requests", "completions"):
            command += [f"--{name}", f"{name}.parquet"]
        command += ["--min-verdicts", str(min_verdicts), "--settings", judgment_settings(SCORE).canonical()]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return program


def test_too_few_verdicts_fail_the_stage_with_reasons_and_a_sample(judged_answers, tmp_path):
    refused = judged_answers(min_verdicts=0.95)
    assert refused.returncode == 1
    assert "only 1 of 2 questions got a verdict" in refused.stderr
    assert "1: no score in the reply" in refused.stdout
    assert "I would rather not say." in refused.stdout
    assert not (tmp_path / "judgments.parquet").exists()
    assert judged_answers(min_verdicts=0.5).returncode == 0
    assert tables.read_table(tables.Judgments, tmp_path / "judgments.parquet")["score"].to_list() == [5.0, None]
