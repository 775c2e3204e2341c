"""Training on several devices: the program starts itself again, once a device, by `accelerate
launch`.

    single   one process, one device
    ddp      a whole copy of weights, gradients and optimizer state on each device
    fsdp2    all of them in shards (PyTorch's fully sharded data parallelism, version 2)
    zero3    the same by DeepSpeed

Sharded or not, a step is made of the same pairs; only how many batches a device accumulates
changes.
"""

import os
import sys
from pathlib import Path

import torch
import yaml

from drift.cli import StageError
from drift.files import write_text
from drift.policies import runs_bf16
from drift.settings.training import TrainingRun

_TYPES = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}


def in_worker() -> bool:
    """Whether this process is one of those that `accelerate launch` started."""
    return "LOCAL_RANK" in os.environ


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def processes(run: TrainingRun) -> int:
    """How many processes train: `run.processes`, or one a visible GPU, and one where there is none.

    Raises StageError where the launcher cannot start as many.
    """
    count = run.processes or max(torch.cuda.device_count(), 1)
    # One process uses all that it sees, whatever it is given.
    seen = max(count, torch.cuda.device_count())
    if run.launcher == "single" and seen > 1:
        raise StageError(
            f"training.launcher: single uses one GPU, but the job has {seen}; give `train` one, with CUDA_VISIBLE_DEVICES=0 where "
            "no scheduler does, or choose ddp, fsdp2 or zero3"
        )
    return count


def mixed_precision(precision: str) -> bool:
    """Whether activations are in bf16: where `training.precision` says so and this machine can."""
    return precision == "bf16" and runs_bf16()


def accelerate_config(launcher: str, count: int, precision: str) -> dict:
    """What `accelerate launch --config_file` reads, for `count` devices of one machine."""
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _TYPES[launcher],
        "machine_rank": 0,
        "main_process_port": 0,  # any free one: two training runs may share a machine
        "mixed_precision": "bf16" if mixed_precision(precision) else "no",
        "num_machines": 1,
        "num_processes": count,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
    }
    if launcher == "fsdp2":
        config["fsdp_config"] = {
            # Gradient checkpointing is the trainer's; accelerate refuses two of them. Master
            # weights stay fp32.
            "fsdp_activation_checkpointing": False,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_offload_params": False,
            "fsdp_reshard_after_forward": True,
            "fsdp_state_dict_type": "FULL_STATE_DICT",
            "fsdp_version": 2,
        }
    if launcher == "zero3":
        config["deepspeed_config"] = {
            "deepspeed_multinode_launcher": "standard",
            "offload_optimizer_device": "none",
            "offload_param_device": "none",
            "zero3_init_flag": True,
            "zero3_save_16bit_model": True,
            "zero_stage": 3,
        }
    return config


def relaunch(launcher: str, count: int, precision: str, config: Path) -> None:
    """Replace this process by `accelerate launch` of the same command; its configuration is written
    to `config`. Does not return."""
    write_text(config, yaml.safe_dump(accelerate_config(launcher, count, precision)))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), *sys.argv]
    # A worker that waits for another must not spin on the cores that the other needs.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // count)))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
