"""Models behind endpoints: every request is answered once or listed with its reason, and nothing is
paid for twice."""

import json
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from drift import tables
from drift.cli import StageError
from tests.conftest import REPOSITORY, STAGE_PYTHON
from tests.endpoints import DECODING, FaultyEndpoint, asked, runtime_of, settings_of


def test_every_request_gets_its_own_answer_and_no_more_are_open_than_allowed(ask):
    with FaultyEndpoint(delay=0.02) as server:
        rows = ask(server, 40, concurrency=8)
    assert {row["text"] for row in rows.values()} == {f"reply to question {number}" for number in range(40)}
    assert all(row["text"].endswith(f" {int(request_id[2:5])}") for request_id, row in rows.items())
    assert server.most_open == 8, "as many as are configured are in flight at once"
    one = rows["t:000/0#plain-0"]
    assert (one["prompt_tokens"], one["completion_tokens"], one["finish_reason"]) == (10, 5, "stop")
    assert one["policy_hash"] == "judge-2026", "the model's name as the endpoint reports it"


@pytest.mark.parametrize("fault", ["429", "500", "timeout", "cut", "empty", "html"])
def test_a_passing_fault_costs_a_call_and_no_answer(ask, fault):
    with FaultyEndpoint(lambda number, _: fault if number < 3 else None) as server:
        rows = ask(server, 6, concurrency=3)
    assert not [row["error"] for row in rows.values() if row["error"]]
    assert ask.usage["calls"] == server.calls == 6 + 3
    assert (ask.usage["answered"], ask.usage["failed"]) == (6, 0)


def test_retry_after_is_obeyed(ask):
    with FaultyEndpoint(lambda number, _: "429" if number == 0 else None) as server:
        started = time.monotonic()
        ask(server, 1)
    assert time.monotonic() - started >= 0.3, "the server asked for 0.3 s"


def question(number: int):
    return lambda _, body: body["messages"][-1]["content"] == f"question {number}"


@pytest.mark.parametrize(
    ("fault", "calls", "reason"),
    [
        ("context", 1, "maximum context length"),
        ("500", 2, "500: out of order"),
        ("timeout", 2, "APITimeoutError"),
        ("cut", 2, "APIConnectionError"),
        ("html", 2, "not JSON but b'<html>"),
        ("empty", 2, "not JSON"),
        ("wordless", 1, "wrote nothing"),
    ],
)
def test_a_request_that_fails_for_good_says_why_and_is_asked_again_alone(ask, fault, calls, reason):
    bad = question(2)
    with FaultyEndpoint(lambda number, body: fault if bad(number, body) else None) as server:
        rows = ask(server, 5, attempts=2, concurrency=1)
        failed = rows["t:002/0#plain-0"]
        assert (failed["finish_reason"], failed["text"]) == ("error", "")
        assert reason in failed["error"]
        assert [row["error"] for row in rows.values()].count(None) == 4
        assert ask.usage["calls"] == server.calls == 4 + calls
        server.fault = lambda *_: None
        again = ask(server, 5)
    assert again["t:002/0#plain-0"]["text"] == "reply to question 2"
    assert (ask.usage["calls"], ask.usage["reused"]) == (1, 4)


def test_what_was_answered_is_never_asked_again_whatever_else_is_asked(ask):
    with FaultyEndpoint() as server:
        ask(server, 4)
        renamed = [request | {"request_id": f"other-{request['seed']}"} for request in asked(6)]
        rows = ask(server, renamed)
        assert rows["other-3"]["text"] == "reply to question 3"
        assert (ask.usage["reused"], ask.usage["answered"], server.calls) == (4, 2, 6)
        ask(server, 1, settings={"decoding": DECODING | {"max_tokens": 51}})
        assert server.calls == 7, "another decoding is another question"


def test_equal_requests_are_asked_once_and_samples_apart(ask):
    (one,) = asked(1)
    twin, sample = one | {"request_id": "twin"}, one | {"request_id": "second", "sample": 1}
    with FaultyEndpoint() as server:
        rows = ask(server, [one, twin, sample])
    assert set(rows) == {one["request_id"], "twin", "second"}
    assert server.calls == 2


