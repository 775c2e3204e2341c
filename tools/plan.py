"""What a run will take before it is paid for: jobs, tokens, GPU memory, GPU hours, disk, and the bill of endpoints.

    python tools/plan.py --configfile config.yaml --machine h100-80 --gpus 8 --disk 4000 --price 2.5

Reads a configuration and the description of a machine: a name that --help lists, or a YAML file with the same keys (gpus,
memory, tflops, bandwidth, host_memory, disk, price). Prints the plan, and where the run cannot fit, what does not, and which
knobs make it fit; then the exit code is 1. Nothing is loaded or downloaded, and no GPU is needed: formulas and their sources are
in scripts/drift/workflow/cost_model.py. What the data will be like is assumed (--rows, --tokens) until it is there.

It needs pydantic and PyYAML, and Snakemake for the jobs: run it with .venv/snakemake/bin/python (`make plan` does).
"""

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import yaml

import _path  # noqa: F401 - must come before drift

# isort: split
from drift import config as configuration
from drift.cli import StageError
from drift.downloads import folder_name, is_remote
from drift.workflow import cost_model
from drift.workflow.cost_model import GIB, Shape

REPOSITORY = Path(__file__).resolve().parents[1]

# memory: GiB, as PyTorch reports it (a little less than the name says). tflops: bf16, dense; bandwidth: TB/s, both from
# NVIDIA's data sheets of the SXM modules, or of the card where there is none.
MACHINES = {
    "a100-40": {"memory": 39.4, "tflops": 312, "bandwidth": 1.555},
    "a100-80": {"memory": 79.1, "tflops": 312, "bandwidth": 2.039},
    "h100-80": {"memory": 79.1, "tflops": 989, "bandwidth": 3.35},
    "h200-141": {"memory": 139.7, "tflops": 989, "bandwidth": 4.8},
    "l40s-48": {"memory": 44.4, "tflops": 362, "bandwidth": 0.864},
    "rtx4090-24": {"memory": 23.6, "tflops": 165, "bandwidth": 1.008},
}
# Shares of tflops and of bandwidth that programs reach. Training: published supervised fine-tuning of a 7B on four A100 reaches
# 0.40 (DeepSpeed) and 0.41 (FSDP) by Hugging Face's "From DeepSpeed to FSDP and back again"; the other two are ours.
SHARES = {"training_share": 0.40, "prefill_share": 0.50, "bandwidth_share": 0.60}
MACHINE_KEYS = {"gpus", "memory", "tflops", "bandwidth", "host_memory", "disk", "price", *SHARES}

# Rows that the data will have where the configuration sets no maximum: the paper's full setting.
ROWS = {"dsat": 11000, "sat": 4500, "corrections": 491, "replies": 89000}
# Mean lengths in tokens. WildFeedback's records of prompt, reply and feedback have 10 kB, some 2,400 tokens.
TOKENS = {"prompt": 1200, "reply": 400, "feedback": 60}
# Tasks of published benchmarks; what a verdict is, and how often a task is asked, where neither benchmark nor judge says so.
TASKS = {"wildbench": 1024, "alpacaeval": 805, "arena-hard": 500}
VERDICTS = {"wildbench": "score", "arena-hard": "choice"}
ORDERS = {"wildbench": "random", "alpacaeval": "alpacaeval"}
# Tokens: what a judge's request holds besides prompt and answers, and what it writes (a reasoned verdict by the published usage
# of WildBench's judge); the same of a rubric's labels.
JUDGE_READS, JUDGE_WRITES = 250, {"letter": 1, "choice": 220, "score": 220}
RUBRIC_READS, RUBRIC_WRITES = 600, 80
ENGINE_START = 90  # seconds until vLLM answers on a GPU


def read_config(path: Path) -> dict:
    """The validated configuration. Raises StageError."""
    try:
        return configuration.load(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError, configuration.ConfigError) as error:
        raise StageError(f"{path}: {error}") from error


