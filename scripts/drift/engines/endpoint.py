"""A model behind an OpenAI-compatible chat endpoint: OpenAI, `vllm serve`, and the like.

As many requests are in flight as the configuration allows; each reply is on disk before the next
request is sent. Single requests may fail for good: their rows say why, and the next run asks them
again. What concerns all requests (no such model, a wrong key, a server that is down, a spent
budget) ends the job instead, and the replies so far are kept.
"""

import asyncio
import json
import math
import random
import signal
import time
from collections import Counter, defaultdict, deque
from pathlib import Path

import openai

from drift.cli import StageError
from drift.config.endpoint import CHAT, address_of
from drift.engines import refusals
from drift.engines.access import key_of
from drift.engines.answers import json_answer, letter_of
from drift.engines.budget import Budget, estimated_tokens, tokens_of_text
from drift.engines.questions import body_of, draws_differ, limit_of
from drift.engines.refusals import Asked, Refusal
from drift.engines.replies import Answer, read, well_formed
from drift.engines.reply_cache import ReplyStore, reply_key
from drift.engines.thoughts import parted
from drift.progress import Progress
from drift.settings.sampling import EndpointRuntime, GenerationSettings

# The value that OpenAI's API has for a token that is not among the likeliest ones.
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
        self.key = key_of(runtime.key, self.url)
        # The fields that a reply must have to be an answer.
        self.required = json.loads(settings.json_schema).get("required", []) if settings.json_schema else []
        self.store = ReplyStore(state / "replies", self.model)
        self.usage = {}
        self.calls = 0
        self.budget = Budget(runtime)
        self.in_flight = self.failed_in_a_row = 0
        self.arrived = 0  # replies of this job
        self.unmetered = 0  # of these, the ones that came without a count of their tokens
        self.resume = 0.0  # when, by the monotonic clock, the endpoint wants to be asked again
        self.stop: str | None = None  # why no further request is sent

    def generate(self, requests: list[dict]) -> list[dict]:
        """Completion rows for request rows; equal requests are asked once. Raises StageError where
        the endpoint cannot be used, the budget is spent or too many requests failed."""
        keys = {request["request_id"]: self._key(request) for request in requests}
        distinct = {keys[request["request_id"]]: request for request in requests}
        replies = self._kept(set(distinct))
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

    def _kept(self, keys: set[str]) -> dict[str, Answer]:
        """The answers among `keys` that were paid for before. One that ignores the schema is no
        answer until it was asked for as often as it may be."""
        kept, ignoring = {}, Counter()
        for key, reply in self.store.read(keys):
            kept[key] = read(reply)
            ignoring[key] += self._ignores_schema(kept[key])
        faulty = self._faults(kept)
        return {
            key: answer
            for key, answer in kept.items()
            if key not in faulty and not (self._ignores_schema(answer) and ignoring[key] <= REPEATS)
        }

    def _key(self, request: dict) -> str:
        # Votes, and replies for two trainings, are drawn apart whether their seed is sent or not.
        seed = request["seed"] if draws_differ(self.settings) else None
        return reply_key(self.url, body_of(self.settings, request), request["sample"], seed)

    async def _ask(self, todo: deque, replies: dict, errors: dict) -> None:
        """Move what is in `todo` to `replies` and `errors`, or as much of it as can be."""

        async def count(_) -> None:
            self.calls += 1

        http = openai.DefaultAioHttpClient(event_hooks={"request": [count]})
        client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self.key or "none",
            timeout=self.runtime.timeout,
            max_retries=0,
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
                self.failed_in_a_row = 0
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

    async def _kept_reply(self, client: openai.AsyncOpenAI, key: str, request: dict) -> Answer:
        """The endpoint's reply, paid for and kept. One that ignores the schema is asked for again,
        and the last one counts."""
        for left in range(REPEATS, -1, -1):
            reply = await self._reply(client, body_of(self.settings, request))
            answer = read(reply)
            self.arrived += 1
            self.unmetered += None in (answer.read, answer.written)
            self.budget.spent += self.budget.price(*self._charged(request, answer))
            self.store.add(key, request["request_id"], reply)
            if not left or self.budget.is_exceeded or not self._ignores_schema(answer):
                return answer

    async def _reply(self, client: openai.AsyncOpenAI, body: dict) -> dict:
        """The endpoint's reply to one request, as JSON; it is tried again where that may help."""
        left, before = self.runtime.attempts, None
        while True:
            await self._pause()
            reply, refusal = await self._attempt(client, body)
            if refusal is None:
                return reply
            # A request that waits as it was told to, while others are let through, has not failed.
            left -= refusal.wait is None or before in (None, self.arrived)
            before = self.arrived
            again = refusal.passing and left > 0
            if refusal.cure and not again:
                self.stop = self.stop or refusal.cure
            if not again or self.stop:
                raise UnansweredError(refusal.message)
            if refusal.wait is None:
                await asyncio.sleep(min(0.5 * 2 ** (self.runtime.attempts - left - 1), 8.0) * random.uniform(0.5, 1.0))
            else:
                self.resume = max(self.resume, time.monotonic() + refusal.wait)

    async def _pause(self) -> None:
        """Wait until the endpoint wants to be asked again; what concerns one request concerns all.
        They go on one after the other, and not at all when the job stops."""
        if self.resume <= time.monotonic():
            return
        while self.resume > time.monotonic() and not self.stop:
            await asyncio.sleep(min(self.resume - time.monotonic(), 1.0))
        await asyncio.sleep(random.uniform(0.0, 0.5))
        if self.stop:
            raise UnansweredError(self.stop)

    async def _attempt(self, client: openai.AsyncOpenAI, body: dict) -> tuple[dict | None, Refusal | None]:
        """The reply to a request that is sent once, or why there is none."""
        asked = Asked(self.url, self.model, self.runtime.key, tuple(body), answered=self.arrived > 0)
        try:
            # The client's typed method takes longer to check a request than to send it.
            answer = await client.post(
                address_of(self.url, CHAT), body=body, cast_to=openai.HttpxBinaryResponseContent, options={"max_retries": 0}
            )
        except openai.APIError as error:
            return None, refusals.of_error(error, asked).without(self.key)
        try:
            return well_formed(answer.content), None
        except ValueError as error:
            return None, refusals.of_reply(answer.response, str(error), asked).without(self.key)

    # ------------------------------------------------------------------------------------- estimate

    def _tokens(self, request: dict) -> tuple[int, int]:
        """Tokens that a request reads, estimated, and the most that its reply may have."""
        return estimated_tokens(request["messages"]), limit_of(body_of(self.settings, request), self.settings.max_tokens)

    def _charged(self, request: dict, answer: Answer) -> tuple[int, int]:
        """Tokens read and written as the endpoint counts them, and by the estimate where it does
        not say: a budget holds all the same."""
        read_ = estimated_tokens(request["messages"]) if answer.read is None else answer.read
        return read_, tokens_of_text(answer.text) if answer.written is None else answer.written

    def _announce(self, todo: deque, reused: int) -> None:
        """Print what asking will cost. Raises StageError where the budget cannot even pay for the
        prompts."""
        read_, written = map(sum, zip(*(self._tokens(request) for _, request in todo), strict=True)) if todo else (0, 0)
        # A reply that ignores the schema is paid for each time that it comes.
        times = 1 + REPEATS if self.settings.json_schema else 1
        least, most, budget = self.budget.price(read_, 0), times * self.budget.price(read_, written), self.budget.limit
        print(
            f"{len(todo)} requests to ask {self.model} at {self.url}, {reused} were answered before: about {read_} "
            f"tokens to read, at most {written} to write"
            + (f" (and again, {REPEATS} times at most, where a reply is not the JSON that was asked for)" if times > 1 else "")
            + f", {least:.4f} to {most:.4f} USD"
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
        if self.unmetered:
            print(f"{self.unmetered} replies came without a count of their tokens: their cost is estimated")
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

    def _faults(self, answers: dict[str, Answer]) -> dict[str, str]:
        """Which replies are not answers, and why, by key.

        Where an answer among choices is asked for and no reply at all has log-probabilities, the
        endpoint gives none, and the answer that it writes counts. Where some have them, a reply
        without them has failed.
        """
        written = not any(answer.first for answer in answers.values())
        return {key: fault for key, answer in answers.items() if (fault := self._fault(answer, written))}

    def _fault(self, answer: Answer, written: bool) -> str | None:
        """Why a reply is not an answer; None for one that is. `written`: a choice that is written
        out counts without log-probabilities."""
        if answer.refusal:
            return f"the model refused: {answer.refusal[:200]}"
        if choices := self.settings.choices:
            # What counts is the first token's distribution; the token itself may end the turn.
            if answer.first or (written and letter_of(answer.text) in choices):
                return None
            return "the reply has no logprobs" + (f", and is none of {', '.join(choices)}" if written else "")
        if answer.fault or not answer.text:
            return answer.fault or f"the model wrote nothing (finish_reason {answer.finish_reason})"
        return None

    def _ignores_schema(self, answer: Answer) -> bool:
        """Whether a reply ended by itself and holds no JSON like what was asked for, as its readers
        will read it. They may still find what they need in it, so it is an answer in the end."""
        if not self.settings.json_schema or answer.finish_reason != "stop":
            return False
        said = parted({"text": answer.text, "finish_reason": answer.finish_reason})["text"]
        return json_answer(said, self.required) is None

    def _row(self, request: dict, answer: Answer | None, error: str | None) -> dict:
        """A row of Completions, of an `answer`, of an `error`, or of both."""
        answer = answer or UNANSWERED
        first = answer.first if self.settings.choices and not error else None
        return {
            "request_id": request["request_id"],
            # Of an answer among choices, what it began with.
            "text": "" if error else answer.text or (max(first, key=first.get) if first else ""),
            "finish_reason": "error" if error else answer.finish_reason,
            "error": error,
            "prompt_tokens": answer.read or 0,
            "completion_tokens": answer.written or 0,
            "choice_logprobs": self._choice_logprobs(first) if first else None,
            "policy_hash": answer.model or self.model,
        }

    def _choice_logprobs(self, first: dict[str, float]) -> list[dict]:
        """The log-probability of each allowed answer as the first token, with a space before it or
        without, in quotes or brackets."""
        spelled = defaultdict(list)
        for token, logprob in first.items():
            spelled[letter_of(token)].append(logprob)
        return [{"choice": choice, "logprob": _log_of_sum(spelled.get(choice, [ABSENT]))} for choice in self.settings.choices]


def _log_of_sum(logprobs: list[float]) -> float:
    """The log-probability that one of several tokens comes; rounding may not make it more than
    certain."""
    largest = max(logprobs)
    return min(largest + math.log(sum(math.exp(logprob - largest) for logprob in logprobs)), 0.0)


# What a request without a reply has of one.
UNANSWERED = Answer("", "unknown", None, None, None, None, None, None)