@pytest.mark.parametrize("parameters", [{"seed": None}, {"temperature": None, "seed": None}, {"seed": 7}])
def test_votes_are_asked_apart_where_the_endpoint_gets_no_seed_of_theirs(ask, parameters):
    (one,) = asked(1)
    votes = [one | {"request_id": f"vote {seed}", "seed": seed} for seed in range(3)]
    settings = {"decoding": DECODING | {"temperature": 0.7}, "parameters": parameters}
    with FaultyEndpoint() as server:
        assert len(ask(server, votes, settings=settings)) == server.calls == 3
        ask(server, votes, settings=settings)
        assert (ask.usage["reused"], server.calls) == (3, 3), "and are not paid for again"


def test_an_endpoint_with_a_temperature_of_its_own_is_asked_for_each_vote(ask):
    (one,) = asked(1)
    votes = [one | {"request_id": f"vote {seed}", "seed": seed} for seed in range(3)]
    with FaultyEndpoint() as server:
        ask(server, votes)
        assert server.calls == 1, "without sampling they are the same"
        ask(server, votes, settings={"parameters": {"temperature": None}})
    assert server.calls == 4


def test_an_answer_among_choices_carries_the_logprobs_of_each(ask):
    with FaultyEndpoint() as server:
        (row,) = ask(server, 1, settings={"choices": ["A", "B"], "decoding": None}).values()
    assert row["choice_logprobs"] == [{"choice": "A", "logprob": -0.1}, {"choice": "B", "logprob": -9999.0}]
    assert (server.bodies[0]["logprobs"], server.bodies[0]["max_tokens"]) == (True, 1)


def test_a_judge_whose_first_token_ends_its_turn_has_judged_all_the_same(ask):
    with FaultyEndpoint(lambda *_: "wordless") as server:
        (row,) = ask(server, 1, settings={"choices": ["A", "B"], "decoding": None}).values()
    assert (row["error"], row["text"]) == (None, "A"), "the likeliest of its first tokens"
    assert row["choice_logprobs"][0] == {"choice": "A", "logprob": -0.1}


def test_a_reply_without_logprobs_is_a_failed_row(ask):
    with FaultyEndpoint(lambda number, _: "no logprobs" if number == 0 else None) as server:
        rows = ask(server, 3, settings={"choices": ["A", "B"], "decoding": None}, concurrency=1)
    errors = [row["error"] for row in rows.values() if row["error"]]
    assert len(errors) == 1
    assert "no logprobs" in errors[0]
    assert server.calls == 3, "it was paid for, and is not asked again by itself"


LETTERS = {"choices": ["A", "B"], "decoding": None}


def test_of_an_endpoint_that_never_gives_logprobs_the_written_letters_are_the_answers(ask):
    with FaultyEndpoint(lambda *_: "no logprobs") as server:
        rows = ask(server, 4, settings=LETTERS)
        assert {(row["text"], row["choice_logprobs"], row["error"]) for row in rows.values()} == {("A", None, None)}
        assert (ask.usage["answered"], ask.usage["failed"]) == (4, 0)
        ask(server, 6, settings=LETTERS)
        assert (ask.usage["calls"], ask.usage["reused"]) == (2, 4), "they were paid for"
        server.fault = lambda *_: None
        rows = ask(server, 20, settings=LETTERS)
        assert sum(row["error"] == "the reply has no logprobs" for row in rows.values()) == 6, "it gives them after all"
        assert (ask.usage["answered"], ask.usage["failed"], ask.usage["reused"]) == (14, 6, 0)
        rows = ask(server, 20, settings=LETTERS)
    assert not [row["error"] for row in rows.values() if row["error"]]
    assert (ask.usage["calls"], ask.usage["reused"]) == (6, 14)


def test_a_reply_that_is_neither_a_letter_nor_has_logprobs_is_a_failed_row(ask):
    with (
        FaultyEndpoint(lambda *_: "no logprobs") as server,
        pytest.raises(StageError, match="4 of them: the reply has no logprobs, and is none of B, C"),
    ):
        ask(server, 4, settings={"choices": ["B", "C"], "decoding": None})


