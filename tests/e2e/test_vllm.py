"""vLLM in the stage's own process, where the pipeline's end-to-end test does not reach: replies
that follow a schema."""

import json
import subprocess

import polars as pl
import pytest

from drift import tables
from drift.chat import render
from drift.config import Engine
from drift.judging import protocols
from drift.settings.sampling import EngineRuntime
from drift.workflow.generation import generation_settings
from tests.conftest import REPOSITORY, STAGE_PYTHON

pytestmark = pytest.mark.slow


def test_a_verdict_in_words_has_no_white_space_between_its_parts(tiny_model, tokenizer, tmp_path):
    """White space is legal there, and a small model can fill its whole reply with it."""
    messages = [{"role": "user", "content": "Tell me about salt."}]
    request = {"prompt_id": "t", "kind": "score", "sample": 0, "messages": messages}
    request["prompt_token_ids"] = render(tokenizer, messages)
    rows = [request | {"request_id": f"t#{seed}", "seed": seed} for seed in range(8)]
    table = pl.DataFrame(rows, schema=tables.Requests.create_empty().schema)
    tables.write_table(table, tables.Requests, tmp_path / "requests.parquet")
    (tmp_path / "policy.json").write_text(json.dumps({"weights_sha256": "abc"}))
    decoding = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 24}
    asked = protocols.generation(protocols.ranking_protocol(votes=1), decoding)
    settings = generation_settings("vllm", context=256, **asked)
    runtime = EngineRuntime.of(Engine(cpu_cache_gib=1).model_dump(), endpoint=None)
    command = [str(STAGE_PYTHON), str(REPOSITORY / "scripts/generate.py"), "--requests", "requests.parquet"]
    command += ["--policy", str(tiny_model), "--manifest", "policy.json", "--shard", "1", "1"]
    command += ["--engine", runtime.canonical(), "--settings", settings.canonical()]
    command += ["--completions", "completions.parquet", "--usage", "completions.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    texts = tables.read_table(tables.Completions, tmp_path / "completions.parquet")["text"].to_list()
    assert len(texts) == 8
    assert all(text.startswith('{"strengths":"') for text in texts), texts
