"""Endpoints that answer oddly, refuse what is sent, or are not where they are said to be."""

import json

import pytest

from drift.cli import StageError
from tests.endpoints import FaultyEndpoint, canned

LETTERS = {"choices": ["A", "B"], "decoding": None}
SCORE = {"schema": {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}}


def saying(content: object, **changes):
    """A fault: every reply has this content, and these other fields."""
    return lambda _, body: _with(canned(body), content, changes)


def _with(reply: dict, content: object, changes: dict) -> dict:
    reply["choices"][0]["message"]["content"] = content
    return reply | changes


def texts(rows: dict) -> set[str]:
    return {row["text"] for row in rows.values()}


def test_one_odd_reply_costs_its_own_row_and_is_asked_again_alone(ask):
    odd = [7, {"score": 7}, [{"type": "image_url"}], True]
    with FaultyEndpoint(lambda number, body: saying(odd[number])(number, body) if number < len(odd) else None) as server:
        rows = ask(server, 10, concurrency=1)
        assert [row["error"] for row in rows.values()].count(None) == 6
        again = ask(server, 10)
    assert not [row["error"] for row in again.values() if row["error"]]
    assert (ask.usage["calls"], ask.usage["reused"]) == (4, 6)


def test_a_reply_is_kept_as_it_came_and_read_the_same_the_next_time(ask, tmp_path):
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": '{"score": 7}'}]
    with FaultyEndpoint(saying(parts, usage={"prompt_tokens": 3.5, "completion_tokens": None})) as server:
        first = ask(server, 2, settings=SCORE)
        assert ask(server, 2, settings=SCORE) == first
    assert texts(first) == {'{"score": 7}'}
    assert server.calls == 2
    (file,) = tmp_path.rglob("*.jsonl")
    assert json.loads(file.read_text().splitlines()[0])["reply"]["choices"][0]["message"]["content"] == parts
    assert {(row["prompt_tokens"], row["completion_tokens"]) for row in first.values()} == {(0, 0)}


def test_thoughts_before_the_json_that_was_asked_for_are_paid_for_once(ask):
    with FaultyEndpoint(saying('<think>Like {"score": 3}, {x}.</think>\n{"score": 7}')) as server:
        ask(server, 3, settings=SCORE)
        ask(server, 3, settings=SCORE)
    assert server.calls == 3


def test_what_asking_again_may_cost_is_in_the_estimate(ask, capsys):
    with FaultyEndpoint() as server:
        ask(server, 1, settings=SCORE, output_price=1e6)
    assert "50 to write (and again, 2 times at most" in (said := capsys.readouterr().out)
    assert "0.0000 to 150.0000 USD" in said


def test_a_budget_holds_where_the_endpoint_counts_no_tokens(ask, capsys):
    prices = {"input_price": 1000.0, "output_price": 1000.0}
    with FaultyEndpoint(saying("a long answer " * 20, usage=None)) as server:
        with pytest.raises(StageError, match=r"budget of 0\.5 USD .* is spent"):
            ask(server, 40, budget=0.5, concurrency=2, **prices)
        assert 3 < server.calls < 10, "each costs about 0.07 USD"
    assert ask.usage["usd"] == pytest.approx(server.calls * 0.073, abs=0.01)
    assert "came without a count of their tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "share"),
    [
        ({" A": -0.01, "B": -6.0, " B": -5.0}, (0.99, 0.009)),
        ({"A": -1.0, " A": -1.0, "(A": -3.0, "B": -4.0}, (0.785, 0.018)),
        ({"a": -0.01, "B": -6.0}, (0.0, 0.0025)),
        ({"A": 0.0, " A": -3.0}, (1.0, 0.0)),
    ],
)
def test_a_letter_is_summed_over_the_tokens_that_spell_it(ask, first, share):
    def reply(_, body: dict) -> dict:
        answer = canned(body)
        tokens = [{"token": token, "logprob": logprob} for token, logprob in first.items()]
        answer["choices"][0]["logprobs"]["content"] = [tokens[0] | {"top_logprobs": tokens}]
        return answer

    with FaultyEndpoint(reply) as server:
        (row,) = ask(server, 1, settings=LETTERS).values()
    found = [2.718281828 ** one["logprob"] for one in row["choice_logprobs"]]
    assert found == pytest.approx(share, abs=0.001)


@pytest.mark.parametrize("kind", ["no choice", "half a choice"])
def test_an_error_on_a_status_of_200_is_tried_again_and_kept_by_nobody(ask, kind):
    def failed(number: int, body: dict) -> dict | None:
        if number >= 2:
            return None
        if kind == "no choice":
            return {"error": {"message": "the provider failed", "code": 502}}
        reply = canned(body)
        reply["choices"][0] |= {"finish_reason": "error", "error": {"message": "the provider failed"}}
        return reply

    with FaultyEndpoint(failed) as server:
        rows = ask(server, 3, attempts=2, concurrency=1)
        assert "the provider failed" in rows["t:000/0#plain-0"]["error"]
        assert server.calls == 2 + 2
        assert not [row["error"] for row in ask(server, 3).values() if row["error"]]
    assert (ask.usage["calls"], ask.usage["reused"]) == (1, 2)


