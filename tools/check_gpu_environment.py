"""Whether an environment can run the GPU stages: what pip installed, looked at before a job finds
out. Needs no GPU.

    .venv/gpu/bin/python tools/check_gpu_environment.py

`make envs-gpu` calls it. It checks the environment of the interpreter that runs it.
"""

import _path  # noqa: F401 - must come before drift
import importlib

from drift import cli
from drift.cli import StageError
from drift.workflow.machines import oldest_driver

# What the GPU stages import, beside torch.
PACKAGES = ("transformers", "trl", "peft", "deepspeed", "flashinfer", "vllm")
_AGAIN = "rm -r .venv/gpu, and make envs-gpu again"


def check(cuda: str | None, torch_version: str) -> str:
    """The CUDA version of a torch as text, with the driver that it needs. Raises StageError of a
    CPU build."""
    if cuda is None:
        raise StageError(
            f"torch {torch_version} is a CPU build: pip preferred an index or folder that has one. Unset PIP_EXTRA_INDEX_URL, "
            f"PIP_INDEX_URL and PIP_FIND_LINKS (`pip config list` shows what is set); {_AGAIN}"
        )
    return f"torch {torch_version}, CUDA {cuda}: nodes need driver {oldest_driver(cuda)} or newer"


def imported(packages: tuple[str, ...]) -> list[str]:
    """The versions of `packages`. Raises StageError with all that cannot be imported, and why."""
    versions, faults = [], []
    for name in packages:
        try:
            versions.append(f"{name} {importlib.import_module(name).__version__}")
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {str(error).strip()[:300]}")
    if faults:
        raise StageError("cannot be imported: " + "; ".join(faults) + f". Packages of other versions are mixed in: {_AGAIN}")
    return versions


def main() -> None:
    """Print what is there, or end with the fault and its cure."""
    try:
        import torch
    except ImportError as error:
        raise StageError(f"torch cannot be imported ({error}): {_AGAIN}") from error
    print(check(torch.version.cuda, torch.__version__))
    print(", ".join(imported(PACKAGES)))


if __name__ == "__main__":
    cli.run(main)
