"""A model behind an OpenAI-compatible chat endpoint: OpenAI, `vllm serve`, and the like.

As many requests are in flight as the configuration allows; each reply is on disk before the next
request is sent. Single requests may fail for good: their rows say why, and the next run asks them
again. What concerns all requests (no such model, a wrong key, a server that is down, a spent
budget) ends the job instead, and the replies so far are kept.
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter, deque
from pathlib import Path

import openai

from drift.cli import StageError
from drift.engines.budget import Budget, estimated_tokens
from drift.engines.replies import has_logprobs, is_json_object, message_of, tokens_of, well_formed
from drift.engines.reply_cache import ReplyStore, reply_key
from drift.progress import Progress
from drift.settings.sampling import EndpointRuntime, GenerationSettings

# The most that OpenAI and vLLM give. An allowed answer that is not among them gets the value that
# OpenAI's API has for it.
TOP_LOGPROBS = 20
ABSENT = -9999.0
# So many requests in a row that fail for good are not the fault of a single request.
IN_A_ROW = 20
# How often a reply that is not the requested JSON is asked for again, at once; endpoints differ in
# what they enforce.
REPEATS = 2
# Seconds that requests in flight have after a signal to stop; Slurm kills 30 s after its first.
GRACE = 20


class UnansweredError(Exception):
    """A request got no answer; the message says why."""


class EndpointEngine:
    """Asks the model of `settings.endpoint`; replies are kept under `state`. Raises StageError
    where the endpoint's key is missing."""

    def __init__(self, settings: GenerationSettings, runtime: EndpointRuntime, state: Path | None):
        if state is None:
            raise StageError("replies of an endpoint are kept for good: give their folder with --state")
        self.settings, self.runtime = settings, runtime
        self.url, self.model = settings.endpoint.url, settings.endpoint.model
        self.key = _secret(runtime.key, self.url)
        self.store = ReplyStore(state / "replies", self.model)
        self.usage = {}
        self.calls = 0
        self.budget = Budget(runtime)
        self.in_flight = self.failed_in_a_row = 0
        self.answered = False
        self.stop: str | None = None  # why no further request is sent

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows; equal requests are asked once. Raises StageError where
        the endpoint cannot be used, the budget is spent or too many requests failed."""
        keys = {request["request_id"]: self._key(request) for request in requests}
        distinct = {keys[request["request_id"]]: request for request in requests}
        kept = dict(self.store.read(set(distinct)))
        faulty = self._faults(kept)
        replies = {key: reply for key, reply in kept.items() if key not in faulty and not self._ignores_schema(reply)}
        before = set(replies)
        todo = deque((key, request) for key, request in distinct.items() if key not in replies)
        self._announce(todo, len(before))
        errors: dict[str, str] = {}
        try:
            asyncio.run(self._ask(todo, replies, errors))
        finally:
            self.store.close()
            errors |= self._faults(replies)
            self._conclude(replies.keys() - errors.keys(), before, errors)
        if self.stop:
            raise StageError(f"{self.stop}. What was answered is kept: the next run asks only the rest")
        self._refuse_too_many(errors, len(distinct))
        return [
            self._row(request, replies.get(key), errors.get(key))
            for request in requests
            for key in [keys[request["request_id"]]]
        ]

    # --------------------------------------------------------------------------------------- asking

    def _body(self, request: dict) -> dict:
        """What is sent: a chat, and every value that shapes the reply."""
        body = {"model": self.model, "messages": request["messages"]}
        if self.settings.choices:
            return body | {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        decoding = self.settings.decoding
        body |= {"max_tokens": decoding.max_tokens, "temperature": decoding.temperature, "top_p": decoding.top_p}
        if decoding.stop:
            body["stop"] = list(decoding.stop)
        if decoding.temperature > 0:
            body["seed"] = request["seed"]
        # OpenAI knows neither, and refuses what it does not know: they are sent where they are on.
        if decoding.top_k:
            body["top_k"] = decoding.top_k
        if decoding.repetition_penalty != 1:
            body["repetition_penalty"] = decoding.repetition_penalty
        if self.settings.json_schema:
            schema = {"name": "reply", "strict": True, "schema": json.loads(self.settings.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _key(self, request: dict) -> str:
        return reply_key(self.url, self._body(request), request["sample"])

    async def _ask(self, todo: deque, replies: dict, errors: dict) -> None:
        """Move what is in `todo` to `replies` and `errors`, or as much of it as can be."""

        async def count(_) -> None:
            self.calls += 1

        http = openai.DefaultAioHttpClient(event_hooks={"request": [count]})
        client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key,
            timeout=self.runtime.timeout,
            http_client=http,
        )
        with Progress(total=len(todo), desc=f"ask {self.model}") as progress:
            workers = [
                asyncio.create_task(self._work(client, todo, replies, errors, progress))
                for _ in range(min(self.runtime.concurrency, len(todo)))
            ]
            self._stop_on_signals(workers)
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        await client.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _stop_on_signals(self, workers: list[asyncio.Task]) -> None:
        """After SIGTERM or SIGINT send nothing more; replies within GRACE are kept."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self.stop = self.stop or "stopped by a signal"
            loop.call_later(GRACE, lambda: [worker.cancel() for worker in workers])

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop)

    async def _work(self, client: openai.AsyncOpenAI, todo: deque, replies: dict, errors: dict, progress: Progress) -> None:
        """Ask one request after the other until there is none, or a reason to stop."""
        while todo and not self.stop:
            key, request = todo[0]
            cost = self.budget.price(*self._tokens(request))
            if not self.budget.affords(cost):
                # Others that are in flight may turn out cheaper, and then their workers go on.
                if not self.in_flight:
                    self.stop = (
                        f"the budget of {self.budget.limit:g} USD a job is spent ({self.budget.spent:.4f} USD; "
                        f"one more request may cost {cost:.4f})"
                    )
                return
            todo.popleft()
            self.budget.reserved += cost
            self.in_flight += 1
            try:
                replies[key] = await self._kept_reply(client, key, request)
                self.answered, self.failed_in_a_row = True, 0
            except UnansweredError as error:
                errors[key] = str(error)
                self.failed_in_a_row += 1
                if self.failed_in_a_row >= IN_A_ROW:
                    reason = f"{IN_A_ROW} requests in a row got no answer from {self.url}; the last: {error}"
                    self.stop = self.stop or reason
            # A full disk, a bug, the end of the grace: nothing more may be spent.
            except BaseException as error:
                self.stop = self.stop or repr(error)
                raise
            finally:
                self.budget.reserved -= cost
                self.in_flight -= 1
            progress.update()

    async def _kept_reply(self, client: openai.AsyncOpenAI, key: str, request: dict) -> dict:
        """The endpoint's reply, paid for and kept. One that ignores the schema is asked for again,
        and the last one counts."""
        for left in range(REPEATS, -1, -1):
            reply = await self._reply(client, self._body(request))
            self.budget.spent += self.budget.price(*tokens_of(reply))
            self.store.add(key, request["request_id"], reply)
            if not left or self.budget.is_exceeded or not self._ignores_schema(reply):
                return reply

    async def _reply(self, client: openai.AsyncOpenAI, body: dict) -> dict:
        """The endpoint's reply to one request, as JSON.

        The client tries again by itself after 408, 409, 429, 5xx, time-outs and cut connections,
        waiting as long as Retry-After says or else longer each time, with jitter. Replies that are
        not a chat completion are tried again here.
        """
        left = self.runtime.attempts
        while True:
            try:
                # The client's typed method takes longer to check a request than to send it.
                answer = await client.post(
                    "/chat/completions",
                    body=body,
                    options={"max_retries": left - 1},
                    cast_to=openai.HttpxBinaryResponseContent,
                )
            except openai.APIError as error:
                raise self._unanswered(error) from error
            left -= 1 + int(answer.response.request.headers["x-stainless-retry-count"])
            try:
                return well_formed(answer.content)
            except ValueError as error:
                if left < 1:
                    raise UnansweredError(f"no chat completion in {self.runtime.attempts} attempts: {error}") from error
            await asyncio.sleep(min(0.5 * 2 ** (self.runtime.attempts - left), 8.0) * random.uniform(0.5, 1.0))

    def _unanswered(self, error: openai.APIError) -> UnansweredError:
        """Why a request got no answer. Where no other will get one either, nothing more is sent."""
        message = message_of(error)
        status = getattr(error, "status_code", None)
        if status in (401, 402, 403) or error.code == "insufficient_quota":
            variable = self.runtime.key or "no variable (endpoint.key is null)"
            self.stop = f"{self.url} refuses the key of {variable}: {message}"
        elif status == 404:
            self.stop = f"{self.url} has no model {self.model}, or is not where the API begins (most end in /v1): {message}"
        elif isinstance(error, openai.APIConnectionError) and not self.answered:
            self.stop = f"{self.url} does not answer ({message}); see that the server runs and can be reached from here"
        return UnansweredError(f"{status or type(error).__name__}: {message}")

    # ------------------------------------------------------------------------------------- estimate

    def _tokens(self, request: dict) -> tuple[int, int]:
        """Tokens that a request reads, estimated, and the most that its reply may have."""
        return estimated_tokens(request["messages"]), self.settings.max_tokens

    def _announce(self, todo: deque, reused: int) -> None:
        """Print what asking will cost. Raises StageError where the budget cannot even pay for the
        prompts."""
        read, written = map(sum, zip(*(self._tokens(request) for _, request in todo), strict=True)) if todo else (0, 0)
        least, most, budget = self.budget.price(read, 0), self.budget.price(read, written), self.budget.limit
        print(
            f"{len(todo)} requests to ask {self.model} at {self.url}, {reused} were answered before: about {read} "
            f"tokens to read, at most {written} to write, {least:.4f} to {most:.4f} USD"
            + (f" of a budget of {budget:g}" if budget is not None else ""),
            flush=True,
        )
        if budget is not None and least > budget:
            raise StageError(
                f"reading the prompts alone costs about {least:.4f} USD, more than the budget of {budget:g}: "
                "raise endpoint.budget, or ask fewer"
            )

    # --------------------------------------------------------------------------------------- result

    def _conclude(self, answered: set[str], before: set[str], errors: dict[str, str]) -> None:
        """Record and print what was asked, answered and spent. `before`: what was kept already."""
        reused = len(answered & before)
        self.usage = {
            "calls": self.calls,
            "answered": len(answered) - reused,
            "reused": reused,
            "failed": len(errors),
            "errors": dict(Counter(errors.values()).most_common(10)),
            "usd": round(self.budget.spent, 6),
        }
        print(
            f"{self.calls} calls: {len(answered) - reused} requests answered, {len(errors)} failed, {self.budget.spent:.4f} USD; "
            f"{reused} answered before"
        )
        for reason, count in self.usage["errors"].items():
            print(f"  {count} failed: {reason}")

    def _refuse_too_many(self, errors: dict[str, str], asked: int) -> None:
        """Raise StageError where more than max_failed of the `asked` requests failed."""
        if len(errors) > self.runtime.max_failed * asked:
            reason, count = Counter(errors.values()).most_common(1)[0]
            raise StageError(
                f"{len(errors)} of {asked} requests failed, more than endpoint.max_failed {self.runtime.max_failed:g} "
                f"allows; {count} of them: {reason}. What was answered is kept: run again to ask the failed ones "
                "again, or raise max_failed"
            )

    def _faults(self, replies: dict[str, dict]) -> dict[str, str]:
        """Which replies are not answers, and why, by key.

        Where an answer among choices is asked for and no reply at all has log-probabilities, the
        endpoint gives none, and the answer that it writes counts. Where some have them, a reply
        without them has failed.
        """
        written = not any(has_logprobs(reply) for reply in replies.values())
        return {key: fault for key, reply in replies.items() if (fault := self._fault(reply, written))}

    def _fault(self, reply: dict, written: bool) -> str | None:
        """Why a reply is not an answer; None for one that is. `written`: a choice that is written
        out counts without log-probabilities."""
        choice = reply["choices"][0]
        message = choice["message"]
        if message.get("refusal"):
            return f"the model refused: {message['refusal'][:200]}"
        if choices := self.settings.choices:
            # What counts is the first token's distribution; the token itself may end the turn.
            if has_logprobs(reply) or (written and (message.get("content") or "").strip() in choices):
                return None
            return "the reply has no logprobs" + (f", and is none of {', '.join(choices)}" if written else "")
        if not message.get("content"):
            return f"the model wrote nothing (finish_reason {choice.get('finish_reason')})"
        return None

    def _ignores_schema(self, reply: dict) -> bool:
        """Whether a reply ended by itself and is not the JSON that was asked for. Its reader may
        still find what it needs in it, so it is an answer; but the next run asks for it again."""
        ended = reply["choices"][0].get("finish_reason") == "stop"
        return bool(self.settings.json_schema) and ended and not is_json_object(reply)

    def _row(self, request: dict, reply: dict | None, error: str | None) -> dict:
        """A row of Completions, of a `reply`, of an `error`, or of both."""
        read, written = tokens_of(reply) if reply else (0, 0)
        choice = reply["choices"][0] if reply else {}
        is_verdict = self.settings.choices and not error and has_logprobs(reply)
        return {
            "request_id": request["request_id"],
            "text": "" if error else choice["message"].get("content") or "",
            "finish_reason": "error" if error else choice.get("finish_reason") or "unknown",
            "error": error,
            "prompt_tokens": read,
            "completion_tokens": written,
            "choice_logprobs": self._choice_logprobs(choice) if is_verdict else None,
            "policy_hash": (reply or {}).get("model") or self.model,
        }

    def _choice_logprobs(self, choice: dict) -> list[dict]:
        """The log-probability of each allowed answer as the first token."""
        first = choice["logprobs"]["content"][0]
        logprobs = {token["token"]: token["logprob"] for token in [*first["top_logprobs"], first]}
        return [{"choice": answer, "logprob": logprobs.get(answer, ABSENT)} for answer in self.settings.choices]


def _secret(variable: str | None, url: str) -> str:
    """The key in the environment's `variable`. It is nowhere else: not in the configuration, not in
    a log. Raises StageError where the variable is not set."""
    if variable is None:
        return "none"
    if not os.environ.get(variable):
        raise StageError(
            f"{url} needs a key: set the environment variable {variable}, or endpoint.key to null if it needs none"
        )
    return os.environ[variable]
