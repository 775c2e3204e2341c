"""What tests share: of training, a small pair table and the program called as its rule calls it; of
endpoints, a way to ask one."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import train
from drift import policies, tables
from drift.engines import load_engine
from drift.training import remainder
from tests.builders.pairs import prompts_of, small_pairs
from tests.builders.training import train_settings, training_run
from tests.endpoints import FaultyEndpoint, asked, runtime_of, settings_of


@pytest.fixture(scope="module")
def train_inputs(tiny_model, tokenizer, tmp_path_factory) -> Path:
    """A folder with what training reads: pairs, which make whole steps, these and one more, which
    do not, their prompts, and the start's manifest."""
    folder = tmp_path_factory.mktemp("inputs")
    pairs = small_pairs(tokenizer, 17)
    tables.write_table(pairs.head(16), tables.Pairs, folder / "pairs.parquet")
    tables.write_table(pairs, tables.Pairs, folder / "one_more.parquet")
    tables.write_table(prompts_of(pairs), tables.Prompts, folder / "prompts.parquet")
    policies.write_manifest(folder / "base.json", {"weights_sha256": policies.weights_sha256(tiny_model)})
    return folder


@pytest.fixture(scope="module")
def trained_before(tiny_model, tmp_path_factory) -> dict[str, Path]:
    """The tiny model as if it had been trained in fp32: options of the program that start from it
    and from a remainder of up to a tenth of a percent of each weight."""
    folder = tmp_path_factory.mktemp("before")
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    random = torch.Generator().manual_seed(0)
    parts = {
        name: remainder.split(weights.data * (1 + 1e-3 * (2 * torch.rand(weights.shape, generator=random) - 1)))[1]
        for name, weights in model.named_parameters()
    }
    remainder.write(parts, folder / "remainder")
    hashes = {"weights_sha256": tiny_model, "remainder_sha256": folder / "remainder"}
    manifest = {name: policies.weights_sha256(path) for name, path in hashes.items()}
    policies.write_manifest(folder / "policy.json", manifest)
    return {
        f"{role}{kind}": folder / name
        for role in ("start", "reference")
        for kind, name in (("-manifest", "policy.json"), ("-remainder", "remainder"))
    }


@pytest.fixture
def run_train(train_inputs, tiny_model, tmp_path, monkeypatch):
    """Run the program as the rule does; returns the manifest of the policy. `run_train.command`
    gives its command line."""

    def command(folder: Path, *, run: dict | None = None, **changed) -> list[str]:
        settings = train_settings(changed.pop("training", None), **changed.pop("settings", {}))
        start = changed.get("start", tiny_model)
        options = {
            "settings": settings.canonical(),
            "run": training_run(**run or {}).canonical(),
            "rows": train_inputs / "pairs.parquet",
            "prompts": train_inputs / "prompts.parquet",
            "start": start,
            "start-manifest": train_inputs / "base.json",
            "reference": start,
            "reference-manifest": train_inputs / "base.json",
            "state": folder / "state",
            "policy": folder / "policy",
            "remainder": folder / "remainder",
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


@pytest.fixture
def ask(tmp_path):
    """Send requests; rows by request_id. `ask.usage` is what the engine recorded."""

    def run(server: FaultyEndpoint, requests: int | list[dict], settings: dict | None = None, **runtime):
        shaped, how = settings_of(server.url, **(settings or {})), runtime_of(server.url, **runtime)
        engine = load_engine(None, shaped, how, tmp_path / "state")
        requests = asked(requests) if isinstance(requests, int) else requests
        try:
            rows = engine.generate(requests)
        finally:
            run.usage = engine.usage
        return {row["request_id"]: row for row in rows}

    return run
