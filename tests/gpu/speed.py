"""How fast the pipeline generates and trains on this machine: a randomly initialised model of a
given shape through its rules.

Weights do not matter for speed, so nothing is downloaded but the demo's tokenizer. Works on a CPU
as well, for small shapes.
"""

import contextlib
import importlib.util
import json
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from drift.config import load
from drift.workflow import cost_model
from drift.workflow.cost_model import GIB, Shape
from drift.workflow.machines import MACHINES
from drift.workflow.plan.fit import setup_of, training_peak
from tests.conftest import snakemake, tiny_config


def random_model(shape: Shape, tokenizer, folder: Path) -> Path:
    """A Qwen2 model of `shape` with random bf16 weights, and the tokenizer, in `folder`."""
    config = Qwen2Config(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del model
    torch.cuda.empty_cache()
    return folder


def long_logs(conversations: int, words: int, file: Path) -> Path:
    """Logs of users who complain, get a better reply of about `words` words, and are pleased: one
    correction each."""
    chance = random.Random(0)
    vocabulary = [
        "river",
        "bridge",
        "train",
        "bread",
        "glass",
        "map",
        "clock",
        "paper",
        "salt",
        "wool",
        "stone",
        "lamp",
        "field",
        "road",
        "ship",
        "door",
        "hill",
        "rope",
        "nail",
        "coin",
    ]

    def text(count: int) -> str:
        return " ".join(chance.choice(vocabulary) for _ in range(count)).capitalize() + "."

    with file.open("w") as logs:
        for number in range(conversations):
            contents = (
                f"Number {number}: write about {text(words)}",
                text(words),
                "No, that is wrong.",
                text(words),
                "Thank you so much, that's perfect!",
                "You are welcome.",
            )
            messages = [{"role": ("user", "assistant")[turn % 2], "content": content} for turn, content in enumerate(contents)]
            logs.write(json.dumps({"id": f"c{number}", "messages": messages}) + "\n")
    return file


def run_config(model: Path, logs: Path, tokens: int, training: dict) -> dict:
    """A run of one warm-up and one iteration of sampling from the base model, in chats of up to
    `tokens` tokens."""
    config = tiny_config(model, logs) | {"run": "speed", "iterations": 1, "methods": ["drift"]}
    config["recipes"]["drift"]["start"] = "base"
    config["data"] |= {"test_conversations": 2, "test_correction_conversations": 2}
    config["sampling"] = {"max_tokens": min(256, tokens // 4), "context": 2 * tokens, "shards": 1}
    config["training"] = {"learning_rate": 1e-5, "max_length": tokens, "warmup_epochs": 1} | training
    config["engine"] = {"backend": "vllm" if importlib.util.find_spec("vllm") else "transformers"}
    config["environments"] = {"cpu": sys.executable, "gpu": sys.executable}
    return config


@contextlib.contextmanager
def watch_memory():
    """Yields a list that holds at the end the most memory, in GiB, that was in use on all GPUs
    together; empty without one."""
    peak, done = [], threading.Event()

    def watch():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while shutil.which(query[0]) and not done.wait(0.5):
            used = sum(int(line) for line in subprocess.run(query, capture_output=True, text=True).stdout.split()) / 1024
            peak[:] = [max([used, *peak])]

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def peak_tflops() -> float | None:
    """bf16 TFLOP/s of this machine's GPU by its data sheet; None without one, or for an unknown
    one."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name().lower().replace(" ", "")
    return next((machine["tflops"] for key, machine in MACHINES.items() if key.split("-")[0] in name), None)


def generate(folder: Path, config: dict) -> dict:
    """Sample from the base model; tokens written and read per second, seconds of engine start, peak
    memory."""
    shard = Path("results/speed/tiny/drift/seed42/iter1/completions/1-of-1.parquet")
    with watch_memory() as memory:
        snakemake(folder, config, "--", str(shard))
    usage = json.loads((folder / shard).with_suffix(".json").read_text())
    return {
        "requests": usage["requests"],
        "written/s": usage["completion_tokens"] / usage["seconds"],
        "read/s": usage["prompt_tokens"] / usage["seconds"],
        "start s": usage["start_seconds"],
        "memory GiB": memory[0] if memory else None,
    }


def train(folder: Path, config: dict, shape: Shape) -> dict:
    """Train the warm-up; pairs per second of the steps, model FLOPs per second and their share of
    the peak, peak memory."""
    results = folder / "results/speed/tiny/warmup"
    with watch_memory() as memory:
        snakemake(folder, config, "--", str(results.relative_to(folder) / "policy.json"))
    manifest = json.loads((results / "policy.json").read_text())
    pairs = pl.read_parquet(results / "pairs.parquet").height
    seconds = pl.read_parquet(results / "train.parquet").filter(metric="train_runtime")["value"].item()
    lora = config["training"].get("lora") is not None
    # What checkpointing computes twice does not count in the utilisation of a model (MFU).
    length = manifest["tokens"] / pairs / 2
    per_token = cost_model.training_flops(shape, length, gradient_checkpointing=False, lora=lora)
    tflops = manifest["tokens"] * per_token / seconds / 1e12
    peak = peak_tflops()
    return {
        "pairs": pairs,
        "pairs/s": pairs / seconds,
        "tokens/s": manifest["tokens"] / seconds,
        "TFLOP/s": tflops,
        "MFU": peak and tflops / peak,
        "memory GiB": memory[0] if memory else None,
        "planned GiB": sum(training_peak(shape, setup_of(load(config)["training"], gpus=1)).values()) / GIB,
    }


def show(title: str, figures: dict) -> None:
    """One line of figures."""
    words = [f"{name} {'unknown' if value is None else f'{value:,.3g}'}" for name, value in figures.items()]
    print(f"\n{title}: {', '.join(words)}")
