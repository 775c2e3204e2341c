"""What the tests of training share: a small pair table, and the program called as its rule calls it."""

import json
import signal
import sys
from pathlib import Path

import polars as pl
import pytest

import train
from drift import policies, tables
from drift.chat import render, render_reply

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
                "chosen_from": "logged",
                "rejected_from": "logged",
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
def train_inputs(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """A folder with what training reads: pairs, prompts with a held-out conversation, and the start's manifest."""
    folder = tmp_path_factory.mktemp("inputs")
    pairs = pairs_table(tokenizer, 16)
    tables.write_table(pairs, tables.Pairs, folder / "pairs.parquet")
    tables.write_table(prompts_table(pairs), tables.Prompts, folder / "prompts.parquet")
    policies.write_manifest(folder / "base.json", {"weights_sha256": policies.weights_sha256(tiny_model)})
    return folder


@pytest.fixture
def run_train(train_inputs, tiny_model, tmp_path, monkeypatch):
    """Run the program as the rule does; returns the manifest of the policy. `run_train.command` gives its command line."""

    def command(folder: Path, *, run: dict | None = None, **changed) -> list[str]:
        settings = SETTINGS | {"training": SETTINGS["training"] | changed.pop("training", {})} | changed.pop("settings", {})
        options = {
            "settings": json.dumps(settings),
            "run": json.dumps(RUN | (run or {})),
            "pairs": train_inputs / "pairs.parquet",
            "prompts": train_inputs / "prompts.parquet",
            "start": tiny_model,
            "start-manifest": train_inputs / "base.json",
            "state": folder / "state",
            "policy": folder / "policy",
            "manifest": folder / "policy.json",
            "log": folder / "train.parquet",
            "reference-logps": folder / "reference.parquet",
            "gates": folder / "gates.json",
        } | changed
        return ["train.py", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]

    def program(folder: Path = tmp_path, **changed) -> dict:
        monkeypatch.setattr(sys, "argv", command(folder, **changed))
        before = signal.getsignal(signal.SIGTERM)
        try:
            train.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        return json.loads((folder / "policy.json").read_text())

    program.command = command
    return program
