"""Why an endpoint does not answer: what is tried again, how long it waits, and what ends a job with
its cure."""

import ssl
import time
from email.utils import formatdate

import httpx2
import openai
import pytest

from drift.engines.refusals import LONGEST_WAIT, Asked, of_error, of_status, wait_of

ASKED = Asked("https://host/v1", "judge", "KEY", (), answered=False)
FIELDS = ("model", "messages", "max_tokens", "temperature", "top_p", "logprobs", "top_logprobs", "response_format", "seed")


def refusal(status: int | None, message: str, *, answered: bool = False, headers: dict | None = None, **error):
    asked = Asked("http://host/v1", "judge", "KEY", FIELDS, answered)
    return of_status(status, {"message": message, **error}, headers or {}, asked)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529, None])
def test_what_may_pass_is_tried_again(status):
    found = refusal(status, "not now")
    assert (found.passing, found.cure) == (True, None)


@pytest.mark.parametrize("status", [400, 413, 418, 422])
def test_what_a_request_is_to_blame_for_is_its_own_fault(status):
    found = refusal(status, "the picture is too large")
    assert (found.passing, found.cure) == (False, None)


def test_a_server_that_says_whether_to_try_again_is_obeyed():
    assert not refusal(429, "no", headers={"x-should-retry": "false"}).passing
    assert refusal(400, "yes", headers={"x-should-retry": "true"}).passing


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "61"}, 61),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "61", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "99999999999"}, 99999999999),
        ({"retry-after": "Fri, 31 Feb 2026 25:61:00 GMT"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_or_left_to_us(headers, seconds):
    assert wait_of(headers) == seconds


def test_a_wait_may_be_a_date():
    assert 55 < wait_of({"retry-after": formatdate(time.time() + 60, usegmt=True)}) <= 60


def test_a_wait_of_hours_ends_the_job_and_says_how_long():
    assert refusal(429, "slow down", headers={"retry-after": str(LONGEST_WAIT)}).cure is None
    assert "asks to wait 86400 s" in refusal(429, "slow down", headers={"retry-after": "86400"}).cure


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (429, "see your plan", {"code": "insufficient_quota"}),
        (429, "see your plan", {"type": "insufficient_quota"}),
        (429, "You exceeded your current quota, please check your plan", {}),
        (429, "this account's quota is used up", {}),
        (403, "Insufficient balance", {}),
        (400, "Your credit balance is too low", {}),
        (402, "pay first", {}),
        (200, "none left", {"code": "insufficient_quota"}),
    ],
)
def test_a_spent_quota_ends_the_job_and_is_no_fault_of_the_key(status, message, error):
    found = refusal(status, message, answered=True, **error)
    assert "the quota of the account" in found.cure
    assert "key" not in found.cure


def test_a_quota_by_the_minute_is_waited_for():
    found = refusal(429, "You exceeded your current quota", headers={"retry-after": "30"})
    assert (found.passing, found.wait, found.cure) == (True, 30, None)


@pytest.mark.parametrize(
    ("status", "answered", "ends"), [(401, False, True), (401, True, True), (403, False, True), (403, True, False)]
)
def test_a_refused_key_ends_the_job_and_one_forbidden_question_does_not(status, answered, ends):
    found = refusal(status, "forbidden", answered=answered)
    assert bool(found.cure and "the key of KEY" in found.cure) == ends


@pytest.mark.parametrize(
    ("message", "error", "field"),
    [
        ("this model does not take max_tokens; give it max_completion_tokens", {}, "max_tokens"),
        ("Unsupported value", {"param": "temperature"}, "temperature"),
        ("Unsupported value: 'temperature' does not support 0.0", {}, "temperature"),
        ("bad", {"param": "response_format.json_schema"}, "response_format"),
        ("no json_schema as response_format", {}, "response_format"),
        ("no json_schema for this model", {}, "response_format"),
        ("top_logprobs must be 5 at most, with logprobs", {}, "top_logprobs"),
        ("unknown field: seed", {}, "seed"),
        ("top_p and temperature cannot both be given", {}, "temperature"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_a_field_that_is_refused_ends_the_job_with_the_setting_that_changes_it(message, error, field, status):
    cure = refusal(status, message, **error).cure
    assert f"refuses {field}" in cure
    assert f"endpoint.parameters leaves a field out ({field}: null)" in cure


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("'max_tokens' is too large: 2048. This model's maximum context length is 4096 tokens", {}),
        ("please reduce the prompt or max_tokens", {}),
        ("bad", {"param": "max_tokens", "code": "context_length_exceeded"}),
        ("bad", {"param": "messages"}),
    ],
)
def test_a_request_that_is_too_long_is_its_own_fault(message, error):
    assert refusal(400, message, **error).cure is None
    assert refusal(400, "temperature is odd", answered=True).cure is None, "others were answered with it"


@pytest.mark.parametrize(
    ("status", "error"), [(404, {}), (405, {}), (400, {"param": "model"}), (400, {"code": "model_not_found"})]
)
def test_a_model_that_is_not_there_ends_the_job(status, error):
    assert "has no model judge" in refusal(status, "no", **error).cure


def test_a_key_that_the_server_repeats_is_in_no_message():
    found = refusal(401, "wrong key sk-secret").without("sk-secret")
    assert "sk-secret" not in found.message + found.cure
    assert "[the key]" in found.message


def cut_off(cause: BaseException) -> openai.APIConnectionError:
    error = openai.APIConnectionError(request=httpx2.Request("POST", ASKED.url))
    error.__cause__ = cause
    return error


def test_a_certificate_that_is_not_trusted_is_named_with_the_variable_that_helps():
    untrusted = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    untrusted.verify_message = "self-signed certificate"
    refused = of_error(cut_off(untrusted), ASKED)
    assert "is not trusted (self-signed certificate)" in refused.cure
    assert "SSL_CERT_FILE" in refused.cure
    assert not refused.passing


def test_a_server_that_speaks_no_https_is_named():
    assert "write http://" in of_error(cut_off(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")), ASKED).cure
    refused = of_error(cut_off(OSError("no route")), ASKED)
    assert (refused.passing, "does not answer" in refused.cure) == (True, True)
