"""An endpoint that fails on command: a chat server, alone or in front of a real one; and what is
asked of it."""

import asyncio
import json
import threading
import time
from collections.abc import Callable

import aiohttp
from aiohttp import web

from drift.config import Endpoint, Engine
from drift.settings.sampling import EndpointRuntime, EngineRuntime, GenerationSettings
from drift.workflow.generation import generation_settings

DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 50}


def asked(count: int) -> list[dict]:
    """Rows of Requests."""
    return [
        {
            "request_id": f"t:{number:03d}/0#plain-0",
            "prompt_id": f"t:{number:03d}/0",
            "kind": "plain",
            "sample": 0,
            "messages": [{"role": "user", "content": f"question {number}"}],
            "prompt_token_ids": None,
            "seed": number,
        }
        for number in range(count)
    ]


def settings_of(url: str, **changes) -> GenerationSettings:
    """Settings of a model behind an endpoint; `parameters` are of the endpoint."""
    endpoint = {"url": url, "model": "judge", "parameters": changes.pop("parameters", {})}
    values = {"context": 4096, "decoding": DECODING, "endpoint": endpoint} | changes
    return generation_settings("vllm", **values)


def runtime_of(url: str, **changes) -> EngineRuntime:
    """How an endpoint is asked in tests: soon again, and without patience."""
    values = {"url": url, "model": "judge", "key": None, "concurrency": 8, "timeout": 1.0, "attempts": 4, "max_failed": 0.5}
    endpoint = Endpoint(**(values | changes)).model_dump()
    return EngineRuntime.of(Engine().model_dump(), endpoint=EndpointRuntime.of(endpoint))


class FaultyEndpoint:
    """Answers chat completions as OpenAI's API does, or passes them on to `upstream`, unless
    `fault` names a fault to commit.

    `fault(number, body)` gets the number of the call, from 0, and what was asked; it returns the
    name of a fault, the reply itself (a dict), or an answer of HTTP: status, headers and body.
    Counts calls and how many were open at once.
    """

    def __init__(self, fault: Callable[[int, dict], object] = lambda number, body: None, upstream=None, delay: float = 0.0):
        self.fault, self.upstream, self.delay = fault, upstream, delay
        self.bodies: list[dict] = []
        self.headers: list[dict] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.served = self.open = self.most_open = 0

    @property
    def calls(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> "FaultyEndpoint":
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True)
        self._thread.start()
        assert started.wait(30)
        return self

    def __exit__(self, *_) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    async def _run(self, started: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
        self._session = aiohttp.ClientSession()
        started.set()
        await self._end.wait()
        await self._session.close()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        number = self.calls
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path_qs)
        self.times.append(time.monotonic())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(self.delay)
            return await self._answer(self.fault(number, body), body, request)
        finally:
            self.open -= 1

    async def _answer(self, fault: object, body: dict, request: web.Request) -> web.StreamResponse:
        if isinstance(fault, tuple):
            status, headers, answer = fault
            return web.json_response(answer, status=status, headers=headers)
        if isinstance(fault, dict):
            return web.json_response(fault)
        errors = {
            "429": (429, "slow down"),
            "500": (500, "out of order"),
            "401": (401, "no such key"),
            "404": (404, "no such model"),
            "context": (400, "This model's maximum context length is 512 tokens"),
        }
        if fault in errors:
            status, message = errors[fault]
            headers = {"Retry-After": "0.3"} if status == 429 else {}
            return web.json_response({"error": {"message": message, "code": None}}, status=status, headers=headers)
        if fault == "timeout":
            await asyncio.sleep(60)
        if fault == "empty":
            return web.Response(body=b"", content_type="application/json")
        if fault == "html":
            return web.Response(text="<html>Welcome to the gateway</html>", content_type="text/html")
        if fault == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            request.transport.abort()
            return response
        status, reply = await self._pass_on(body) if self.upstream else (200, canned(body))
        if fault == "no logprobs":
            reply["choices"][0]["logprobs"] = None
        if fault == "no json":
            reply["choices"][0]["message"]["content"] = "I would say 7."
        if fault == "wordless":
            reply["choices"][0]["message"]["content"] = ""
        self.served += 1
        return web.json_response(reply, status=status)

    async def _pass_on(self, body: dict) -> tuple[int, dict]:
        async with self._session.post(f"{self.upstream}/chat/completions", json=body) as response:
            return response.status, json.loads(await response.read())


def canned(body: dict) -> dict:
    """The reply of OpenAI's API, as far as anyone reads it."""
    content = "A" if body.get("logprobs") else f"reply to {body['messages'][-1]['content']}"
    if "response_format" in body:
        content = json.dumps({"score": 7})
    tokens = [{"token": "A", "logprob": -0.1}, {"token": "C", "logprob": -3.0}]
    choice = {"index": 0, "message": {"role": "assistant", "content": content, "refusal": None}, "finish_reason": "stop"}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [tokens[0] | {"top_logprobs": tokens}]}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "c", "object": "chat.completion", "model": f"{body['model']}-2026", "choices": [choice], "usage": usage}
