"""Settings of small training runs, and models of a size that a test can compute by hand."""

import json
import os
import subprocess

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from drift.settings.training import TrainingRun, TrainSettings
from tests.conftest import REPOSITORY

TRAINING = {
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
    "carry": "fp32",
}


def train_settings(training: dict | None = None, **changed) -> TrainSettings:
    """Settings of one epoch; `training` and `changed` replace some of them."""
    settings = {"name": "tiny/warmup", "seed": 42, "epochs": 1, "instruction": "Please improve your answer."}
    values = settings | changed | {"training": TRAINING | (training or {})}
    return TrainSettings.model_validate(values, strict=False)


def training_run(**changed) -> TrainingRun:
    """One process that checkpoints every other step."""
    values = {
        "checkpoint_steps": 2,
        "gradient_checkpointing": False,
        "deadline": None,
        "launcher": "single",
        "processes": None,
        "tracker": "none",
        "min_carried": 0.5,
    }
    return TrainingRun.model_validate(values | changed, strict=False)


def launched(command: list[str], launcher: str, python: str) -> subprocess.CompletedProcess:
    """The program on two processes of an interpreter; without GPUs they talk by gloo."""
    at = command.index("--run") + 1
    run = json.loads(command[at]) | {"launcher": launcher, "processes": 2}
    command = [python, str(REPOSITORY / "scripts/train.py"), *command[1:at], json.dumps(run), *command[at + 1 :]]
    # torchrun's variable for the interpreter of the processes that it starts.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHON_EXEC": python}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def small_llama(seed: int = 0, **options) -> LlamaForCausalLM:
    """A randomly initialised Llama with a vocabulary of 32 tokens."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **options)).eval()
