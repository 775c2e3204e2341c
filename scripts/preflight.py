"""What would otherwise fail after hours, checked in a minute.

    preflight.py login    checks where snakemake runs: partitions, models and data, disk, judges
    preflight.py node     checks inside a job: interpreter and packages, GPUs, folders, endpoints
    preflight.py report   prints what the other two wrote, and fails if one of the checks failed

The first two write a list of checks as JSON (--checks), and fail only where no job could start.
Runs with the driver's Python, so that a missing interpreter of a stage is a failed check, too.
"""

import _python  # noqa: F401 - before what may be missing
import argparse
import http.client
import json
import os
import platform
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from drift import cli
from drift.cli import StageError
from drift.config.endpoint import address_of
from drift.downloads import folder_name, is_remote
from drift.engines.access import key_of, untrusted_by
from drift.settings.base import Settings
from drift.settings.preflight import AskedEndpoint, LoginSettings, NodeSettings
from drift.workflow.clocks import TOLERANCE
from drift.workflow.machines import oldest_driver

# A checkpoint holds fp32 weights, and the optimizer keeps two fp32 averages at most: six times the
# bytes of bf16 weights.
CHECKPOINT = 6

# Where the kernel's module says which driver a node has.
DRIVER = Path("/proc/driver/nvidia/version")
# What an endpoint without a list of its models means.
UNLISTED = "it may answer chats all the same, but whether it has this model is not known"

# What a stage's interpreter is asked about itself; its argument is the kind of environment.
PROBE = """
import importlib.metadata, json, sys
versions = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
gpus, cuda = [], None
if "torch" in versions and sys.argv[1] == "gpu":
    import torch
    cuda = torch.version.cuda
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"python": sys.version.split()[0], "versions": versions, "cuda": cuda, "gpus": gpus}))
"""


def check(name: str, fault: str | None, detail: str, *, warning: bool = False) -> dict:
    """One line of the report: `fault` says what is wrong and how to fix it, None that all is
    well."""
    state = "ok" if fault is None else "warn" if warning else "FAIL"
    return {"name": name, "state": state, "text": detail if fault is None else fault}


