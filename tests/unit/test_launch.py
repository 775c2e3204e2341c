"""How training is spread over devices: what accelerate is told, and what cannot be."""

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

from drift.cli import StageError
from drift.config.training import accumulation_steps
from drift.training import launch
from drift.training.reference_logps import base_dtype
from tests.builders.training import train_settings, training_run


@pytest.mark.parametrize("launcher", ["ddp", "fsdp2", "zero3"])
def test_accelerate_reads_what_is_written_for_it(tmp_path, monkeypatch, launcher):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump(launch.accelerate_config(launcher, 4, "bf16")))
    read = load_config_from_file(str(path))
    assert read.num_processes == 4
    assert read.mixed_precision == "bf16"
    assert read.distributed_type == {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}[launcher]
    # Every key of a section is an option of `accelerate launch`, or it would be ignored without a
    # word.
    options = {action.dest for action in launch_command_parser()._actions}
    for section in (read.fsdp_config, read.deepspeed_config):
        assert set(section or {}) <= options
    if launcher == "fsdp2":
        assert read.fsdp_config["fsdp_version"] == 2
    if launcher == "zero3":
        assert read.deepspeed_config["zero_stage"] == 3


@pytest.mark.parametrize(("able", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_without_bf16_trains_in_fp32(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    lora = {"rank": 2, "alpha": 4, "dropout": 0.0, "targets": "all-linear"}
    assert base_dtype(train_settings({"lora": lora}).training) == precision
    assert launch.accelerate_config("ddp", 2, "bf16")["mixed_precision"] == ("bf16" if able else "no")
    assert launch.accelerate_config("ddp", 2, "fp32")["mixed_precision"] == "no"


def test_the_global_batch_is_divided_evenly_or_not_at_all():
    assert [accumulation_steps(32, 4, devices) for devices in (1, 2, 8)] == [8, 4, 1]
    for devices in (3, 16):
        with pytest.raises(ValueError, match=f"global_batch 32 is not a multiple of device_batch 4 x {devices} devices"):
            accumulation_steps(32, 4, devices)
    with pytest.raises(ValueError, match="global_batch 30 is not a multiple of device_batch 4; change one of them"):
        accumulation_steps(30, 4, 1)


@pytest.mark.parametrize(("given", "seen"), [(4, 0), (None, 4), (1, 4)])
def test_one_process_with_several_gpus_is_told_how_to_use_them(monkeypatch, given, seen):
    """Also where it is given one of those that it sees: transformers would spread a batch over
    all."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    with pytest.raises(
        StageError, match=r"single uses one GPU, but the job has 4; give `train` one, .*CUDA_VISIBLE_DEVICES=0.*or choose ddp"
    ):
        launch.processes(training_run(launcher="single", processes=given))
    assert launch.processes(training_run(launcher="fsdp2", processes=4)) == 4
