"""Helpers of the rules: the validated configuration, canonical settings, code fingerprints, and where things are."""

import json
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from drift.config import ConfigError, load
from drift.fetch import folder_name, is_remote
from drift.fingerprint import fingerprint

try:
    config = load(config)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{config['run']}"

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
    """What the program means, imports included: a rule that carries this reruns when its code has changed, and only then."""
    return fingerprint(SCRIPTS / f"{program}.py", *(path for pattern in data for path in SCRIPTS.glob(pattern)))


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


def round_of(policy):
    """Method and number of an iteration's policy (METHOD/iterK); None for the base model and the warm-up."""
    match = re.fullmatch(r"(.+)/iter(\d+)", policy)
    return match and (match[1], int(match[2]))


def method_and_iteration(policy):
    """A policy's method and iteration: base is -1, the warm-up 0."""
    trained = round_of(policy.split("/", 1)[1])
    return trained or (Path(policy).name, {"base": -1, "warmup": 0}[Path(policy).name])


def recipe_of(trained):
    """The recipe of a trained policy; the warm-up's pairs are logged on both sides."""
    if trained == "warmup":
        return {"prompts": "seed", "chosen": "user", "rejected": "user"}
    method, _ = round_of(trained)
    return config["recipes"][method]


def previous(trained):
    """The policy that this one is trained from and sampled from."""
    if trained == "warmup":
        return "base"
    method, k = round_of(trained)
    return f"{method}/iter{k - 1}" if k > 1 else config["recipes"][method]["start"]


def sampled_kinds(trained):
    """What a policy's pairs are sampled as, besides what users logged."""
    recipe = recipe_of(trained)
    return sorted({recipe["chosen"], recipe["rejected"]} - {"user"})


def located(address):
    """Where a model or source lies: a local path as it is, anything else in the folder that `fetch` fills."""
    return f"downloads/{folder_name(address)}" if is_remote(address) else address


ADDRESSES = {
    folder_name(address): address
    for address in [
        *(model["path"] for model in config["models"].values()),
        *(judge["path"] for judge in config["evaluation"]["judges"].values()),
        *(source["path"] for source in config["data"]["sources"].values()),
    ]
    if is_remote(address)
}


def judge_policy(judge):
    """Where the judge's model is: with the model of the same address, if there is one."""
    path = config["evaluation"]["judges"][judge]["path"]
    same = [name for name, model in config["models"].items() if model["path"] == path]
    return f"{same[0]}/base" if same else f"judges/{judge}"


def shards(folder, count):
    """The completion files of a folder."""
    return [f"{folder}/completions/{i}-of-{count}.parquet" for i in range(1, count + 1)]


def sampled_inputs(wildcards):
    """The requests and completions behind a policy's pairs; none where both sides are logged."""
    if not sampled_kinds(wildcards.trained):
        return {"requests": [], "completions": []}
    folder = f"{RESULTS}/{wildcards.model}/{wildcards.trained}"
    return {"requests": f"{folder}/requests.parquet", "completions": shards(folder, config["sampling"]["shards"])}


# What `generate` is told about sampling; the rest of `sampling` shapes other stages.
DECODING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")

# How a training runs here changes no result, and its epochs are given to each training by name.
TRAINING_RUN = {"checkpoint_steps", "gradient_checkpointing"}
TRAINING = set(config["training"]) - TRAINING_RUN - {"epochs", "warmup_epochs"}


# What of a stage's resources decides where it runs and with which GPUs.
PLACE = ("slurm_partition", "slurm_account", "qos", "constraint", "slurm_extra", "gpu", "gpu_model", "gres")


def place_of(rule):
    """Where a rule runs, as the profile says it."""
    resources = workflow.get_rule(rule).resources
    return {name: resources[name].raw for name in PLACE if name in resources}


def gpus_of(resources):
    """How many GPUs a job was asked to have, as --gpus or as --gres."""
    gres = re.search(r"gpu(?::[^:]+)?:(\d+)", str(resources.get("gres", "")))
    return int(gres[1]) if gres else resources.get("gpu", 0)


def endpoints_of(section):
    """Every endpoint in a section of the configuration, by the name of its row."""
    rows = {name: row for name, row in section.items() if isinstance(row, dict)}
    found = {name: row["endpoint"] for name, row in rows.items() if row.get("endpoint")}
    return found | {name: endpoint for row in rows.values() for name, endpoint in endpoints_of(row).items()}


def node_settings(kind):
    """What a job checks: its own environment and GPUs, and what it must see."""
    python = {"cpu": CPU, "gpu": GPU}[kind]
    addresses = [
        *(row["path"] for row in config["models"].values()),
        *(row["path"] for row in config["data"]["sources"].values()),
    ]
    return lambda wildcards, resources: settings(
        kind=kind,
        python=str(python),
        lock=str(Path(workflow.basedir) / f"envs/{'cpu' if python == CPU else kind}.lock"),
        results=RESULTS,
        gpus=gpus_of(resources),
        paths=[str(Path(address).resolve()) for address in addresses if not is_remote(address)],
        endpoints=endpoints_of(config),
    )