def partitions(asked: list[str]) -> dict:
    """Whether Slurm has the partitions that the profile asks for, and they are up."""
    try:
        lines = subprocess.run(
            ["sinfo", "--noheader", "--format=%R|%a"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip()
        return check("partitions", f"Slurm does not answer ({words}): run this where sbatch works", "")
    there = dict(line.split("|") for line in lines.splitlines())
    faults = [f"there is no partition {name}" for name in asked if name not in there]
    faults += [f"partition {name} is {there[name]}" for name in asked if there.get(name, "up") != "up"]
    cure = f"{'; '.join(faults)}; there are: {', '.join(there)}. Change the SITE block of slurm/config.yaml"
    return check("partitions", cure if faults else None, ", ".join(asked))


def located(address: str) -> tuple[dict, int | None]:
    """Whether a model or file is on this machine or can be fetched, and its weights in bytes where
    that is known."""
    name = address.split("#")[0][:60]
    folder = Path("downloads", folder_name(address)) if is_remote(address) else Path(address)
    if folder.exists():
        return check(name, None, f"is in {folder}"), sum(path.stat().st_size for path in folder.glob("*.safetensors")) or None
    if not is_remote(address):
        return check(name, f"{address} does not exist: fix its path in the configuration", ""), None
    kind, rest = address.split(":", 1)
    if kind == "pypi":
        index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
        url = f"{index}/{rest.split('==')[0]}/"
    else:
        repository, revision = rest.split("@", 1)
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        folder = "datasets" if kind == "hf-dataset" else "models"
        url = f"{hub}/api/{folder}/{repository}/revision/{revision.split('/')[0]}?blobs=true"
    try:
        body = get(url, os.environ.get("HF_TOKEN") if kind != "pypi" else None)
    except urllib.error.HTTPError as error:
        cure = "accept its terms on its page and set HF_TOKEN" if error.code in (401, 403) else "check the address"
        return check(name, f"{url} answers {error.code}: {cure}", ""), None
    except OSError as error:
        cure = "set HF_ENDPOINT or PIP_INDEX_URL to a mirror, or fetch it elsewhere and give a local path"
        return check(name, f"{url} cannot be reached from here ({error}): {cure}", ""), None
    # Only models are sized: of the rest, one file or a few are fetched.
    files = json.loads(body)["siblings"] if kind == "hf" else []
    weights = sum(file["size"] for file in files if file["rfilename"].endswith(".safetensors"))
    return check(name, None, "can be fetched"), weights or None


def get(url: str, token: str | None = None) -> bytes:
    """What an address answers. Raises HTTPError or OSError."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read()


def disk(weights: dict[str, tuple[int | None, int]], folder: Path) -> dict:
    """Whether all policies with their remainders and one checkpoint fit; `weights` has of each
    model its bytes and the number of its policies and remainders."""
    free = shutil.disk_usage(folder).free
    unknown = [model for model, (size, _) in weights.items() if size is None]
    need = sum(size * (copies + CHECKPOINT) for size, copies in weights.values() if size)
    text = f"about {need / 1e9:.1f} GB for policies, their remainders and a checkpoint, "
    text += f"{free / 1e9:.1f} GB free in {folder.resolve()}"
    text += f" (size of {', '.join(unknown)} unknown)" if unknown else ""
    return check("disk", None if need < free else f"{text}: free some, or put the results elsewhere with --directory", text)


def environment(python: str, kind: str, lock: Path) -> tuple[list[dict], dict | None]:
    """Whether a stage's interpreter runs and has the locked packages, and what PROBE prints in
    it."""
    name = f"{kind} environment"
    try:
        done = subprocess.run([python, "-c", PROBE, kind], capture_output=True, text=True, check=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        words = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        cure = f"make envs{'-gpu' if kind == 'gpu' else ''}, or set environments.{kind} to an interpreter that this node sees"
        return [check(name, f"{python} does not run here ({words}): {cure}", "")], None
    probed = json.loads(done.stdout)
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text(), re.MULTILINE))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    missing = sorted(pins.keys() - probed["versions"].keys())
    other = [
        f"{n} {probed['versions'][n]}" for n, v in pins.items() if n not in missing and probed["versions"][n].split("+")[0] != v
    ]
    fault = (f"not installed: {', '.join(missing[:5])}. " if missing else "") + (
        f"other versions than {lock.name}: {', '.join(other[:5])}. " if other else ""
    )
    text = f"Python {probed['python']}, {len(pins)} packages as in {lock.name}"
    return [check(name, f"{fault}make envs envs-gpu" if fault else None, text, warning=not missing)], probed


def gpus(asked: int, probed: dict | None) -> list[dict]:
    """Whether a job has the GPUs that it asked for, and PyTorch sees them."""
    visible = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    cure = "gpu or gres of this stage in slurm/config.yaml, and that its partition has such nodes (sinfo -o '%P %G')"
    fault = f"asked for {asked}, CUDA_VISIBLE_DEVICES names {len(visible)}: check {cure}"
    checks = [check("GPUs given", fault if len(visible) != asked else None, f"{asked} ({','.join(visible)})")]
    if probed and probed["cuda"] is None:
        fault = "this PyTorch is a CPU build: make envs-gpu, and set environments.gpu to it"
        checks.append(check("GPUs seen", fault, "", warning=True))
    elif probed:
        checks.append(driver(probed["cuda"], DRIVER))
        fault = f"asked for {asked}, PyTorch (CUDA {probed['cuda']}) sees {len(probed['gpus'])}: nvidia-smi says what is there"
        checks.append(check("GPUs seen", fault if len(probed["gpus"]) != asked else None, ", ".join(probed["gpus"])))
    return checks


def driver(cuda: str, file: Path) -> dict:
    """Whether the node's driver, as the `file` of its module has it, is new enough for a CUDA
    version."""
    needed = oldest_driver(cuda)
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        found = None
    if not found:
        return check("driver", f"{file} says nothing of a driver: is this a node with NVIDIA GPUs?", "", warning=True)
    old = _numbers(found[1]) < _numbers(needed)
    fault = (
        f"{found[1]} is older than {needed}, which CUDA {cuda} needs: ask for nodes with a newer one (a constraint in "
        f"slurm/config.yaml), or the site's administrators for it or for NVIDIA's package cuda-compat. PyPI has these "
        f"versions of torch and vLLM for CUDA {cuda.split('.')[0]} alone, so no other lock can be made of it"
    )
    return check("driver", fault if old else None, f"{found[1]}, CUDA {cuda} needs {needed}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def writable(folders: list[Path]) -> dict:
    """Whether files can be made in these folders."""
    faults = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        except OSError as error:
            faults.append(f"{folder}: {error.strerror}")
    cure = f"{'; '.join(faults)}. Nodes must be able to write there; --directory, HF_HOME and TMPDIR choose other places"
    return check("folders", cure if faults else None, ", ".join(map(str, folders)))


def clock(folder: Path, written_before: Path | None = None) -> dict:
    """Whether this machine's clock is that of the storage, and not behind that of the machine which
    wrote a file before. Snakemake compares times of files, and removes what seems to be older than
    what it was made of."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        leads = [time.time() - os.stat(file.name).st_mtime]
    if written_before is not None:
        leads.append(min(time.time() - written_before.stat().st_mtime, 0.0))
    lead = max(leads, key=abs)
    cure = f"the clock of {platform.node()} is {abs(lead):.0f} s {'ahead' if lead > 0 else 'behind'}: set all clocks by NTP"
    return check("clock", cure if abs(lead) > TOLERANCE else None, f"within {TOLERANCE:.0f} s of the others")


def endpoint(name: str, asked: AskedEndpoint) -> dict:
    """Whether an OpenAI-compatible endpoint answers and knows its model.

    It is asked for its models, which costs nothing. An endpoint that does not list them as OpenAI's
    API does may answer chats all the same: that is a warning.
    """
    line = f"endpoint of {name}"
    url = address_of(asked.url, "/models")
    try:
        key = key_of(asked.key, asked.url)
        listed = json.loads(get(url, key))
    except StageError as error:
        return check(line, str(error), "")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return check(line, f"{url} answers {error.code}: is the key in {asked.key} right?", "")
        if error.code >= 500:
            return check(line, f"{url} answers {error.code}: is the server ready?", "")
        return check(line, f"{url} answers {error.code}: {UNLISTED}", "", warning=True)
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return check(line, untrusted_by(asked.url, cause), "")
        return check(line, f"{url} does not answer from this node ({error}): is it up, and may nodes reach it?", "")
    except (ValueError, RecursionError):
        return check(line, f"{url} does not answer with JSON: {UNLISTED}", "", warning=True)
    models = names_of(listed)
    if not models:
        return check(line, f"{url} lists no models: {UNLISTED}", "", warning=True)
    fault = f"{url} has no model {asked.model}; it has {', '.join(models[:10])}"
    return check(line, fault if asked.model not in models else None, f"{asked.model} at {asked.url}")


def names_of(listed: object) -> list[str]:
    """The names in a list of models, in any of the forms that servers give it; none for others."""
    if isinstance(listed, dict):
        listed = listed.get("data") or listed.get("models")
    found = []
    for model in listed if isinstance(listed, list) else []:
        names = [model.get("id"), model.get("name"), model.get("model")] if isinstance(model, dict) else [model]
        found += [name for name in names if isinstance(name, str)]
    return list(dict.fromkeys(found))


def login(settings: LoginSettings) -> list[dict]:
    """The checks where snakemake runs."""
    checks = [partitions(settings.partitions)] if settings.partitions else []
    sizes = {}
    for address in settings.addresses:
        line, sizes[address] = located(address)
        checks.append(line)
    weights = {name: (sizes[model.path], model.policies + model.remainders) for name, model in settings.models.items()}
    related = [check("judge", text, "", warning=True) for text in settings.related_judges]
    return [*checks, disk(weights, Path(".")), clock(Path(".")), *related]


def node(settings: NodeSettings, written_before: Path) -> list[dict]:
    """The checks inside a job; `written_before` is what the login's checks were written to."""
    checks, itself = environment(settings.python, settings.kind, Path(settings.lock))
    if settings.kind == "gpu":
        checks += gpus(settings.gpus, itself)
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    checks.append(writable([Path(settings.results).resolve(), cache, Path(tempfile.gettempdir())]))
    if checks[-1]["state"] == "ok":
        checks.append(clock(Path(settings.results), written_before))
    hidden = [path for path in settings.paths if not Path(path).exists()]
    fault = f"this node does not see {', '.join(hidden)}: put them on shared storage"
    checks.append(check("local paths", fault if hidden else None, f"all {len(settings.paths)} are seen"))
    return checks + [endpoint(name, asked) for name, asked in settings.endpoints.items()]


def report(parts: dict[str, list[dict]]) -> str:
    """All checks as text, by where they were made."""
    lines = []
    for place, checks in parts.items():
        lines.append(place)
        lines += [f"  {line['state']:<4}  {line['name']}: {line['text']}" for line in checks]
    return "\n".join(lines)


def print_report(paths: list[Path]) -> None:
    """Print the checks of every file; ends the program with an error where one failed."""
    parts = {path.stem: json.loads(path.read_text()) for path in paths}
    for path in paths:
        lead = path.stat().st_mtime - time.time()
        if lead > TOLERANCE:
            fault = f"its node's clock is {lead:.0f} s ahead of the one here: set all clocks by NTP"
            parts[path.stem].append(check("clock", fault, ""))
    print(report(parts))
    failed = sum(line["state"] == "FAIL" for checks in parts.values() for line in checks)
    if failed:
        sys.exit(f"{failed} checks failed; fix them and run the preflight again")
    print("ready")


def add_checks(modes: argparse._SubParsersAction, name: str, settings: type[Settings], summary: str) -> argparse.ArgumentParser:
    """A mode that checks, with its settings."""
    mode = modes.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_settings(mode, "--settings", settings, "JSON object of what is checked")
    mode.add_argument("--checks", required=True, type=Path, help="JSON to write")
    return mode


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = command.add_subparsers(dest="mode", required=True)
    add_checks(modes, "login", LoginSettings, "check where snakemake runs")
    inside = add_checks(modes, "node", NodeSettings, "check inside a job")
    inside.add_argument("--login", required=True, type=Path, help="what the login's checks were written to")
    printed = modes.add_parser("report", help="print what the other two wrote")
    printed.add_argument("--parts", required=True, nargs="+", type=Path, help="what they wrote")
    arguments = command.parse_args()

    if arguments.mode == "report":
        print_report(arguments.parts)
        return
    checks = login(arguments.settings) if arguments.mode == "login" else node(arguments.settings, arguments.login)
    arguments.checks.write_text(json.dumps(checks))
    if any(line["name"] == "partitions" and line["state"] == "FAIL" for line in checks):
        sys.exit(f"{report({arguments.mode: checks})}\nno job was submitted; fix this and run the preflight again")


if __name__ == "__main__":
    main()
