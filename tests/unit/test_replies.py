"""Whatever an endpoint sends is an answer or a fault of its row, and never a traceback."""

import json
import math

import pytest

from drift.engines.replies import choice_of, error_of, read, well_formed, words_of


def reply(content: object = "ok", **changes) -> dict:
    message = changes.pop("message", {"role": "assistant", "content": content})
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    choice = {"index": 0, "message": message, "finish_reason": "stop"} | changes.pop("choice", {})
    return {"model": "judge-2026", "choices": [choice], "usage": usage} | changes


def with_first(first: object) -> dict:
    return reply("A", choice={"logprobs": {"content": [first]}})


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("ok", "ok"),
        (None, ""),
        ([], ""),
        ([THOUGHT], ""),
        ([THOUGHT, {"type": "text", "text": "7"}], "7"),
        ([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}, "c"], "abc"),
        ([{"text": "a"}, None, 3, {"type": "text", "text": None}], "a"),
        ({"type": "text", "text": "a"}, "a"),
        ("half an emoji \ud83d", "half an emoji \ufffd"),
        ([{"type": "text", "text": "\udc00"}], "\ufffd"),
        ("nul \x00", "nul \x00"),
    ],
)
def test_the_text_of_a_content_is_that_of_its_text_parts(content, text):
    answer = read(json.loads(json.dumps(reply(content))))
    assert (answer.text, answer.fault) == (text, None)
    answer.text.encode()


@pytest.mark.parametrize("content", [7, 7.5, True, {"score": 7}, [{"type": "image_url"}], [{"type": ["text"]}], [1, 2]])
def test_a_content_that_is_no_text_is_a_fault_of_its_row(content):
    assert "no text" in read(reply(content)).fault


@pytest.mark.parametrize(
    ("first", "logprobs"),
    [
        ({"token": "A", "logprob": -0.1, "top_logprobs": None}, {"A": -0.1}),
        ({"token": "A", "logprob": -0.1}, {"A": -0.1}),
        ({"token": "A", "logprob": None, "top_logprobs": [{"token": "B", "logprob": -2}]}, {"B": -2.0}),
        ({"token": "A", "logprob": math.nan, "top_logprobs": [{"token": "B", "logprob": -math.inf}]}, None),
        ({"token": "A", "logprob": 1e-6, "top_logprobs": "none"}, {"A": 0.0}),
        ({"token": "A", "logprob": 0.9}, None),
        ({"token": "A", "logprob": "-0.1"}, None),
        ({"token": None, "logprob": -0.1, "top_logprobs": [None, 3, {"token": "B"}]}, None),
        ({"token": "\ud83d", "logprob": -0.1}, {"\ufffd": -0.1}),
        ({}, None),
        (None, None),
        ("A", None),
    ],
)
def test_only_finite_logprobs_of_tokens_count(first, logprobs):
    assert read(with_first(first)).first == logprobs


@pytest.mark.parametrize("logprobs", [None, [], "x", {"content": None}, {"content": []}, {"content": {}}, {"tokens": ["A"]}])
def test_logprobs_of_another_form_are_none(logprobs):
    assert read(reply("A", choice={"logprobs": logprobs})).first is None


@pytest.mark.parametrize(
    ("count", "tokens"),
    [
        (12, 12),
        (12.0, 12),
        (0, 0),
        *((value, None) for value in (3.5, None, "12", -1, True, [1], math.nan, math.inf, 10**400, 2**40)),
    ],
)
def test_a_count_of_tokens_is_a_whole_number_or_missing(count, tokens):
    assert read(reply(usage={"prompt_tokens": count, "completion_tokens": 5})).read == tokens


@pytest.mark.parametrize("usage", [None, [], "none", 3, {}])
def test_a_usage_of_another_form_is_missing(usage):
    answer = read(reply(usage=usage))
    assert (answer.read, answer.written) == (None, None)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("STOP", "stop"),
        ("end_turn", "stop"),
        ("MAX_TOKENS", "length"),
        ("content_filter", "content_filter"),
        *((odd, "unknown") for odd in (None, "", 3, ["stop"])),
    ],
)
def test_how_a_reply_ended_has_one_name(written, reason):
    assert read(reply(choice={"finish_reason": written})).finish_reason == reason


@pytest.mark.parametrize("model", [None, 3, "", ["m"]])
def test_a_model_that_is_no_name_is_missing(model):
    assert read(reply(model=model)).model is None


@pytest.mark.parametrize("refusal", ["I will not.", {"message": "I will not."}, ["I will not."]])
def test_a_refusal_is_text(refusal):
    assert read(reply(message={"content": None, "refusal": refusal})).refusal == "I will not."
    assert read(reply([{"type": "refusal", "refusal": "I will not."}])).refusal == "I will not."


def test_the_choice_with_index_0_counts_and_any_is_better_than_none():
    one, two = ({"index": number, "message": {"content": str(number)}} for number in (0, 1))
    assert choice_of({"choices": [two, one]})["message"]["content"] == "0"
    assert choice_of({"choices": [{"message": None}, two]})["message"]["content"] == "1"


NO_MESSAGE = [None, [], 3, "x", {}, {"choices": None}, {"choices": []}, {"choices": {}}, {"choices": [None]}]
NO_MESSAGE += [{"choices": [{"message": "hi"}]}, {"choices": [{"text": "hi"}]}]


@pytest.mark.parametrize("body", NO_MESSAGE, ids=str)
def test_what_holds_no_message_is_no_reply(body):
    with pytest.raises(ValueError, match="no message"):
        well_formed(json.dumps(body).encode())
    assert read(body).fault, "not even where it was kept before"


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"choices": ['], ids=repr)
def test_what_is_not_json_is_no_reply(content):
    with pytest.raises(ValueError, match="not JSON"):
        well_formed(content)
    assert error_of(content) is None


@pytest.mark.parametrize("reason", ["error", "ERROR", "abort", "cancelled"])
def test_a_reply_that_says_it_failed_has_failed(reason):
    broken = reply("half of", choice={"finish_reason": reason, "error": {"message": "it went away"}})
    with pytest.raises(ValueError, match=f"ended with {reason}: it went away"):
        well_formed(json.dumps(broken).encode())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "slow\ndown"}}, "slow down"),
        ({"error": "slow down"}, "slow down"),
        ({"detail": "slow down"}, "slow down"),
        ({"message": "slow down"}, "slow down"),
        ([{"error": {"message": "slow down", "status": "X"}}], "slow down"),
        ({"detail": [{"loc": ["body", "top_k"], "msg": "extra field"}]}, "body.top_k: extra field"),
        ("slow down", "slow down"),
        ({"error": {"code": 3}}, "{'code': 3}"),
    ],
)
def test_the_words_of_an_error_are_found_in_what_wraps_them(body, words):
    assert words_of(body) == words


def test_an_error_in_place_of_a_message_is_found():
    assert error_of(b'{"error": {"code": 502}}') == {"code": 502}
    assert error_of(b'[{"error": "down"}]') == {"message": "down"}
    assert error_of(json.dumps(reply() | {"error": {"message": "x"}}).encode()) is None, "there is a message"
