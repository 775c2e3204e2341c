"""Helpers of the rules: the validated configuration, canonical settings, code fingerprints, and where things are."""

import json
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from drift import layout
from drift.config import ConfigError, load
from drift.downloads import folder_name, is_remote
from drift.workflow.fingerprint import fingerprint
from drift.workflow.judges import Benchmarks, Judges

try:
    config = load(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['run']}"
paths = layout.paths(RESULTS)
benchmarks = Benchmarks(config, paths)
try:
    judges = Judges(config, paths, templates=SCRIPTS / "templates")
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# Relative interpreters are the repository's own, wherever the run is started from.
CPU = Path(workflow.basedir) / config["environments"]["cpu"]
GPU = Path(workflow.basedir) / config["environments"]["gpu"]


def one_of(names):
    """A wildcard constraint: any of `names`, literally."""
    return "|".join(re.escape(name) for name in names)


def settings(**values):
    """The settings of a job as one canonical string. Snakemake compares params as an unordered set of values, so that two
    values that change places would go unnoticed if each were a param of its own."""
    return json.dumps(values, sort_keys=True)


def code(program, *data):
    """What the program means, imports included: a rule that carries this reruns when its code has changed, and only then.

    Found out when a job is looked at that carries it: each Slurm job starts snakemake twice, for one job.
    """

    @cache
    def meaning():
        return fingerprint(SCRIPTS / f"{program}.py", *(path for pattern in data for path in SCRIPTS.glob(pattern)))

    return lambda wildcards: meaning()


def grows(amount):
    """A resource of the first attempt; each further attempt gets as much again. Of `runtime`, minutes."""
    return lambda wildcards, attempt: amount * attempt


def policies_of(model):
    """The policies of a model in the order of their making: base, warm-up, then each method's iterations."""
    iterations = range(1, config["iterations"] + 1)
    return [f"{model}/base", f"{model}/warmup"] + [
        f"{model}/{method}/iter{k}" for method in config["methods"] for k in iterations
    ]


POLICIES = [policy for model in config["models"] for policy in policies_of(model)]


def iteration_of(policy):
    """Method and number of an iteration's policy (METHOD/iterK); None for the base model and the warm-up."""
    match = re.fullmatch(r"(.+)/iter(\d+)", policy)
    return match and (match[1], int(match[2]))


def method_and_iteration(policy):
    """A policy's method and iteration: base is -1, the warm-up 0."""
    trained = iteration_of(policy.split("/", 1)[1])
    return trained or (Path(policy).name, {"base": -1, "warmup": 0}[Path(policy).name])


def located(address):
    """Where a model or source lies: a local path as it is, anything else in the folder that `fetch` fills."""
    return f"downloads/{folder_name(address)}" if is_remote(address) else address


def files_of(benchmark):
    """The addresses of a benchmark's files, by what they are."""
    named = {name: benchmark[name] for name in ("path", "baseline", "difficulty", "gamed") if benchmark[name]}
    return named | {f"references.{model}": address for model, address in benchmark["references"].items()}


def file_at(address):
    """A file of a benchmark as an input: what is fetched is pinned by its address, what is local may change."""
    return ancient(located(address)) if is_remote(address) else address


def task_files(wildcards):
    """What a benchmark's tasks are made of, by name: the source, and files of answers and of difficulties."""
    row = config["evaluation"]["benchmarks"][wildcards.benchmark]
    named = {
        "source": f"{RESULTS}/data/dsat.parquet" if row["path"] is None else file_at(row["path"]),
        **{name: file_at(row[name]) for name in ("baseline", "difficulty") if row[name]},
    }
    references = [file_at(address) for address in row["references"].values()]
    return named | ({"references": references} if references else {})


def task_options(benchmark, files):
    """The files of answers and of difficulties as options of tasks.py."""
    row = config["evaluation"]["benchmarks"][benchmark]
    named = [part for name in ("baseline", "difficulty") if row[name] for part in (f"--{name}", files[name])]
    models = [f"{model}={located(address)}" for model, address in row["references"].items()]
    return named + (["--reference", *models] if models else [])


ADDRESSES = {
    folder_name(address): address
    for address in [
        *(model["path"] for model in config["models"].values()),
        *(judge["path"] for judge in config["evaluation"]["judges"].values() if judge["path"]),
        *(path for source in config["data"]["sources"].values() for path in (source["path"], source["conversations"]) if path),
        *(address for benchmark in config["evaluation"]["benchmarks"].values() for address in files_of(benchmark).values()),
        config["evaluation"]["validation"],
        *(model["path"] for model in config["reward_models"].values()),
        *(labeler["path"] for labeler in config["data"]["labelers"].values() if labeler["path"]),
    ]
    if address and is_remote(address)
}


def model_folder(path, folder):
    """Where a model that runs here is, in the results: with the model to improve of the same address, if there is one, else in
    `folder`."""
    same = [name for name, model in config["models"].items() if model["path"] == path]
    return f"{same[0]}/base" if same else folder


# The benchmarks that no training prompt may hold; the held-out one is split off from the same conversations.
KEPT_OUT = {
    name: f"{RESULTS}/data/benchmarks/{name}.parquet"
    for name, row in config["evaluation"]["benchmarks"].items()
    if row["kind"] != "heldout" and row["keep_out"]
}


def shards(folder, count):
    """The completion files of a folder."""
    return [f"{folder}/completions/{i}-of-{count}.parquet" for i in range(1, count + 1)]


def gpus(resources):
    """The GPUs that a job is given, as `gpu: N` or `gres: gpu[:MODEL]:N`; None where the profile does not say."""
    gres = re.fullmatch(r"gpu(?::[^:]+)*?(?::(\d+))?", str(resources.get("gres", "")))
    return resources.get("gpu") or (int(gres[1] or 1) if gres else None)


# What of a stage's resources decides where it runs and with which GPUs.
PLACE = ("slurm_partition", "slurm_account", "qos", "constraint", "slurm_extra", "gpu", "gpu_model", "gres")


def place_of(rule):
    """Where a rule runs, as the profile says it."""
    resources = workflow.get_rule(rule).resources
    return {name: resources[name].raw for name in PLACE if name in resources}


def endpoints_of(section):
    """Every endpoint in a section of the configuration, by the name of its row."""
    rows = {name: row for name, row in section.items() if isinstance(row, dict)}
    found = {name: row["endpoint"] for name, row in rows.items() if row.get("endpoint")}
    return found | {name: endpoint for row in rows.values() for name, endpoint in endpoints_of(row).items()}


def node_settings(kind):
    """What a job checks: its own environment and GPUs, and what it must see."""
    python = {"cpu": CPU, "gpu": GPU}[kind]
    addresses = [
        *(row["path"] for row in [*config["models"].values(), *config["reward_models"].values()]),
        *(path for row in config["data"]["sources"].values() for path in (row["path"], row["conversations"]) if path),
    ]
    return lambda wildcards, resources: settings(
        kind=kind,
        python=str(python),
        lock=str(Path(workflow.basedir) / f"envs/{'cpu' if python == CPU else kind}.lock"),
        results=RESULTS,
        gpus=gpus(resources) or 0,
        paths=[str(Path(address).resolve()) for address in addresses if not is_remote(address)],
        endpoints=endpoints_of(config),
    )