def test_a_schema_and_every_decoding_value_that_says_something_are_sent(ask):
    schema = {"type": "object", "properties": {"why": {"type": "string"}, "score": {"type": "integer"}}}
    decoding = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05, "max_tokens": 50}
    with FaultyEndpoint() as server:
        ask(server, 1, settings={"schema": schema, "decoding": decoding})
        ask(server, 1)
        ask(server, 1, settings={"decoding": DECODING | {"stop": ["\nUser:"]}})
    sampled, greedy, stopped = server.bodies
    assert {name: sampled[name] for name in decoding} == decoding
    sent = sampled["response_format"]["json_schema"]["schema"]
    assert (sent, list(sent["properties"])) == (schema, ["why", "score"]), "in this order, too"
    assert "seed" in sampled
    assert not {"top_k", "repetition_penalty", "seed", "stop"} & set(greedy), "OpenAI refuses the first two"
    assert stopped["stop"] == ["\nUser:"]


def test_a_reply_that_is_not_the_json_that_was_asked_for_is_asked_for_again_alone(ask):
    schema = {"schema": {"type": "object", "properties": {"score": {"type": "integer"}}}}
    with FaultyEndpoint(lambda number, _: "no json" if number == 0 else None) as server:
        rows = ask(server, 3, settings=schema, concurrency=1)
        assert {row["text"] for row in rows.values()} == {'{"score": 7}'}
        assert (ask.usage["calls"], ask.usage["answered"]) == (4, 3)
        bad = question(4)
        server.fault = lambda number, body: "no json" if bad(number, body) else None
        rows = ask(server, 5, settings=schema)
        last = rows["t:004/0#plain-0"]
        assert (last["text"], last["error"]) == ("I would say 7.", None), "asked three times, it is an answer all the same"
        assert (ask.usage["calls"], ask.usage["answered"], ask.usage["reused"]) == (1 + 3, 2, 3)
        server.fault = lambda *_: None
        rows = ask(server, 5, settings=schema)
    assert rows["t:004/0#plain-0"]["text"] == "I would say 7."
    assert (ask.usage["calls"], ask.usage["reused"]) == (0, 5), "and it is not paid for a fourth time"


