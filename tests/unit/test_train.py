"""Training as a program: what a user gets when it runs through, is stopped, asked to end, or given bad input."""

import json
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

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
    },
}
RUN = {"checkpoint_steps": 2, "gradient_checkpointing": False, "deadline": None}


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


@pytest.fixture(scope="module")
def inputs(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """A folder with what training reads: pairs, prompts with a held-out conversation, and the start's manifest."""
    folder = tmp_path_factory.mktemp("inputs")
    tables.write_table(pairs_table(tokenizer, 16), tables.Pairs, folder / "pairs.parquet")
    heldout = {
        "prompt_id": "s:99/0",
        "split": "test",
        "prompt": [{"role": "user", "content": "Held out?"}],
        "prompt_token_ids": [1],
        "turns_trimmed": 0,
        "chosen": None,
        "rejected": None,
        "feedback": None,
    }
    prompts = pl.DataFrame([heldout], schema=tables.Prompts.create_empty().schema)
    tables.write_table(prompts, tables.Prompts, folder / "prompts.parquet")
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
            "margins": folder / "margins.parquet",
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
