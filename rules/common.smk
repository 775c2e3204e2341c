"""Helpers of the rules: the validated configuration, canonical settings, code fingerprints, and where things are."""

import hashlib
import json
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "scripts"
sys.path.insert(0, str(SCRIPTS))

from drift.benchmarks import KINDS
from drift.chat import TRANSCRIPT_STOPS
from drift.config import SELF, ConfigError, load
from drift.fetch import folder_name, is_remote
from drift.fingerprint import fingerprint
from drift.judges import PAIRWISE, asked, judging
from drift.rubric_schema import RUBRIC_SCHEMA

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
        return {"prompts": "seed", "chosen": "user", "rejected": "user", "rank": None}
    method, _ = round_of(trained)
    return config["recipes"][method]


def previous(trained):
    """The policy that this one is trained from and sampled from."""
    if trained == "warmup":
        return "base"
    method, k = round_of(trained)
    return f"{method}/iter{k - 1}" if k > 1 else config["recipes"][method]["start"]


def samples_of(trained):
    """How many replies of each kind (plain, guided) a prompt of a policy's pairs is sampled; none where both sides are logged."""
    recipe = recipe_of(trained)
    if recipe["rank"]:
        return {kind: recipe["candidates"].count(kind) for kind in sorted(set(recipe["candidates"]))}
    return {kind: config["sampling"]["n"] for kind in sorted({recipe["chosen"], recipe["rejected"]} - {"user"})}


def located(address):
    """Where a model or source lies: a local path as it is, anything else in the folder that `fetch` fills."""
    return f"downloads/{folder_name(address)}" if is_remote(address) else address


def files_of(benchmark):
    """The addresses of a benchmark's files, by what they are."""
    named = {name: benchmark[name] for name in ("path", "baseline", "difficulty", "gamed") if benchmark[name]}
    return named | {f"references.{model}": address for model, address in benchmark["references"].items()}


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


def file_at(address):
    """A file of a benchmark as an input: what is fetched is pinned by its address, what is local may change."""
    return ancient(located(address)) if is_remote(address) else address


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


def benchmark_context(benchmark):
    """Tokens that a benchmark's prompt and answer have together."""
    return config["evaluation"]["benchmarks"][benchmark]["context"] or config["sampling"]["context"]


def judges_of(benchmark):
    """Who judges a benchmark, in the order of the configuration."""
    named = config["evaluation"]["benchmarks"][benchmark]["judge"] or config["evaluation"]["judge"]
    return [named] if isinstance(named, str) else named


def judging_of(benchmark, judge):
    """How a judge judges a benchmark."""
    row = config["evaluation"]["benchmarks"][benchmark]
    return judging(row, config["evaluation"]["judges"][judge], KINDS[row["kind"]].JUDGING)


def trial_of(judge, benchmark):
    """The benchmark under whose name a judge is tried for this one: the first that it judges in the same way."""
    how = judging_of(benchmark, judge)
    return next(
        other for other in config["evaluation"]["benchmarks"] if judge in judges_of(other) and judging_of(other, judge) == how
    )


def trials():
    """Judge, benchmark, the folder of its verdicts on published answers, and what was published of these."""
    if config["evaluation"]["validation"] is None:
        return []
    return [
        (
            judge,
            benchmark,
            f"{RESULTS}/judges/{judge}/validation/{trial_of(judge, benchmark)}",
            published_folder(benchmark, judge),
        )
        for benchmark in config["evaluation"]["benchmarks"]
        for judge in judges_of(benchmark)
    ]


def published_folder(benchmark, judge):
    """Where the published answers of the kind that a judge is asked about lie."""
    kind = "pairwise" if judging_of(benchmark, judge)["verdict"] in PAIRWISE else "score"
    return f"{RESULTS}/eval/validation/{kind}"


def template_of(row, how):
    """The file with the judge prompt of a judge's row, and the hash of what it says."""
    path = Path(row["template"]) if row["template"] else SCRIPTS / "templates" / f"judge-{how['verdict']}.txt"
    try:
        return path, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        (name,) = [name for name, other in config["evaluation"]["judges"].items() if other is row]
        raise WorkflowError(f"evaluation.judges.{name}.template: {path} cannot be read ({error.strerror})") from None