def test_a_wait_is_every_workers_and_costs_no_attempt_while_others_are_answered(ask):
    busy = (429, {"Retry-After": "1"}, {"error": {"message": "slow down"}})
    with FaultyEndpoint(lambda number, _: busy if number < 4 else None) as server:
        ask(server, 12, concurrency=4, attempts=2)
    assert server.calls == 12 + 4
    gaps = [time - server.times[0] for time in server.times]
    assert max(gaps[:4]) < 1 <= min(gaps[4:]), "nobody asks before the second is over"


def test_a_spent_quota_is_asked_about_once_by_every_worker(ask):
    spent = (429, {}, {"error": {"message": "see your plan", "type": "insufficient_quota"}})
    with FaultyEndpoint(lambda *_: spent) as server, pytest.raises(StageError, match="quota of the account"):
        ask(server, 30, concurrency=4)
    assert server.calls <= 4


def test_what_an_endpoint_refuses_is_left_out_renamed_or_set(ask):
    parameters = {
        "max_tokens": "max_completion_tokens",
        "temperature": None,
        "response_format": None,
        "reasoning": {"effort": "low"},
    }

    def refuses(_, body: dict):
        odd = {"max_tokens", "temperature", "response_format"} & set(body)
        return (400, {}, {"error": {"message": f"no {min(odd)} here"}}) if odd else saying('{"score": 7}')(0, body)

    with FaultyEndpoint(refuses) as server:
        with pytest.raises(StageError, match=r"refuses max_tokens.*endpoint\.parameters"):
            ask(server, 20, settings=SCORE | {"parameters": {"temperature": None, "response_format": None}}, concurrency=1)
        assert server.calls == 1
        rows = ask(server, 2, settings=SCORE | {"parameters": parameters})
        assert texts(rows) == {'{"score": 7}'}
        sent = server.bodies[-1]
        assert (sent["max_completion_tokens"], sent["reasoning"], sent["top_p"]) == (50, {"effort": "low"}, 1.0)
        ask(server, 2, settings=SCORE | {"parameters": parameters | {"top_p": 0.5}})
        assert server.calls == 1 + 2 + 2, "what is sent is part of what was answered"
        ask(server, 2, settings=SCORE | {"parameters": parameters})
        assert server.calls == 5


def test_a_field_of_ours_is_changed_only_where_it_is_sent(ask):
    with FaultyEndpoint() as server:
        ask(server, 1, settings={"parameters": {"top_logprobs": 5, "seed": 3}})
        ask(server, 1, settings=LETTERS | {"parameters": {"top_logprobs": 5}})
    words, letter = server.bodies
    assert not {"top_logprobs", "seed"} & set(words)
    assert letter["top_logprobs"] == 5


@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/chat/completions/"])
def test_one_address_has_one_form_and_its_replies_are_paid_for_once(ask, end):
    with FaultyEndpoint() as server:
        ask(server, 1)
        server.url += end
        ask(server, 1)
        assert (server.calls, server.paths) == (1, ["/v1/chat/completions"])
        server.url = f"{server.url}?api-version=2"
        ask(server, 1)
    assert server.paths[1:] == ["/v1/chat/completions?api-version=2"]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_question_is_named(ask, status):
    def moved(_, body: dict):
        return (status, {"Location": "/login"}, None) if body else (200, {}, {"page": "Welcome"})

    with (
        FaultyEndpoint(moved) as server,
        pytest.raises(StageError, match=rf"redirects to /login \({status}\): give endpoint.url"),
    ):
        ask(server, 1, attempts=2)


def test_a_redirect_that_keeps_the_question_is_followed(ask):
    with FaultyEndpoint() as server:
        there = f"{server.url}/chat/completions"
        server.fault = lambda number, _: (308, {"Location": there}, None) if number == 0 else None
        assert texts(ask(server, 1)) == {"reply to question 0"}


@pytest.mark.parametrize("around", ["{}\n", " {} ", "\ufeff{}", '"{}"', "'{}'\r\n"])
def test_what_a_shell_leaves_around_a_key_is_not_part_of_it(ask, monkeypatch, around):
    monkeypatch.setenv("JUDGE_KEY", around.format("sesame"))
    with FaultyEndpoint() as server:
        ask(server, 1, key="JUDGE_KEY")
    assert server.headers[0]["Authorization"] == "Bearer sesame"


@pytest.mark.parametrize("key", ["sesame\nstreet", "two words", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_by_its_variable_alone(ask, monkeypatch, key):
    monkeypatch.setenv("JUDGE_KEY", key)
    with FaultyEndpoint() as server, pytest.raises(StageError, match="variable JUDGE_KEY") as refused:
        ask(server, 1, key="JUDGE_KEY")
    assert key not in str(refused.value)
