"""Training as a program: what a user gets when it runs through, is stopped, asked to end, or given bad input."""

import json
import signal
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import train
from drift import cli, policies, tables
from drift.chat import render, render_reply

pytestmark = pytest.mark.slow

_REPLIES = ("They are old.", "Many people use them.", "It depends.", "That is a long story.", "They cost little.")

SETTINGS = {
    "name": "tiny/warmup",
    "seed": 42,
    "epochs": 1,
    "instruction": "Please improve your answer.",
    "training": {
        "beta": 0.1,
        "losses": {"sigmoid": 1.0, "sft": 0.001},
        "learning_rate": 1e-4,
        "schedule": "linear",
        "schedule_warmup": 0.1,
        "optimizer": "rmsprop",
        "global_batch": 4,
        "device_batch": 2,
        "max_length": 128,
        "precision": "bf16",
        "label_smoothing": 0.0,
        "lora": None,
    },
}
RUN = {
    "checkpoint_steps": 2,
    "gradient_checkpointing": False,
    "deadline": None,
    "launcher": "single",
    "processes": None,
    "tracker": "none",
}


def pairs_table(tokenizer, count: int) -> pl.DataFrame:
    rows = []
    for number in range(count):
        prompt = [{"role": "user", "content": f"Tell me about thing {'very ' * (number % 4)}number {number}."}]
        chosen, rejected = _REPLIES[number % 5], f"I can not say much about {number}."
        rows.append(
            {
                "pair_id": f"s:{number}/0",
                "prompt": prompt,
                "prompt_token_ids": render(tokenizer, prompt),
                "chosen": chosen,
                "rejected": rejected,
                "chosen_from": "user",
                "rejected_from": "user",
                "chosen_finish": None,
                "rejected_finish": None,
                "chosen_tokens": len(render_reply(tokenizer, prompt, chosen)),
                "rejected_tokens": len(render_reply(tokenizer, prompt, rejected)),
            }
        )
    return pl.DataFrame(rows, schema=tables.Pairs.create_empty().schema)


def prompts_table(pairs: pl.DataFrame) -> pl.DataFrame:
    """The prompts of `pairs`, and some of held-out conversations with a logged reply."""
    rows = pairs.select("prompt", "prompt_token_ids", "chosen", "rejected", prompt_id="pair_id", split=pl.lit("train"))
    rows = rows.with_columns(turns_trimmed=pl.lit(0, pl.Int32), feedback=pl.lit("No, that is wrong."))
    heldout = rows.head(4).with_columns(prompt_id="h" + pl.col("prompt_id"), split=pl.lit("test"))
    return pl.concat([rows, heldout]).select(tables.Prompts.column_names())


@pytest.fixture(scope="module")
def inputs(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """A folder with what training reads: pairs, prompts with a held-out conversation, and the start's manifest."""
    folder = tmp_path_factory.mktemp("inputs")
    pairs = pairs_table(tokenizer, 16)
    tables.write_table(pairs, tables.Pairs, folder / "pairs.parquet")
    tables.write_table(prompts_table(pairs), tables.Prompts, folder / "prompts.parquet")
    policies.write_manifest(folder / "base.json", {"weights_sha256": policies.weights_sha256(tiny_model)})
    return folder


@pytest.fixture
def run_train(inputs, tiny_model, tmp_path, monkeypatch):
    """Run the program as the rule does; returns the manifest of the policy."""

    def program(folder: Path = tmp_path, *, run: dict | None = None, **changed) -> dict:
        settings = SETTINGS | {"training": SETTINGS["training"] | changed.pop("training", {})} | changed.pop("settings", {})
        options = {
            "settings": json.dumps(settings),
            "run": json.dumps(RUN | (run or {})),
            "pairs": inputs / "pairs.parquet",
            "prompts": inputs / "prompts.parquet",
            "start": tiny_model,
            "start-manifest": inputs / "base.json",
            "state": folder / "state",
            "policy": folder / "policy",
            "manifest": folder / "policy.json",
            "log": folder / "train.parquet",
            "reference-logps": folder / "reference.parquet",
            "gates": folder / "gates.json",
        } | changed
        monkeypatch.setattr(
            sys, "argv", ["train.py", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        )
        before = signal.getsignal(signal.SIGTERM)
        try:
            train.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return json.loads((folder / "policy.json").read_text())

    return program


def test_a_training_stopped_by_its_deadline_continues_to_the_same_weights_and_is_not_published_before(run_train, tmp_path):
    whole = run_train(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    for step in (1, 2):
        with pytest.raises(
            cli.StageError, match=f"stopped after {step} of 4 steps, as the job's time limit is near.*Run again"
        ):
            run_train(stopped, run={"deadline": 0.0, "checkpoint_steps": 50})
        assert [path.name for path in stopped.iterdir()] == ["state"], "a training that stopped early left more than its state"
    assert run_train(stopped)["weights_sha256"] == whole["weights_sha256"]
    assert not list((stopped / "state").iterdir())


def test_a_training_resumed_in_a_later_epoch_sees_the_same_pairs_in_the_same_order(run_train, tmp_path):
    epochs = {"settings": {"epochs": 2}}
    whole = run_train(tmp_path / "whole", **epochs)
    assert whole["steps_done"] == 8
    stopped = tmp_path / "stopped"
    for _ in range(6):
        with pytest.raises(cli.StageError, match="stopped after"):
            run_train(stopped, run={"deadline": 0.0, "checkpoint_steps": 50}, **epochs)
    assert run_train(stopped, **epochs)["weights_sha256"] == whole["weights_sha256"]


def test_adapters_are_merged_into_the_policy_and_resumed_to_the_same_weights(run_train, tiny_model, tmp_path):
    lora = {"training": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}, "learning_rate": 1e-2}}
    whole = run_train(tmp_path / "whole", **lora)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, tmp_path / "whole/policy"))
    assert before.keys() == after.keys()
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    with pytest.raises(cli.StageError, match="stopped after 1 of 4"):
        run_train(tmp_path / "stopped", run={"deadline": 0.0}, **lora)
    assert run_train(tmp_path / "stopped", **lora)["weights_sha256"] == whole["weights_sha256"]