def judge_prompt(benchmark, judge):
    """The hash of what a judge is told about a benchmark."""
    return template_of(config["evaluation"]["judges"][judge], judging_of(benchmark, judge))[1]


def question_settings(row, how):
    """What shapes the questions to a judge, by its row and how it judges."""
    return settings(
        seed=config["seed"],
        context=row["context"],
        max_tokens=1 if how["verdict"] == "letter" else row["decoding"]["max_tokens"],
        judging=how,
        template_sha256=template_of(row, how)[1],
    )


def judge_row(wildcards):
    """The configuration's row of a judge."""
    return config["evaluation"]["judges"][wildcards.judge]


def laid_out(path, folder):
    """Where a model that runs here is, in the results: with the model to improve of the same address, if there is one, else in
    `folder`."""
    same = [name for name, model in config["models"].items() if model["path"] == path]
    return f"{same[0]}/base" if same else folder


def judge_policy(judge):
    """Where the judge's model is. Only for a judge that runs here."""
    return laid_out(config["evaluation"]["judges"][judge]["path"], f"judges/{judge}")


# The benchmarks that no training prompt may hold; the held-out one is split off from the same conversations.
PUBLISHED = {
    name: f"{RESULTS}/data/benchmarks/{name}.parquet"
    for name, row in config["evaluation"]["benchmarks"].items()
    if row["kind"] != "heldout"
}

# The labelers that ask a model.
RUBRICS = [name for name, row in config["data"]["labelers"].items() if row["kind"] == "rubric"]
# An answer is one line of JSON with a quote; the likeliest one, as a label is no matter of taste.
LABEL_DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 256}


def labeler_row(wildcards):
    """The configuration's row of a labeler."""
    return config["data"]["labelers"][wildcards.labeler]


def labeler_policy(labeler):
    """Where a rubric labeler's model is. Only for a model that runs here."""
    return laid_out(config["data"]["labelers"][labeler]["path"], f"data/labelers/{labeler}")


def labeler_requests(labeler):
    """What a rubric labeler's model is asked."""
    return f"{RESULTS}/data/labelers/{labeler}/requests.parquet"


def labeler_completions(labeler):
    """What it answers, by shard."""
    return shards(f"{RESULTS}/data/labelers/{labeler}", config["data"]["labelers"][labeler]["shards"])


def shards(folder, count):
    """The completion files of a folder."""
    return [f"{folder}/completions/{i}-of-{count}.parquet" for i in range(1, count + 1)]


def sampled_inputs(wildcards):
    """The requests and completions behind a policy's pairs; none where both sides are logged."""
    if not samples_of(wildcards.trained):
        return {"requests": [], "completions": []}
    folder = f"{RESULTS}/{wildcards.model}/{wildcards.trained}"
    return {"requests": f"{folder}/requests.parquet", "completions": shards(folder, config["sampling"]["shards"])}


def ranks_of(wildcards):
    """How the candidates of a round rank: by a reward model, or as a judge scores them; nothing where none are ranked."""
    ranker = recipe_of(wildcards.trained)["rank"]
    if ranker is None:
        return []
    name = "rewards" if ranker in config["reward_models"] else "scores"
    return f"{RESULTS}/{wildcards.model}/{wildcards.trained}/rank/{name}.parquet"


# How the policy itself is asked to score what it wrote.
SELF_ROW = {
    "path": None,
    "endpoint": None,
    "context": config["sampling"]["context"],
    "verdict": "score",
    "template": None,
    "votes": 1,
    "decoding": LABEL_DECODING,
    "min_verdicts": 0.0,
}


def ranking_judge(wildcards):
    """The row of the judge that scores a round's candidates."""
    ranker = recipe_of(wildcards.trained)["rank"]
    return SELF_ROW if ranker == SELF else config["evaluation"]["judges"][ranker]


def ranking_answerer(wildcards):
    """What is read to ask that judge: the policy that wrote the candidates, or a judge's."""
    ranker = recipe_of(wildcards.trained)["rank"]
    folder = f"{wildcards.model}/{previous(wildcards.trained)}" if ranker == SELF else None
    row = ranking_judge(wildcards)
    return answerer(row, folder or (judge_policy(ranker) if row["path"] else None))