def read_machine(name: str, overrides: dict) -> dict:
    """The machine of `name`, a row of MACHINES or a YAML file, with `overrides` that are not None. Raises StageError."""
    if name in MACHINES:
        machine = MACHINES[name]
    elif Path(name).is_file():
        machine = yaml.safe_load(Path(name).read_text())
    else:
        raise StageError(f"there is no machine {name}: give a YAML file, or one of {', '.join(MACHINES)}")
    if not isinstance(machine, dict) or (unknown := set(machine) - MACHINE_KEYS):
        raise StageError(f"{name}: unknown keys {sorted(unknown)}; a machine has {', '.join(sorted(MACHINE_KEYS))}")
    machine = SHARES | {"gpus": 1} | machine | {key: value for key, value in overrides.items() if value is not None}
    for key in ("memory", "tflops", "bandwidth"):
        if not isinstance(machine.get(key), int | float) or machine[key] <= 0:
            raise StageError(f"{name}: {key} must be a number above 0 (GiB, bf16 TFLOP/s, TB/s)")
    return machine


def find_shape(address: str, parameters: float | None, base: Path = REPOSITORY) -> Shape:
    """The shape of the model at `address`: from its config.json, else by the name in the address, else by its size alone.

    Raises StageError where nothing says how large it is.
    """
    folder = base / "downloads" / folder_name(address) if is_remote(address) else base / address
    if (folder / "config.json").is_file():
        return cost_model.shape_of(folder / "config.json")
    # Longest name first: a name may be the beginning of another.
    for name in sorted(cost_model.SHAPES, key=len, reverse=True):
        if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", address.lower()):
            return cost_model.SHAPES[name]
    if parameters:
        return cost_model.scaled_shape(parameters)
    raise StageError(f"nothing says how large {address} is: download it first, or give --parameters, e.g. 7.6e9")


def count_jobs(config_file: Path) -> dict[str, int]:
    """Jobs of every rule of the whole run, by Snakemake's own plan. Raises StageError where it cannot plan."""
    if importlib.util.find_spec("snakemake") is None:
        raise StageError(
            f"{sys.executable} has no Snakemake to count the jobs with; use .venv/snakemake/bin/python, or --no-jobs"
        )
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--nolock", "--quiet", "rules", "--cores", "1"]
    command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(REPOSITORY)]
    command += ["--configfile", str(config_file.resolve()), "--replace-workflow-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"Snakemake cannot plan the run:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    table = (done.stdout + done.stderr).split("Job stats:", 1)[1]
    jobs = {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.MULTILINE)}
    jobs.pop("total", None)
    return jobs


def training_of(config: dict, gpus: int) -> dict:
    """`training` and the number of GPUs that one training uses."""
    training = {"launcher": "single", "lora": None, "processes": None} | config["training"]
    alone = training["launcher"] == "single"
    return training | {"gpus": 1 if alone else training["processes"] or gpus}


def trainings(config: dict, rows: dict) -> list[dict]:
    """Every training of one model: its name, its pairs and its passes over them."""
    plan = [{"name": "warmup", "pairs": rows["corrections"], "epochs": config["training"]["warmup_epochs"], "iteration": 0}]
    for method in config["methods"]:
        pairs = rows[config["recipes"][method]["prompts"]]
        for number in range(1, config["iterations"] + 1):
            plan.append(
                {"name": f"{method}/iter{number}", "pairs": pairs, "epochs": config["training"]["epochs"], "iteration": number}
            )
    return plan


