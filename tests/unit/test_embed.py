"""Answers become vectors, and get rewards: by a ranker or by checks."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from transformers import BertConfig, BertModel

import answer_rewards
import checked_rewards
import embed
from drift import tables
from drift.cli import StageError
from drift.engines import encoders
from drift.settings.sampling import RewardSettings
from tests.builders.judging import answers as responses_of
from tests.builders.judging import tasks_of
from tests.builders.run import run_stage, stage

ROOM = 64
LONG = "river " * 300


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tokenizer):
    """Folder of a small randomly initialised encoder."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    folder = tmp_path_factory.mktemp("encoder")
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=ROOM, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def responses():
    """Answers of different lengths; two are the same, one is empty, one is longer than is read."""
    return responses_of("Owls fly.", "Rivers run to the sea and back.", "Owls fly.", "", LONG)


def test_every_answer_is_embedded_whole_and_by_its_beginning(encoder, responses):
    table = embed.embedded(responses, *encoders.load(encoder, "k"), None)
    assert table.height == 2 * responses.height
    assert set(table["part"]) == {"whole", "beginning"}
    vectors = {row["prompt_id"]: row["vector"] for row in table.filter(part="whole").iter_rows(named=True)}
    first, other, same, *_ = (np.array(vectors[name]) for name in responses["prompt_id"])
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert (first == same).all()
    assert first @ other < 0.999
    cut = table.filter("truncated").select("prompt_id", "part").rows()
    assert {name for name, _ in cut} == {responses["prompt_id"][4]}


def test_what_is_read_together_does_not_change_a_vector(encoder):
    model, tokenizer = encoders.load(encoder, "k")
    texts = ["Owls fly.", "Mice run.", "Rivers run to the sea and back.", "Owls."]
    together, _ = encoders.embed(model, tokenizer, texts, None)
    alone = np.concatenate([encoders.embed(model, tokenizer, [text], None)[0] for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_beginning_hides_what_comes_later(encoder):
    model, tokenizer = encoders.load(encoder, "k")
    same = "Owls fly at night, and they hunt mice. " * 2
    vectors, cut = encoders.embed(model, tokenizer, [same + "Rivers.", same + "Bread."], 16)
    assert (vectors[0] == vectors[1]).all()
    assert cut == [True, True]


def test_two_runs_give_the_same_bytes(encoder, responses, tmp_path):
    tables.write_table(responses, tables.Responses, tmp_path / "responses.parquet")
    for name in ("once", "twice"):
        run_stage(
            "embed.py",
            *("--responses", tmp_path / "responses.parquet", "--model", encoder),
            *("--settings", '{"max_length": null}', "--embeddings", tmp_path / name),
            cwd=tmp_path,
        )
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()


def looked_at(model, tasks: pl.DataFrame, folder, neighbours: int = 2):
    """The stage that looks at the encoder and the benchmark."""
    tables.write_table(tasks, tables.Tasks, folder / "tasks.parquet")
    settings = json.dumps({"benchmark": "chats", "neighbours": neighbours})
    named = ("--model", model, "--tasks", folder / "tasks.parquet", "--settings", settings, "--embedder", folder / "e.json")
    return stage("embedder.py", *named, cwd=folder)


def test_an_encoder_and_enough_prompts_are_what_is_needed(encoder, tmp_path):
    assert looked_at(encoder, tasks_of("Why?", "Who?", "When?"), tmp_path).returncode == 0
    assert len(json.loads((tmp_path / "e.json").read_text())["weights_sha256"]) == 64


def test_a_model_that_writes_and_a_benchmark_that_is_too_small_are_refused(encoder, tiny_model, tmp_path):
    writes = looked_at(tiny_model, tasks_of("Why?", "Who?"), tmp_path)
    assert "LlamaForCausalLM writes texts, and is no encoder; fix exploration.embedder.path" in writes.stderr
    small = looked_at(encoder, tasks_of("Why?", "Who?"), tmp_path, neighbours=3)
    assert "benchmark chats has 2 prompts, fewer than exploration.neighbours 3" in small.stderr
    assert not (tmp_path / "e.json").exists()


SETTINGS = {"cut": "prefix", "kind": "classifier", "path": "x", "max_length": 64, "wrong": 0.0, "seed": 42}


def test_a_ranker_scores_the_answers_that_it_can_read(reward_model):
    tasks, found = tasks_of("Why?", "Who?"), responses_of("They fly.", LONG)
    rewards = answer_rewards.rewards(tasks, found, RewardSettings(**SETTINGS), reward_model)
    assert rewards.select("prompt_id", "sample").rows() == [(found["prompt_id"][0], 0)], "the other is too long"
    with pytest.raises(StageError, match=r"classifier scored none of 1 answers.*exploration\.reward names"):
        answer_rewards.rewards(tasks, found.tail(1), RewardSettings(**SETTINGS), reward_model)


def test_checks_make_rewards_of_the_share_that_is_kept():
    rows = [("p", 0, "words", True), ("p", 0, "no_list", False), ("p", 1, "words", True), ("p", 1, "no_list", True)]
    checks = pl.DataFrame(
        [
            {"prompt_id": prompt, "sample": sample, "check": check, "direction": "neutral", "passed": passed}
            for prompt, sample, check, passed in rows
        ]
    )
    assert sorted(checked_rewards.shares(checks).rows()) == [("p", 0, 0.5), ("p", 1, 1.0)]