def ranking(judge):
    """How candidates are judged: each by itself."""
    return {"verdict": "score", "order": "random", "letters": ["A", "B"], "votes": judge["votes"]}


def generation(*, context, decoding=None, choices=None, schema=None, endpoint=None):
    """The settings of `generate`: who answers, and how. `endpoint` is a configuration's row, or null for a model that runs
    here."""
    return settings(
        backend="openai" if endpoint else config["engine"]["backend"],
        # An endpoint minds its context itself.
        context=None if endpoint else context,
        decoding=decoding,
        choices=choices,
        schema=schema,
        endpoint=endpoint and {key: endpoint[key] for key in ("url", "model")},
    )


def engine(endpoint=lambda wildcards: None):
    """The param that says how an engine runs here, and how its endpoint, if it has one, is to be treated. None of it changes
    a result: Snakemake does not compare params that depend on resources."""
    return lambda wildcards, resources: settings(**config["engine"], endpoint=endpoint(wildcards))


def answerer(row, folder):
    """What is read to ask `row`: manifest and policy of the model that is laid out in `folder` of the results;
    none for an endpoint."""
    if row["endpoint"]:
        return {"manifest": [], "policy": []}
    return {"manifest": f"{RESULTS}/{folder}/policy.json", "policy": ancient(f"{RESULTS}/{folder}/policy")}


# What `generate` is told about sampling; the rest of `sampling` shapes other stages.
DECODING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens")


def sampling_of(trained):
    """The decoding of a policy's samples. A reply to a transcript ends where it begins another turn."""
    decoding = {key: config["sampling"][key] for key in DECODING}
    if config["prompting"]["style"] == "paper" and "guided" in samples_of(trained):
        decoding["stop"] = TRANSCRIPT_STOPS
    return decoding


def initial(trained):
    """The policy that a method starts from; the base model for the warm-up."""
    return "base" if trained == "warmup" else config["recipes"][round_of(trained)[0]]["start"]


def reference(trained):
    """The policy that is the reference in training."""
    return previous(trained) if config["training"]["reference"] == "previous" else initial(trained)


def lineage(trained):
    """A policy, the one that its round started from, and the one that its method started from."""
    return [trained, previous(trained), initial(trained)]


def replayed(trained):
    """Pairs of earlier rounds that are trained on again, the nearest round first."""
    if trained == "warmup":
        return []
    method, k = round_of(trained)
    rounds = range(k - 1, max(0, k - 1 - config["recipes"][method]["replay"]), -1)
    return [f"{RESULTS}/{{model}}/{method}/iter{earlier}/pairs.parquet" for earlier in rounds]


def gpus(resources):
    """The GPUs that a job is given, as `gpu: N` or `gres: gpu[:MODEL]:N`; None where the profile does not say."""
    gres = re.fullmatch(r"gpu(?::[^:]+)*?(?::(\d+))?", str(resources.get("gres", "")))
    return resources.get("gpu") or (int(gres[1] or 1) if gres else None)


def training_run(resources):
    """How a training runs here, which changes no result: its knobs, devices, and the minutes that its job has."""
    run = {key: config["training"][key] for key in TRAINING_RUN}
    run["processes"] = run["processes"] or gpus(resources)
    batch, at_once = config["training"]["global_batch"], config["training"]["device_batch"] * (run["processes"] or 1)
    if batch % at_once:
        raise WorkflowError(
            f"training.global_batch {batch} is no multiple of device_batch {config['training']['device_batch']} x {run['processes']} "
            "GPUs of `train`; change one of the three"
        )
    return settings(deadline=resources.get("runtime"), **run)


# How a training runs here changes no result; its epochs and its reference are given to each training by name, and what is
# measured of it afterwards is another rule's.
TRAINING_RUN = {"checkpoint_steps", "gradient_checkpointing", "launcher", "processes", "tracker"}
TRAINING = set(config["training"]) - TRAINING_RUN - {"epochs", "warmup_epochs", "reference", "diagnostics"}
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
