"""Generate and train on a GPU, with models of Qwen2.5's shapes and random weights: `make test-gpu`
prints what they reach."""

import pytest
import torch

from drift.workflow.cost_model import SHAPES
from tests.gpu import speed

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU and a CUDA build of torch"),
    pytest.mark.timeout(3600),
]
BATCH = {"device_batch": 4, "global_batch": 16, "gradient_checkpointing": True, "checkpoint_steps": 1000}
LORA = {"lora": {"rank": 64}, "learning_rate": 1e-4}


@pytest.fixture(scope="module", params=[("qwen2.5-0.5b", {}), ("qwen2.5-7b", LORA)], ids=["0.5B", "7B-LoRA"])
def run(request, tokenizer, tmp_path_factory):
    """Name and shape of a model, the folder of its run, and the configuration."""
    name, change = request.param
    folder = tmp_path_factory.mktemp("speed")
    model = speed.random_model(SHAPES[name], tokenizer, folder / "model")
    logs = speed.long_logs(260, 400, folder / "logs.jsonl")
    return name, folder, speed.run_config(model, logs, 2048, BATCH | change)


def test_generate(run):
    name, folder, config = run
    figures = speed.generate(folder, config)
    speed.show(f"generate {name} ({config['engine']['backend']})", figures)
    assert figures["written/s"] > 0


def test_train(run):
    name, folder, config = run
    figures = speed.train(folder, config, SHAPES[name])
    speed.show(f"train {name}", figures)
    assert figures["memory GiB"] <= figures["planned GiB"], "the plan must not promise what does not fit"
    if name == "qwen2.5-7b" and figures["MFU"] is not None:
        assert figures["MFU"] >= 0.40
