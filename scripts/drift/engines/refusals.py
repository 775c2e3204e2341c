"""Why an endpoint did not answer: whether trying again helps, how long to wait, and whether any
other request would fare better."""

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Self

import openai

from drift.engines.access import untrusted_by
from drift.engines.replies import error_of, words_of

# Seconds that a job waits when it is asked to; who says more means a quota of hours.
LONGEST_WAIT = 600.0
# Error codes and types, and words, of an account that has nothing left.
QUOTA_CODES = ("insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_funds")
QUOTA_CODES += ("billing_hard_limit_reached", "billing_not_active", "quota_exceeded", "payment_required")
QUOTA_WORDS = re.compile(
    r"insufficient[ _](quota|balance|credits?|funds)|exceeded your (current|monthly) quota|out of credits|"
    r"(quota|credits?|balance) (is|are|has been|have been|was)? ?(used up|spent|exhausted|exceeded|depleted|too low)",
    re.IGNORECASE,
)
# A request that is too long for the model also names the limit of tokens.
TOO_LONG = re.compile(r"context|input tokens|prompt|too long|at least 1", re.IGNORECASE)
NO_MODEL = re.compile(r"\bmodel\b.*\b(not found|does not exist|not exist|unknown|not available|unavailable)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """A request that got no answer."""

    message: str
    passing: bool = False  # the same request may be answered later
    wait: float | None = None  # seconds that the server asks for
    # Why no other request is answered either, and what helps; None where this one is to blame.
    cure: str | None = None

    def without(self, secret: str | None) -> Self:
        """The same without a secret that the server repeats: what is said here goes to logs."""
        if not secret:
            return self
        hidden = [text and text.replace(secret, "[the key]") for text in (self.message, self.cure)]
        return replace(self, message=hidden[0], cure=hidden[1])


@dataclass(frozen=True)
class Asked:
    """What was asked of whom: what a refusal is read by."""

    url: str
    model: str
    variable: str | None  # of the key
    fields: tuple[str, ...]  # of the request
    answered: bool  # whether another request was


def of_error(error: openai.APIError, asked: Asked) -> Refusal:
    """The refusal that an error of the client is."""
    if isinstance(error, openai.APIStatusError):
        moved = _moved(error.response, asked)
        return moved or of_status(error.status_code, error.body or error.message, error.response.headers, asked)
    message = f"{type(error).__name__}: {words_of(error.message)}"
    causes = list(_causes(error))
    if untrusted := next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None):
        return Refusal(message, cure=untrusted_by(asked.url, untrusted))
    if any("WRONG_VERSION_NUMBER" in str(cause) for cause in causes):
        return Refusal(message, cure=f"{asked.url} does not speak https: write http:// in endpoint.url")
    cure = f"{asked.url} does not answer ({message}); see that the server runs and can be reached from here"
    return Refusal(message, passing=True, cure=None if asked.answered else cure)


def of_status(status: int | None, body: object, headers: Mapping[str, str], asked: Asked) -> Refusal:
    """The refusal that a status and a body are. `status` None: an error without one, in the body of
    a request that went well."""
    words = words_of(body)
    message = f"{status or 'error'}: {words}"
    inner = body.get("error", body) if isinstance(body, dict) else body
    error = inner if isinstance(inner, dict) else {}
    wait = wait_of(headers)
    if cure := _concerns_all(status, error, words, asked, wait):
        return Refusal(message, cure=cure)
    if wait is not None and wait > LONGEST_WAIT:
        return Refusal(message, cure=f"{asked.url} asks to wait {wait:.0f} s ({words}): run again then")
    passing = status is None or status in (408, 409, 425, 429) or status >= 500
    return Refusal(message, passing={"true": True, "false": False}.get(headers.get("x-should-retry"), passing), wait=wait)


def of_reply(response: Any, why: str, asked: Asked) -> Refusal:
    """The refusal that a reply without a message is, to a request that went well; `why` it is no
    chat completion."""
    if moved := _moved(response, asked):
        return moved
    error = error_of(response.content)
    if error is None:
        return Refusal(f"no chat completion: {why}", passing=True)
    code = str(error.get("code"))
    return of_status(int(code) if re.fullmatch("[45][0-9][0-9]", code) else None, error, response.headers, asked)


def _moved(response: Any, asked: Asked) -> Refusal | None:
    """The refusal that a redirection is where it makes a question a mere look at a page."""
    for hop in [*response.history, response]:
        if hop.status_code in (301, 302, 303) and "location" in hop.headers:
            location = hop.headers["location"]
            cure = f"{asked.url} redirects to {location} ({hop.status_code}): give endpoint.url as it is there"
            return Refusal(f"{hop.status_code}: redirects to {location}", cure=cure)
    return None


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: Retry-After in seconds or as a date, or retry-after-ms.
    None where it does not say, or nothing that can be read."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            seconds = _until(value)
        if 0 < seconds < float("inf"):
            return seconds
    return None


def _until(date: str) -> float:
    """Seconds until a date; 0 for what is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.timestamp() - time.time()


def _concerns_all(status: int | None, error: dict[str, Any], words: str, asked: Asked, wait: float | None) -> str | None:
    """Why no other request will be answered either, and what helps; None where one may be."""
    named = {str(error.get("code")).lower(), str(error.get("type")).lower()}
    # Some say of a limit by the minute that the quota is exceeded; they also say when to come back.
    spent = bool(QUOTA_WORDS.search(words)) and wait is None and status in (400, 402, 403, 429)
    if status == 402 or named & set(QUOTA_CODES) or spent:
        return f"the quota of the account at {asked.url} is spent: {words}. Add credit or raise its limit, and run again"
    # A gateway also forbids a single question, for what is in it.
    if status == 401 or (status == 403 and not asked.answered):
        variable = asked.variable or "no variable (endpoint.key is null)"
        return f"{asked.url} refuses the key of {variable}: {words}"
    unknown = error.get("param") == "model" or "model_not_found" in named or NO_MODEL.search(words)
    if status in (404, 405) or (status == 400 and unknown):
        return f"{asked.url} has no model {asked.model}, or is not where the API begins (most end in /v1): {words}"
    if status in (400, 422) and not asked.answered and (field := _refused_field(error, words, asked)):
        return (
            f"{asked.url} refuses {field}: {words}. endpoint.parameters leaves a field out ({field}: null), gives it another "
            "value, or renames it (max_tokens: max_completion_tokens)"
        )
    return None


def _refused_field(error: dict[str, Any], words: str, asked: Asked) -> str | None:
    """The field of the request that a message is about."""
    if TOO_LONG.search(words) or error.get("code") == "context_length_exceeded":
        return None
    other_names = {"json_schema": "response_format", "guided_json": "response_format"}
    parameter = str(error.get("param") or "").split(".")[0]
    fields = [field for field in asked.fields if field not in ("model", "messages")]
    if parameter in fields:
        return parameter
    written = {other_names.get(word, word) for word in re.findall(r"\w+", words)}
    # The longest name: a message on top_logprobs says logprobs, too.
    return max((field for field in fields if field in written), key=len, default=None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, what that came from, ..."""
    for _ in range(20):
        if error is None:
            return
        yield error
        yield from (inner for inner in [getattr(error, "certificate_error", None)] if inner)
        error = error.__cause__ or error.__context__