def test_a_missing_key_is_named_before_anything_is_sent(ask, monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with FaultyEndpoint() as server:
        with pytest.raises(StageError, match="set the environment variable JUDGE_KEY"):
            ask(server, 1, key="JUDGE_KEY")
        assert server.calls == 0
        monkeypatch.setenv("JUDGE_KEY", "sesame")
        ask(server, 1, key="JUDGE_KEY")
    assert server.headers[0]["Authorization"] == "Bearer sesame"


@pytest.mark.parametrize(("fault", "cause"), [("401", "refuses the key"), ("404", "has no model judge")])
def test_what_concerns_every_request_ends_the_job_at_once(ask, fault, cause):
    with FaultyEndpoint(lambda *_: fault) as server, pytest.raises(StageError, match=cause):
        ask(server, 200, concurrency=4)
    assert server.calls <= 4


def test_a_server_that_is_down_is_an_error_and_not_two_thousand_failed_rows(ask):
    with FaultyEndpoint() as server:
        pass
    with pytest.raises(StageError, match="does not answer"):
        ask(server, 2000, attempts=2)


def test_a_server_that_breaks_down_on_the_way_ends_the_job_and_its_answers_are_kept(ask):
    with FaultyEndpoint(lambda number, _: None if number < 30 else "500") as server:
        with pytest.raises(StageError, match=r"in a row got no answer.*kept"):
            ask(server, 500, attempts=1, concurrency=4)
        assert server.calls < 60
        server.fault = lambda *_: None
        assert len(ask(server, 500)) == 500
    assert ask.usage["reused"] == 30


def test_too_many_failures_fail_the_job_with_the_commonest_reason(ask):
    with FaultyEndpoint(lambda number, _: "context" if number % 2 else None) as server:
        with pytest.raises(StageError, match=r"10 of 20 requests failed.*maximum context length.*kept"):
            ask(server, 20, max_failed=0.1, concurrency=1)
        server.fault = lambda *_: None
        ask(server, 20)
    assert ask.usage["calls"] == 10


def test_the_budget_is_never_exceeded_and_what_it_paid_for_is_kept(ask, capsys):
    # 10 tokens read and 5 written at 1 USD a token; a request may cost 2 + 50 USD.
    prices = {"input_price": 1e6, "output_price": 1e6}
    with FaultyEndpoint() as server:
        with pytest.raises(StageError, match=r"budget of 120 USD .* is spent"):
            ask(server, 20, budget=120.0, **prices)
        paid = server.calls
        assert 120 - 52 < paid * 15 <= 120
        assert ask.usage["usd"] == paid * 15
        ask(server, 20, budget=2000.0, **prices)
    assert ask.usage["reused"] == paid
    assert "40.0000 to 1040.0000 USD of a budget of 120" in capsys.readouterr().out, "an estimate before the first call"


def test_a_budget_that_cannot_do_is_refused_before_the_first_call(ask):
    with FaultyEndpoint() as server, pytest.raises(StageError, match=r"raise endpoint\.budget"):
        ask(server, 100, budget=1.0, input_price=1e6)
    assert server.calls == 0


def test_a_torn_line_in_the_store_costs_one_question(ask, tmp_path):
    with FaultyEndpoint() as server:
        ask(server, 3)
        (kept,) = (tmp_path / "state").rglob("*.jsonl")
        kept.write_bytes(kept.read_bytes()[:-20])
        assert len(ask(server, 3)) == 3
    assert server.calls == 4


def command(folder, server: FaultyEndpoint, count: int, **runtime) -> list[str]:
    """The stage as the pipeline calls it."""
    tables.write_table(
        pl.DataFrame(asked(count), schema=tables.Requests.create_empty().schema), tables.Requests, folder / "requests.parquet"
    )
    return [
        str(STAGE_PYTHON),
        str(REPOSITORY / "scripts/generate.py"),
        f"--requests={folder / 'requests.parquet'}",
        *("--shard", "1", "1"),
        "--policy",
        "--manifest",
        f"--settings={settings_of(server.url).canonical()}",
        f"--engine={runtime_of(server.url, **runtime).canonical()}",
        f"--state={folder / 'state'}",
        f"--completions={folder / 'completions.parquet'}",
        f"--usage={folder / 'completions.json'}",
    ]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_job_that_is_killed_asks_only_the_rest_when_it_runs_again(tmp_path, name):
    with FaultyEndpoint(delay=0.1) as server:
        job = command(tmp_path, server, 60, concurrency=4, timeout=5.0)
        process = subprocess.Popen(job, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT)
        while server.served < 20 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(getattr(signal, name))
        printed, _ = process.communicate(timeout=60)
        assert process.returncode != 0
        assert not (tmp_path / "completions.parquet").exists()
        before = server.calls
        done = subprocess.run(job, capture_output=True, text=True, check=True)
    usage = json.loads((tmp_path / "completions.json").read_text())
    # Only what was on its way when the process died may have been paid for in vain.
    assert 60 - before <= usage["calls"] <= 60 - before + (4 if name == "SIGKILL" else 0)
    assert usage["calls"] == server.calls - before
    assert usage["reused"] + usage["answered"] == usage["requests"] == 60
    assert f"{usage['calls']} calls" in done.stdout
    if name == "SIGTERM":
        assert "stopped by a signal. What was answered is kept" in printed
    assert tables.read_table(tables.Completions, tmp_path / "completions.parquet")["error"].null_count() == 60


def test_a_full_disk_stops_the_spending(ask, monkeypatch):
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: real(Path("/dev/full"), "wb"))
    with FaultyEndpoint(delay=0.01) as server, pytest.raises(OSError, match="No space left on device"):
        ask(server, 100, concurrency=2)
    assert server.calls <= 4, "what cannot be kept is not paid for"
