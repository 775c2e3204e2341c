"""The machines that a run is planned for: what their GPUs can do, by the data sheet."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from drift.cli import StageError


@dataclass(frozen=True)
class Machine:
    """GPUs of one kind, and the shares of their speed that programs reach.

    The shares: published supervised fine-tuning of a 7B on four A100 reaches 0.40 (DeepSpeed) and
    0.41 (FSDP) by Hugging Face's "From DeepSpeed to FSDP and back again"; the other two are ours.
    """

    memory: float  # GiB of a GPU, as PyTorch reports it (a little less than the name says)
    tflops: float  # TFLOP/s of a GPU, bf16, dense
    bandwidth: float  # TB/s of a GPU's memory
    fp32: float | None = None  # TFLOP/s of a GPU, fp32 without tensor cores; None: a sixteenth of tflops
    gpus: int = 1
    host_memory: float | None = None  # GiB of the host that a job gets; None: not looked at
    disk: float | None = None  # GB that are free; None: not looked at
    price: float | None = None  # USD per GPU hour
    training_share: float = 0.40  # of tflops, in training
    prefill_share: float = 0.50  # of tflops, while prompts are read
    bandwidth_share: float = 0.60  # of bandwidth, while replies are written

    def __post_init__(self):
        for name in ("memory", "tflops", "bandwidth"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or value <= 0:
                raise StageError(f"{name} must be a number above 0 (GiB, bf16 TFLOP/s, TB/s), not {value}")
        if not isinstance(self.gpus, int) or self.gpus < 1:
            raise StageError(f"gpus must be a whole number from 1, not {self.gpus}")

    @property
    def training_rate(self) -> float:
        """Operations a second of a GPU where models are trained or read in bf16."""
        return self.tflops * 1e12 * self.training_share

    @property
    def fp32_rate(self) -> float:
        """The same in fp32."""
        return (self.fp32 or self.tflops / 16) * 1e12 * self.training_share

    @property
    def shares(self) -> dict[str, float]:
        """The shares of its speed that are assumed to be reached."""
        return {name: getattr(self, name) for name in ("training_share", "prefill_share", "bandwidth_share")}


# Speeds from NVIDIA's data sheets of the SXM modules, or of the card where there is none.
MACHINES = {
    "a100-40": {"memory": 39.4, "tflops": 312, "bandwidth": 1.555, "fp32": 19.5},
    "a100-80": {"memory": 79.1, "tflops": 312, "bandwidth": 2.039, "fp32": 19.5},
    "h100-80": {"memory": 79.1, "tflops": 989, "bandwidth": 3.35, "fp32": 67},
    "h200-141": {"memory": 139.7, "tflops": 989, "bandwidth": 4.8, "fp32": 67},
    "l40s-48": {"memory": 44.4, "tflops": 362, "bandwidth": 0.864, "fp32": 91.6},
    "rtx4090-24": {"memory": 23.6, "tflops": 165, "bandwidth": 1.008, "fp32": 82.6},
}


# The oldest Linux driver that runs programs of a CUDA version, by its first number (NVIDIA's "CUDA
# Compatibility", minor version compatibility).
DRIVERS = {"11": "450.80.02", "12": "525.60.13", "13": "580.65.06"}


def oldest_driver(cuda: str) -> str:
    """The oldest driver for a CUDA version, such as 13.0. Raises StageError of an unknown one."""
    try:
        return DRIVERS[cuda.split(".")[0]]
    except KeyError:
        raise StageError(
            f"CUDA {cuda}: which driver it needs is not known; add it to scripts/drift/workflow/machines.py"
        ) from None


def read_machine(name: str, **overrides: Any) -> Machine:
    """The machine of `name`, a row of MACHINES or a YAML file with the fields of Machine.

    `overrides` that are not None replace its values. Raises StageError.
    """
    if name in MACHINES:
        values = MACHINES[name]
    elif Path(name).is_file():
        try:
            values = yaml.safe_load(Path(name).read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise StageError(f"{name}: cannot be read as YAML ({error})") from error
    else:
        raise StageError(f"there is no machine {name}: give a YAML file, or one of {', '.join(MACHINES)}")
    known = {field.name for field in fields(Machine)}
    if not isinstance(values, dict) or (others := set(values) - known):
        keys = sorted(others) if isinstance(values, dict) else values
        raise StageError(f"{name}: unknown keys {keys}; a machine has {', '.join(sorted(known))}")
    missing = {"memory", "tflops", "bandwidth"} - set(values)
    if missing:
        raise StageError(f"{name}: {', '.join(sorted(missing))} missing (GiB, bf16 TFLOP/s, TB/s)")
    return Machine(**values | {key: value for key, value in overrides.items() if value is not None})