def generations(config: dict, rows: dict, tokens: dict) -> list[dict]:
    """What engines and endpoints are asked for one model: rule, who answers (the model, or the row of another `answerer`), iterations it is repeated,
    requests and tokens of each iteration, the reader's context and the jobs."""
    limit = config["sampling"]["context"] - config["sampling"]["max_tokens"]
    prompt = min(tokens["prompt"], limit)
    reply = min(tokens["reply"], config["sampling"]["max_tokens"])
    shards = {"shards": config["sampling"]["shards"]}
    work = []
    for method in config["methods"]:
        recipe = config["recipes"][method]
        for kind in ("plain", "guided"):
            samples = recipe["candidates"].count(kind) or config["sampling"]["n"] * (
                kind in (recipe["chosen"], recipe["rejected"])
            )
            if samples:
                shown = prompt if kind == "plain" else min(prompt + tokens["reply"] + tokens["feedback"], limit)
                asked = samples * rows[recipe["prompts"]]
                work.append(_asked("sample", config["iterations"], asked, shown, reply, config["sampling"]["context"]) | shards)
        # What a reward model reads is little beside what a judge does, and is left out.
        if (ranker := recipe["rank"]) and ranker not in config["reward_models"]:
            judge = config["evaluation"]["judges"].get(ranker)
            context = judge["context"] if judge else config["sampling"]["context"]
            asked = len(recipe["candidates"]) * rows[recipe["prompts"]]
            read = min(prompt + reply + JUDGE_READS, context)
            ranking = _asked("rank", config["iterations"], asked, read, JUDGE_WRITES["score"], context) | shards
            work.append(ranking | ({"answerer": judge | {"name": ranker}} if judge else {}))
    policies = 2 + len(config["methods"]) * config["iterations"]
    evaluation = config["evaluation"]
    for benchmark in evaluation["benchmarks"].values():
        tasks = TASKS.get(benchmark["kind"], config["data"]["test_conversations"])
        tasks = min(tasks, benchmark["max_tasks"] or tasks) * benchmark.get("samples", 1)
        answer = min(tokens["reply"], benchmark["decoding"]["max_tokens"])
        context = benchmark.get("context") or config["sampling"]["context"]
        work.append(_asked("respond", policies, tasks, prompt, answer, context) | {"shards": benchmark["shards"]})
        named = benchmark.get("judge") or evaluation["judge"]
        for name in [named] if isinstance(named, str) else named:
            judge = evaluation["judges"][name]
            verdict = judge.get("verdict") or VERDICTS.get(benchmark["kind"], "letter")
            order = judge.get("order") or benchmark.get("order") or ORDERS.get(benchmark["kind"], "both")
            times = (2 if order == "both" and verdict != "score" else 1) * judge.get("votes", 1)
            read = prompt + (1 if verdict == "score" else 2) * answer + JUDGE_READS
            asked = _asked(
                "judge", policies, times * tasks, min(read, judge["context"]), JUDGE_WRITES[verdict], judge["context"]
            )
            work.append(asked | {"answerer": judge | {"name": name}, "shards": benchmark["shards"]})
    return work


def labelling(config: dict, rows: dict, tokens: dict) -> list[dict]:
    """What rubric labelers are asked, once for all models; as `generations`."""
    work = []
    for name, labeler in config["data"]["labelers"].items():
        if labeler["kind"] == "rubric":
            read = min(tokens["prompt"] + tokens["reply"] + tokens["feedback"] + RUBRIC_READS, labeler["context"])
            asked = _asked("label", 1, labeler["max_replies"] or rows["replies"], read, RUBRIC_WRITES, labeler["context"])
            work.append(asked | {"answerer": labeler | {"name": name}, "shards": labeler["shards"]})
    return work


def _asked(rule: str, iterations: int, requests: int, read: float, written: float, context: int) -> dict:
    return {"rule": rule, "iterations": iterations, "requests": requests, "read": read, "written": written, "context": context}


def training_peak(shape: Shape, training: dict) -> dict[str, float]:
    """Memory of the phase of a training that needs most."""
    phases = (cost_model.training_memory(shape, training, training["gpus"]), cost_model.reference_memory(shape, training))
    return max(phases, key=lambda memory: sum(memory.values()))


