"""vLLM in the stage's own process, where the pipeline's end-to-end test does not reach: replies
that follow a schema, and ends of turns that the tokenizer does not name."""

import json
import shutil
import subprocess

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from drift import tables
from drift.chat import load_tokenizer, render
from drift.config import Engine
from drift.judging import protocols
from drift.settings.sampling import EngineRuntime
from drift.workflow.generation import generation_settings
from tests.conftest import REPOSITORY, STAGE_PYTHON

pytestmark = pytest.mark.slow
DECODING = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 24}


def completions(folder, model, tokenizer, **asked) -> pl.DataFrame:
    """What generate.py writes in `folder` of eight replies of `model` to one question."""
    messages = [{"role": "user", "content": "Tell me about salt."}]
    request = {"prompt_id": "t", "kind": "score", "sample": 0, "messages": messages}
    request["prompt_token_ids"] = render(tokenizer, messages)
    rows = [request | {"request_id": f"t#{seed}", "seed": seed} for seed in range(8)]
    table = pl.DataFrame(rows, schema=tables.Requests.create_empty().schema)
    tables.write_table(table, tables.Requests, folder / "requests.parquet")
    (folder / "policy.json").write_text(json.dumps({"weights_sha256": "abc"}))
    settings = generation_settings("vllm", context=256, **asked)
    # No machine has as much: an engine takes what its requests need.
    runtime = EngineRuntime.of(Engine(cpu_cache_gib=10_000).model_dump(), endpoint=None)
    command = [str(STAGE_PYTHON), str(REPOSITORY / "scripts/generate.py"), "--requests", "requests.parquet"]
    command += ["--policy", str(model), "--manifest", "policy.json", "--shard", "1", "1"]
    command += ["--engine", runtime.canonical(), "--settings", settings.canonical()]
    command += ["--completions", "completions.parquet", "--usage", "completions.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return tables.read_table(tables.Completions, folder / "completions.parquet")


def test_a_verdict_in_words_has_no_white_space_between_its_parts(tiny_model, tokenizer, tmp_path):
    """White space is legal there, and a small model can fill its whole reply with it."""
    asked = protocols.generation(protocols.ranking_protocol(votes=1), DECODING)
    texts = completions(tmp_path, tiny_model, tokenizer, **asked)["text"].to_list()
    assert len(texts) == 8
    assert all(text.startswith('{"strengths":"') for text in texts), texts


@pytest.fixture
def two_ends(tiny_model, tmp_path):
    """Folder and tokenizer of a model whose end of a turn is not its end of a sequence."""
    model = shutil.copytree(tiny_model, tmp_path / "model")
    own = load_tokenizer(model)
    own.eos_token = "<|endoftext|>"
    own.save_pretrained(model)
    return model, own


def test_a_reply_ends_where_the_template_ends_a_turn(two_ends, tmp_path):
    replies = completions(tmp_path, *two_ends, decoding=DECODING | {"temperature": 0.0})
    assert set(replies["finish_reason"]) == {"stop"}, replies["text"].to_list()
    assert not any("<" in text for text in replies["text"]), replies["text"].to_list()


def test_a_control_token_within_a_reply_stays_to_be_seen(two_ends, tmp_path):
    model, own = two_ends
    # The first word that the model was taught becomes a control token.
    weights = load_file(model / "model.safetensors")
    words = own.convert_tokens_to_ids(["They", "Many", "It", "That"])
    weights["lm_head.weight"][own.convert_tokens_to_ids("<file_sep>")] = 4 * weights["lm_head.weight"][words].mean(0)
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    replies = completions(tmp_path, model, own, decoding=DECODING | {"temperature": 0.0, "repetition_penalty": 1000.0})
    assert all(text.startswith("<file_sep>") for text in replies["text"]), replies["text"].to_list()
    # The penalty leaves it at one.
    assert not any("<file_sep>" in text[1:] for text in replies["text"]), replies["text"].to_list()
