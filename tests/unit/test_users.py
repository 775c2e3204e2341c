"""Simulated users ask for what code can check, and their conversations are logs like any others."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import user_logs
import user_requests
from drift import layout, tables
from drift.benchmarks.checks import read_prompts
from drift.checks import Check
from drift.checks.users import AGAIN, FIRST, PLEASE, THANKS, asks_again, complaint, replies
from drift.cli import StageError
from drift.config import Data
from drift.settings.data import UserSettings
from drift.sources import logs
from drift.workflow.simulation import Simulations

SHORT = {"name": "words", "arguments": {"at_most": 3}}
SETTINGS = UserSettings(
    source="users", max_prompts=None, samples=1, context=512, max_tokens=64, wrong=0.0, ask_again=1.0, seed=1
)


@pytest.fixture
def prompts(tmp_path) -> Path:
    """Three prompts that ask for at most three words."""
    lines = [json.dumps({"id": str(i), "prompt": f"Name owl {i}.", "checks": [SHORT]}) + "\n" for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text("".join(lines))
    return tmp_path / "prompts.jsonl"


def answered(requests: pl.DataFrame, texts: list[str], finish: list[str] | None = None) -> pl.DataFrame:
    """Completions of requests in the order of their ids."""
    rows = {"request_id": requests["request_id"].sort(), "text": texts, "finish_reason": finish or ["stop"] * len(texts)}
    return pl.DataFrame(rows)


def talk(prompts: Path, first: list[str], second: list[str], **how) -> list[dict]:
    """The conversations about the prompts where the model answers so."""
    settings, tasks = SETTINGS.model_copy(update=how), read_prompts(prompts)
    asked, _ = user_requests.build(user_requests.first_questions(tasks, settings), FIRST, None, settings)
    done = answered(asked, first)
    again, _ = user_requests.build(user_requests.second_questions(tasks, replies(asked, done), settings), AGAIN, None, settings)
    rounds = replies(asked, done), replies(again, answered(again, second[: again.height]))
    return list(user_logs.conversations(tasks, *rounds, settings))


def test_a_user_says_what_is_wrong_and_asks_once_more(prompts):
    made = talk(
        prompts, ["Barn owl.", "I do not know any owl.", "A very long answer too."], ["Snowy owl.", "Still many words again."]
    )
    thumbs = [[message["feedback"]["thumbs"] for message in one["messages"] if "feedback" in message] for one in made]
    assert thumbs == [["up"], ["down", "up"], ["down", "down"]]
    wrong = "I asked for at most 3 words."
    assert made[1]["messages"][1]["feedback"]["comment"] == wrong
    assert made[1]["messages"][2] == {"role": "user", "content": f"{wrong} {PLEASE}"}
    assert made[1]["messages"][3]["feedback"]["comment"] == THANKS


@pytest.mark.parametrize(
    ("texts", "context", "fault"),
    [
        (["Owl."] * 3, 512, "nobody whom a reply disappointed asks again.*set data.sources.users.simulation.ask_again to 0"),
        (["No " * 900] * 3, 512, "all 3 questions are over the .*; raise data.sources.users.simulation.context"),
        (None, 65, "all 3 questions are over the .*; raise data.sources.users.simulation.context"),
    ],
)
def test_the_error_says_why_users_ask_nothing(prompts, monkeypatch, texts, context, fault):
    settings, tables_of = SETTINGS.model_copy(update={"context": context}), []
    if texts:
        asked, _ = user_requests.build(user_requests.first_questions(read_prompts(prompts), SETTINGS), FIRST, None, SETTINGS)
        counted = {"prompt_tokens": 1, "completion_tokens": 1, "policy_hash": "x", "error": None, "thought": None}
        done = answered(asked, texts).with_columns(
            *(pl.lit(value).alias(name) for name, value in counted.items()), choice_logprobs=None
        )
        for name, schema, rows in (("requests", tables.Requests, asked), ("completions", tables.Completions, done)):
            tables.write_table(rows, schema, prompts.parent / f"{name}.parquet")
            tables_of += [f"--{name}", str(prompts.parent / f"{name}.parquet")]
    written = ["--questions", str(prompts.parent / "questions.parquet")]
    command = ["user_requests.py", "--settings", settings.canonical(), "--prompts", str(prompts), *tables_of, *written]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(StageError, match=fault):
        user_requests.main()


def test_the_conversations_are_read_as_logs_with_labels_and_comments(prompts, tmp_path):
    made = talk(prompts, ["Barn owl.", "I do not know any owl.", "Owl."], ["Snowy owl."])
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in made))
    counts = Counter()
    frames = list(logs.read([tmp_path / "logs.jsonl"], counts))
    assert sum(frame["id"].n_unique() for frame in frames) == 3
    assert not any(counts[reason] for reason in logs.DROPS)


def test_a_reply_that_was_cut_makes_no_conversation(prompts):
    tasks = read_prompts(prompts)
    asked, _ = user_requests.build(user_requests.first_questions(tasks, SETTINGS), FIRST, None, SETTINGS)
    done = answered(asked, ["Barn owl."] * 3, ["stop", "length", "stop"])
    made = list(user_logs.conversations(tasks, replies(asked, done), iter(()), SETTINGS))
    assert [one["id"] for one in made] == ["0-0", "2-0"]


def test_users_err_as_often_as_they_are_told_to_and_by_the_same_coins_each_time():
    check = [Check.of("words", {"at_most": 3})]
    says = [[complaint(check, "One two.", 0.3, 7, number) for number in range(2000)] for _ in range(2)]
    assert says[0] == says[1]
    assert 0.26 < sum(one is not None for one in says[0]) / 2000 < 0.34
    assert complaint(check, "one two three four", 1.0, 7) is None
    assert 0.46 < sum(asks_again(0.5, number) for number in range(2000)) / 2000 < 0.54


def test_a_question_that_does_not_fit_the_model_is_left_out(prompts):
    settings = SETTINGS.model_copy(update={"context": 65})
    requests, too_long = user_requests.build(
        user_requests.first_questions(read_prompts(prompts), settings), FIRST, None, settings
    )
    assert (requests.height, too_long) == (0, 3)


def test_a_prompt_with_a_check_that_does_not_exist_is_refused_with_its_place(tmp_path):
    (tmp_path / "p.jsonl").write_text(json.dumps({"id": 1, "prompt": "Why?", "checks": [{"name": "wrods"}]}))
    with pytest.raises(StageError, match=r"p.jsonl, record 1: checks: there is no 'wrods', did you mean 'words'"):
        read_prompts(tmp_path / "p.jsonl")


def source(**changes) -> dict:
    """A configuration's data with simulated users."""
    row = {"kind": "simulated", "path": "p.jsonl", "simulation": {"path": "hf:x/y@z"} | changes}
    return Data.model_validate({"sources": {"users": row}}).model_dump()