def training_knobs(shape: Shape, training: dict, machine: dict) -> list[str]:
    """Changes of the configuration, or of the machine, with which the training fits; the mildest first, three at most."""
    batch, gpus = training["device_batch"], machine["gpus"]
    smaller = [{"device_batch": size} for size in (batch // 2, batch // 4, 1) if 0 < size < batch]
    steps = [{"gradient_checkpointing": True}, *smaller]
    steps += [{"gradient_checkpointing": True} | change for change in smaller]
    sharded = {"lora": None, "gradient_checkpointing": True}
    if gpus > 1 and not training["lora"]:
        steps += [{"launcher": launcher, "gpus": gpus} | sharded for launcher in cost_model.SHARDED]
        steps += [{"launcher": "fsdp2", "gpus": gpus, "device_batch": 1} | sharded]
    lora = {"lora": {"rank": 64}, "gradient_checkpointing": True, "launcher": "single", "gpus": 1}
    steps += [lora, lora | {"device_batch": 1}]
    steps += [{"launcher": "fsdp2", "gpus": count} | sharded for count in (2, 4, 8, 16, 32, 64) if count > gpus]
    found = []
    for step in steps:
        changed = {key: value for key, value in step.items() if training[key] != value}
        if changed and sum(training_peak(shape, training | step).values()) <= machine["memory"] * GIB:
            words = ", ".join(_knob(key, value) for key, value in changed.items() if key != "gpus" or value > gpus)
            if words and words not in found:
                found.append(words)
    return found[:3]


def _knob(key: str, value) -> str:
    if key == "gpus":
        return f"{value} GPUs"
    if key == "lora" and value:
        return f"training.lora: {{rank: {value['rank']}}}"
    return f"training.{key}: {'true' if value is True else 'null' if value is None else value}"


def engine_knobs(shape: Shape, context: int, machine: dict, config: dict) -> list[str]:
    """Changes with which the engine starts."""
    room = machine["memory"] * GIB * config["engine"]["gpu_memory"]
    knobs = []
    for count in (2, 4, 8):
        if shape.heads % count == 0 and sum(cost_model.engine_memory(shape, context, count).values()) <= room:
            knobs.append(f"engine.tensor_parallel: {count}" + (f" on {count} GPUs" if count > machine["gpus"] else ""))
            break
    shorter = context
    while shorter >= 512 and sum(cost_model.engine_memory(shape, shorter, config["engine"]["tensor_parallel"]).values()) > room:
        shorter //= 2
    if 512 <= shorter < context:
        knobs.append(f"context: {shorter}")
    return knobs


class Plan:
    """What a run takes on a machine; `problems` are the reasons why it cannot be."""

    def __init__(self, config: dict, machine: dict, rows: dict, tokens: dict, parameters: float | None = None):
        self.config, self.machine, self.rows, self.tokens = config, machine, rows, tokens
        self.parameters = parameters
        self.stages: list[dict] = []
        self.memory: list[tuple[str, dict]] = []
        self.disk: dict[str, float] = {}
        self.problems: list[str] = []
        self.bill = 0.0
        self.longest = 0.0
        for name, model in config["models"].items():
            self._model(name, find_shape(model["path"], parameters))
        for work in labelling(config, rows, tokens):
            self._generate("", None, work)
        here = {model["path"] for model in config["models"].values()}
        for name, row in (config["evaluation"]["judges"] | config["data"]["labelers"]).items():
            if row.get("path") and row["path"] not in here:
                here.add(row["path"])
                self._keep(f"model of {name}", cost_model.policy_bytes(find_shape(row["path"], parameters)))
        self._check_disk()

    @property
    def gpu_hours(self) -> float:
        """Of all stages together."""
        return sum(stage["gpu_hours"] for stage in self.stages)

    @property
    def wall_hours(self) -> float:
        """At least: the GPUs are never idle, or one method's iterations follow each other without a pause."""
        return max(self.gpu_hours / self.machine["gpus"], self.longest)

    def _keep(self, what: str, size: float) -> None:
        self.disk[what] = self.disk.get(what, 0) + size

    def _model(self, name: str, shape: Shape) -> None:
        iterations: dict[int, float] = {}
        training = training_of(self.config, self.machine["gpus"])
        self._check_training(name, shape, training)
        plan = trainings(self.config, self.rows)
        for one in plan:
            hours = self._train(name, shape, training, one)
            iterations[one["iteration"]] = max(iterations.get(one["iteration"], 0), hours)
        sampling = 0.0
        for work in generations(self.config, self.rows, self.tokens):
            wall = self._generate(name, shape, work)
            if work["rule"] == "sample":
                sampling = max(sampling, wall)
        self.longest = max(self.longest, sum(iterations.values()) + sampling * self.config["iterations"])
        policies = len(plan)
        self._keep(f"{name}: base model", cost_model.policy_bytes(shape))
        self._keep(f"{name}: {policies} policies, bf16", policies * cost_model.policy_bytes(shape))
        # The new checkpoint is whole before the oldest of the two that are kept goes; one method's training at a time of each iteration.
        states = 3 * min(len(self.config["methods"]), max(1, self.machine["gpus"] // training["gpus"]))
        self._keep(f"{name}: {states} checkpoints while trainings run", states * cost_model.checkpoint_bytes(shape, training))

    def _check_training(self, name: str, shape: Shape, training: dict) -> None:
        memory = training_peak(shape, training)
        what = f"train {name} ({training['launcher']}, {training['gpus']} GPU{'s' * (training['gpus'] > 1)})"
        self.memory.append((what, memory))
        at_once = training["device_batch"] * training["gpus"]
        if training["global_batch"] % at_once:
            self.problems.append(
                f"{what}: training.global_batch {training['global_batch']} is no multiple of device_batch {training['device_batch']} x "
                f"{training['gpus']} GPUs; make it {max(1, round(training['global_batch'] / at_once)) * at_once}"
            )
        if training["gpus"] > self.machine["gpus"]:
            self.problems.append(f"{what}: the machine has {self.machine['gpus']}; lower training.processes")
        if sum(memory.values()) > self.machine["memory"] * GIB:
            knobs = training_knobs(shape, training, self.machine) or ["a GPU with more memory"]
            self.problems.append(f"{what}: {_needs(memory, self.machine['memory'])}. It fits with {'; or '.join(knobs)}")
        host, held = self.machine.get("host_memory"), cost_model.gathering_bytes(shape)
        if host and held > host * GIB:
            self.problems.append(
                f"{what}: writing the policy takes {held / GIB:.0f} GiB of the host's memory, which has {host:.0f}; give `train` a larger mem_mb"
            )

    def _train(self, name: str, shape: Shape, training: dict, one: dict) -> float:
        """Book one training; returns its wall hours."""
        reply = min(self.tokens["reply"], training["max_length"] // 2)
        length = min(self.tokens["prompt"], training["max_length"] - reply) + reply
        tokens = 2 * one["pairs"] * length
        lora = training["lora"] is not None
        per_token = one["epochs"] * cost_model.training_flops(shape, length, training["gradient_checkpointing"], lora)
        per_token += cost_model.forward_flops(shape, length)  # the reference
        hours = tokens * per_token / (self.machine["tflops"] * 1e12 * self.machine["training_share"]) / 3600
        self._stage("train", name, one["pairs"] * one["epochs"], tokens * one["epochs"], 0, hours)
        return hours / training["gpus"]

    def _generate(self, name: str, shape: Shape | None, work: dict) -> float:
        """Book what an engine or an endpoint is asked; returns the wall hours of one iteration."""
        requests = work["iterations"] * work["requests"]
        read, written = requests * work["read"], requests * work["written"]
        row = work.get("answerer")
        if row and row.get("endpoint"):
            self._ask_endpoint(row, work, read, written)
            return 0.0
        answerer = row["name"] if row else name
        if row:
            shape = find_shape(row["path"], self.parameters)
        parallel = self.config["engine"]["tensor_parallel"]
        memory = cost_model.engine_memory(shape, work["context"], parallel)
        room = self.machine["memory"] * GIB * self.config["engine"]["gpu_memory"]
        free = room - sum(memory.values()) + memory["key-value cache of one sequence"]
        self._check_engine(f"{work['rule']} {answerer}", shape, work["context"], memory, room)
        rate = cost_model.decoding_rate(shape, self.machine, parallel, max(free, 0) * parallel, work["read"], work["written"])
        seconds = requests / rate + work["iterations"] * work["shards"] * ENGINE_START
        self._stage(work["rule"], answerer, requests, read, written, parallel * seconds / 3600)
        at_once = max(1, min(work["shards"], self.machine["gpus"] // parallel))
        return seconds / work["iterations"] / at_once / 3600

    def _check_engine(self, what: str, shape: Shape, context: int, memory: dict, room: float) -> None:
        parallel = self.config["engine"]["tensor_parallel"]
        what = f"{what} (vLLM, {parallel} GPU{'s' * (parallel > 1)}, context {context})"
        if any(known == what for known, _ in self.memory):
            return
        self.memory.append((what, memory))
        if parallel > self.machine["gpus"]:
            self.problems.append(f"{what}: the machine has {self.machine['gpus']}; lower engine.tensor_parallel")
        if shape.heads % parallel:
            self.problems.append(
                f"{what}: {shape.heads} attention heads cannot be shared by {parallel} GPUs; change engine.tensor_parallel"
            )
        if sum(memory.values()) > room:
            knobs = engine_knobs(shape, context, self.machine, self.config) or ["a GPU with more memory"]
            self.problems.append(f"{what}: {_needs(memory, room / GIB)}. It fits with {'; or '.join(knobs)}")

    def _ask_endpoint(self, row: dict, work: dict, read: float, written: float) -> None:
        endpoint = row["endpoint"]
        cost = (read * endpoint["input_price"] + written * endpoint["output_price"]) / 1e6
        self.bill += cost
        self._stage(work["rule"], f"{row['name']} (endpoint)", work["iterations"] * work["requests"], read, written, 0.0, cost)
        job = cost / work["iterations"] / work["shards"]
        if endpoint["budget"] is not None and job > endpoint["budget"]:
            self.problems.append(
                f"{work['rule']} {row['name']}: a job costs about {job:.2f} USD and may spend {endpoint['budget']:.2f}; raise its "
                "endpoint.budget, lower max_tasks, or split it into more shards"
            )

    def _stage(
        self, rule: str, who: str, requests: float, read: float, written: float, hours: float, cost: float = 0.0
    ) -> None:
        for stage in self.stages:
            if (stage["rule"], stage["who"]) == (rule, who):
                break
        else:
            stage = {"rule": rule, "who": who, "requests": 0, "read": 0, "written": 0, "gpu_hours": 0.0, "cost": 0.0}
            self.stages.append(stage)
        for key, value in (("requests", requests), ("read", read), ("written", written), ("gpu_hours", hours), ("cost", cost)):
            stage[key] += value

    def _check_disk(self) -> None:
        need, there = sum(self.disk.values()) / 1e9, self.machine.get("disk")
        if there is not None and need > there:
            self.problems.append(
                f"disk: {need:,.0f} GB are needed and {there:,.0f} are there; lower iterations, run fewer methods at a time, or use "
                "training.lora, whose checkpoints are small"
            )


def _needs(memory: dict[str, float], room: float) -> str:
    largest = sorted(memory, key=memory.get, reverse=True)[:3]
    parts = ", ".join(f"{part} {memory[part] / GIB:.1f}" for part in largest)
    return f"{sum(memory.values()) / GIB:.1f} GiB a GPU are needed and {room:.1f} are there ({parts})"


def show(plan: Plan, jobs: dict[str, int] | None) -> str:
    """The plan as text."""
    machine = plan.machine
    lines = [
        f"run {plan.config['run']} on {machine['gpus']} GPU(s) of {machine['memory']} GiB, {machine['tflops']} TFLOP/s (bf16), "
        f"{machine['bandwidth']} TB/s",
        f"assumed: rows {_pairs(plan.rows)}; mean tokens {_pairs(plan.tokens)}; shares reached "
        f"{_pairs({key: machine[key] for key in SHARES})}",
    ]
    if jobs is not None:
        lines += ["", f"jobs (snakemake --dry-run --forceall): {sum(jobs.values())}", "  " + _pairs(jobs)]
    lines += ["", f"{'stage':<10}{'who':<28}{'requests':>10}{'tokens read':>14}{'written':>12}{'GPU hours':>11}{'USD':>9}"]
    for stage in plan.stages:
        lines.append(
            f"{stage['rule']:<10}{stage['who']:<28}{stage['requests']:>10,.0f}{stage['read'] / 1e6:>12,.1f} M"
            f"{stage['written'] / 1e6:>10,.2f} M{stage['gpu_hours']:>11.2f}{stage['cost']:>9.2f}"
        )
    lines.append(f"{'all':<10}{'':<64}{plan.gpu_hours:>11.2f}{plan.bill:>9.2f}")
    if machine.get("price") is not None:
        lines.append(f"GPUs at {machine['price']:.2f} USD an hour: {plan.gpu_hours * machine['price']:.2f} USD")
    lines.append(f"wall time: {plan.wall_hours:.1f} hours or more, waiting in queues apart")
    lines += ["", f"GPU memory at the peak, GiB a GPU (there are {machine['memory']}):"]
    for what, memory in plan.memory:
        lines.append(f"  {what}: {sum(memory.values()) / GIB:.1f}")
        lines.append("      " + ", ".join(f"{part} {size / GIB:.1f}" for part, size in memory.items()))
    lines += ["", f"disk: {sum(plan.disk.values()) / 1e9:,.1f} GB and the raw data"]
    lines += [f"  {what}: {size / 1e9:,.1f}" for what, size in plan.disk.items()]
    lines += ["", "formulas and their sources: scripts/drift/workflow/cost_model.py"]
    return "\n".join(lines)


def _pairs(values: dict) -> str:
    return ", ".join(f"{key} {value:,}" for key, value in values.items())


def _numbers(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: NAME=NUMBER is needed") from None


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--configfile", type=Path, default=Path("config.yaml"))
    command.add_argument(
        "--machine", default="h100-80", help=f"a YAML file, or one of {', '.join(MACHINES)} (default: h100-80)"
    )
    command.add_argument("--gpus", type=int, help="how many of them")
    command.add_argument("--disk", type=float, help="free space, GB")
    command.add_argument("--host-memory", type=float, help="memory of the host that a job gets, GiB")
    command.add_argument("--price", type=float, help="USD per GPU hour")
    command.add_argument("--parameters", type=float, help="of a model that nothing else is known of, e.g. 7.6e9")
    command.add_argument("--rows", type=_numbers, nargs="+", default=[], metavar="NAME=N", help=f"pools: {_pairs(ROWS)}")
    command.add_argument(
        "--tokens", type=_numbers, nargs="+", default=[], metavar="NAME=N", help=f"mean lengths: {_pairs(TOKENS)}"
    )
    command.add_argument("--no-jobs", action="store_true", help="leave out Snakemake's count of the jobs")
    arguments = command.parse_args()
    rows, tokens = dict(arguments.rows), dict(arguments.tokens)
    for given, known in ((rows, ROWS), (tokens, TOKENS)):
        if unknown := set(given) - set(known):
            command.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")

    config = read_config(arguments.configfile)
    overrides = {"gpus": arguments.gpus, "disk": arguments.disk, "host_memory": arguments.host_memory, "price": arguments.price}
    machine = read_machine(arguments.machine, overrides)
    limits = {table: config["data"].get(f"max_{table}") for table in ROWS}
    rows = {table: rows.get(table) or limits[table] or count for table, count in ROWS.items()}
    plan = Plan(config, machine, rows, TOKENS | tokens, arguments.parameters)
    jobs = None if arguments.no_jobs else count_jobs(arguments.configfile)
    print(show(plan, jobs))
    if plan.problems:
        raise StageError("this run cannot be:\n" + "\n".join(f"  - {problem}" for problem in plan.problems))


if __name__ == "__main__":
    try:
        main()
    except StageError as error:
        sys.exit(f"error: {error}")
