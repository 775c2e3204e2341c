"""What `make test-gpu` runs on a GPU, on a CPU with a small shape: so that it works when a GPU is
at hand."""

import pytest

from drift.workflow.cost_model import Shape
from tests.gpu import speed


@pytest.mark.slow
def test_the_measurements_run_where_there_is_no_gpu(tokenizer, tmp_path, capsys, warm_environments):
    shape = Shape(64, 2, 2, 1, 128, len(tokenizer), query_bias=True)
    model = speed.random_model(shape, tokenizer, tmp_path / "model")
    logs = speed.long_logs(12, 20, tmp_path / "logs.jsonl")
    batch = {"device_batch": 2, "global_batch": 2, "gradient_checkpointing": True, "lora": {"rank": 4}, "learning_rate": 1e-2}
    config = speed.run_config(model, logs, 256, batch)
    config |= {"engine": {"backend": "transformers"}, "environments": warm_environments}
    generated = speed.generate(tmp_path, config)
    trained = speed.train(tmp_path, config, shape)
    speed.show("generate", generated)
    speed.show("train", trained)
    assert generated["written/s"] > 0
    assert trained["pairs"] == generated["requests"] == 10
    assert trained["TFLOP/s"] > 0
    assert (trained["MFU"], trained["memory GiB"]) == (None, None), "there is no GPU to relate it to"
    assert "memory GiB unknown" in capsys.readouterr().out