def test_nobody_is_asked_again_where_no_user_asks_again():
    about = SimpleNamespace(source="users")
    for share, expected in ((0.0, []), (0.5, "results/run/data/simulated/users/again/requests.parquet")):
        simulations = Simulations({"data": source(ask_again=share)}, layout.paths("results/run"), pinned=str)
        assert simulations.again(about)["again_requests"] == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"kind": "simulated", "path": "p"}, "the deployed model that simulated users talk to"),
        ({"kind": "logs", "path": "p", "simulation": {"path": "hf:x/y@z"}}, "kind simulated, and no other"),
        ({"kind": "simulated", "path": "p", "simulation": {}}, "give either path"),
        ({"kind": "simulated", "path": "p", "simulation": {"path": "m", "context": 128}}, "leaves no room"),
        (
            {"kind": "simulated", "path": "p", "simulation": {"path": "m", "samples": 2, "decoding": {"temperature": 0.0}}},
            "2 times the same",
        ),
    ],
)
def test_a_simulation_that_cannot_be_is_refused(row, message):
    with pytest.raises(ValueError, match=message):
        Data.model_validate({"sources": {"users": row}})


def test_some_of_the_prompts_are_asked_the_same_ones_every_time(prompts):
    tasks = read_prompts(prompts)
    few = SETTINGS.model_copy(update={"max_prompts": 2})
    asked = [prompt_id for prompt_id, _, _ in user_requests.first_questions(tasks, few)]
    assert len(asked) == 2
    assert asked == [prompt_id for prompt_id, _, _ in user_requests.first_questions(tasks, few)]
    assert len(list(user_requests.first_questions(tasks, SETTINGS))) == 3
