"""What a run takes on a machine: hours, tokens and money of its stages, memory, disk, and what does
not fit."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from drift.config import effective
from drift.config.training import accumulation_steps
from drift.workflow import cost_model
from drift.workflow.cost_model import GIB, Shape
from drift.workflow.machines import Machine
from drift.workflow.plan.fit import engine_knobs, excess, setup_of, training_knobs, training_peak
from drift.workflow.plan.trainings import Training, trainings
from drift.workflow.plan.work import (
    Generation,
    Lengths,
    Reading,
    classifications,
    for_all_models,
    generations,
    readings,
)

ENGINE_START = 90  # seconds until vLLM answers on a GPU


@dataclass
class Stage:
    """What one rule takes, for one model that works in it."""

    rule: str
    who: str
    requests: float = 0
    read: float = 0  # tokens
    written: float = 0  # tokens
    gpu_hours: float = 0.0
    cost: float = 0.0  # USD, of endpoints


@dataclass
class Budget:
    """What a run takes; `problems` are the reasons why it cannot be."""

    machine: Machine
    stages: dict[tuple[str, str], Stage] = field(default_factory=dict)
    # Bytes of one GPU at the peak of a stage, by what needs them.
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    # Bytes, by what is kept.
    disk: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    # Hours of the one model whose iterations take longest, with every GPU that a job can use.
    longest: float = 0.0

    @property
    def gpu_hours(self) -> float:
        """Of all stages together."""
        return sum(stage.gpu_hours for stage in self.stages.values())

    @property
    def bill(self) -> float:
        """USD for endpoints."""
        return sum(stage.cost for stage in self.stages.values())

    @property
    def wall_hours(self) -> float:
        """At least: the GPUs are never idle, or one method's iterations of a seed follow each other
        without a pause."""
        return max(self.gpu_hours / self.machine.gpus, self.longest)

    def book(self, rule: str, who: str, *, requests: float, read: float, written: float, **spent: float) -> None:
        """Add work to its stage; `spent`: gpu_hours, cost."""
        stage = self.stages.setdefault((rule, who), Stage(rule, who))
        for name, value in {"requests": requests, "read": read, "written": written, **spent}.items():
            setattr(stage, name, getattr(stage, name) + value)

    def keep(self, what: str, size: float) -> None:
        """Add what stays on the disk, bytes."""
        self.disk[what] = self.disk.get(what, 0) + size


def plan(
    config: dict[str, Any],
    machine: Machine,
    rows: dict[str, float],
    lengths: Lengths,
    find_shape: Callable[[str], Shape],
) -> Budget:
    """The budget of a run. `rows`: prompts by pool, and `replies`, all that could be labeled."""
    planner = _Planner(config, machine, rows, lengths, find_shape)
    for name, model in config["models"].items():
        planner.model(name, find_shape(model["path"]))
    for work in for_all_models(config, rows["replies"], lengths):
        planner.generate("", None, work)
    for work in classifications(config, rows["replies"], lengths):
        planner.read("", None, work)
    planner.other_models()
    planner.check_disk()
    return planner.budget


class _Planner:
    """Books the work of a run."""

    def __init__(self, config: dict, machine: Machine, rows: dict, lengths: Lengths, find_shape: Callable[[str], Shape]):
        self.config, self.machine, self.rows, self.lengths = config, machine, rows, lengths
        self.find_shape = find_shape
        self.engine = SimpleNamespace(**config["engine"])
        # Section `training` as it is for the warm-up (None) and for each method.
        self.training = {None: config["training"]} | {
            method: effective(config, "training", config["recipes"][method]) for method in config["methods"]
        }
        self.budget = Budget(machine)

    def model(self, name: str, shape: Shape) -> None:
        """Everything that is done for one model to improve."""
        for method, training in self.training.items():
            self._check_training(name, shape, method, training)
        slowest: dict[int, float] = {}  # wall hours of an iteration's longest training
        every = trainings(self.config, self.rows)
        for training in every:
            hours = self._train(name, shape, training)
            slowest[training.iteration] = max(slowest.get(training.iteration, 0), hours)
            if training.measured:
                self._diagnose(name, shape, training)
        sampling = 0.0
        for work in generations(self.config, self.rows, self.lengths):
            wall = self.generate(name, shape, work)
            if work.rule == "sample":
                sampling = max(sampling, wall)
        for work in readings(self.config, self.rows, self.lengths):
            self.read(name, shape, work)
        longest = sum(slowest.values()) + sampling * self.config["iterations"]
        self.budget.longest = max(self.budget.longest, longest)

        size = cost_model.policy_bytes(shape)
        self.budget.keep(f"{name}: base model", size)
        self.budget.keep(f"{name}: {len(every)} policies, bf16", len(every) * size)
        remainders = sum(cost_model.remainder_bytes(shape, self.training[training.method]["carry"]) for training in every)
        self.budget.keep(f"{name}: remainders of their fp32 weights", remainders)
        # A new checkpoint is whole before the oldest of the two that are kept goes; of each method
        # and seed one training at a time.
        setups = [setup_of(training, self.machine.gpus) for training in self.training.values()]
        chains = len(self.config["methods"]) * len(self.config["seeds"])
        at_once = min(chains, max(1, self.machine.gpus // min(setup.gpus for setup in setups)))
        checkpoints = 3 * at_once
        self.budget.keep(
            f"{name}: {checkpoints} checkpoints while trainings run",
            checkpoints * max(cost_model.checkpoint_bytes(shape, setup) for setup in setups),
        )

    def other_models(self) -> None:
        """Disk for judges, labelers and rankers that run on this machine and are not improved."""
        kept = {model["path"] for model in self.config["models"].values()}
        for name, row in (self.config["evaluation"]["judges"] | self.config["data"]["labelers"]).items():
            if row["path"] and row["path"] not in kept:
                kept.add(row["path"])
                self.budget.keep(f"model of {name}", cost_model.policy_bytes(self.find_shape(row["path"])))

    def check_disk(self) -> None:
        """Whether all that is kept fits."""
        needed, free = sum(self.budget.disk.values()) / 1e9, self.machine.disk
        if free is not None and needed > free:
            self.budget.problems.append(
                f"disk: {needed:,.0f} GB are needed and {free:,.0f} are there; lower iterations, run fewer methods "
                "at a time and `make prune` between them, or use training.lora, whose checkpoints are small"
            )

    def _check_training(self, name: str, shape: Shape, method: str | None, training: dict) -> None:
        """Check a training as it is for a method; one that is as the run's needs no second look."""
        if method and training == self.training[None]:
            return
        setup = setup_of(training, self.machine.gpus)
        memory = training_peak(shape, setup)
        what = f"train {name}{f' {method}' if method else ''} ({setup.launcher}, {_gpus(setup.gpus)})"
        self.budget.memory[what] = memory
        problems = self.budget.problems
        try:
            accumulation_steps(training["global_batch"], setup.device_batch, setup.gpus)
        except ValueError as error:
            at_once = setup.device_batch * setup.gpus
            nearest = max(1, round(training["global_batch"] / at_once)) * at_once
            problems.append(f"{what}: {error}; the nearest global_batch is {nearest}")
        if setup.gpus > self.machine.gpus:
            problems.append(f"{what}: the machine has {self.machine.gpus}; lower training.processes")
        if sum(memory.values()) > self.machine.memory * GIB:
            knobs = training_knobs(shape, setup, self.machine) or ["a GPU with more memory"]
            problems.append(f"{what}: {excess(memory, self.machine.memory)}. It fits with {'; or '.join(knobs)}")
        host, held = self.machine.host_memory, cost_model.gathering_bytes(shape)
        if host and held > host * GIB:
            problems.append(
                f"{what}: writing the policy takes {held / GIB:.0f} GiB of the host's memory, which has {host:.0f}; "
                "give `train` a larger mem_mb"
            )

    def _train(self, name: str, shape: Shape, training: Training) -> float:
        """Book one training; returns its wall hours."""
        setup = setup_of(self.training[training.method], self.machine.gpus)
        reply = min(self.lengths.reply, self.config["sampling"]["max_tokens"], setup.max_length // 2)
        length = min(self.lengths.prompt, setup.max_length - reply) + reply
        step = cost_model.training_flops(shape, length, setup.gradient_checkpointing, lora=setup.lora_rank is not None)
        stepped = training.epochs * training.stepped
        # The reference reads every pair once.
        operations = 2 * length * (stepped * step + training.pairs * cost_model.forward_flops(shape, length))
        hours = operations / self.machine.training_rate / 3600
        self.budget.book("train", name, requests=stepped, read=2 * length * stepped, written=0, gpu_hours=hours)
        return hours / setup.gpus

    def _diagnose(self, name: str, shape: Shape, training: Training) -> None:
        """Book the measurement of one training: every pair is read by the policy and, where the
        reference is another, by its start; the gradients of some pairs under both; and two replies
        to each held-out prompt by three policies."""
        settings = self.training[training.method]
        measured, length = settings["diagnostics"], settings["max_length"]
        phases = [cost_model.reference_memory(shape, setup_of(settings | {"launcher": "single"}, 1))]
        if measured["pairs"]:
            phases.append(cost_model.gradient_memory(shape, length))
        if measured["prompts"]:
            phases.append(cost_model.reading_memory(shape, length, models=2))
        # Without the gradients, and without the divergences: what is left is the first phase.
        cures = ["training.diagnostics: {pairs: 0, prompts: 0}"] if self._fits(phases[0]) else []
        peak = max(phases, key=lambda memory: sum(memory.values()))
        self._check_memory(f"diagnostics {name} (1 GPU)", peak, cures)

        reply = min(self.lengths.reply, self.config["sampling"]["max_tokens"])
        text = min(self.lengths.prompt + reply, length)
        policies = 2 if settings["reference"] == "initial" and training.iteration > 1 else 1
        scored = 2 * policies * training.pairs
        # Two passes under each of two policies, of both sides.
        stepped = 2 * 2 * 2 * min(measured["pairs"], training.pairs)
        read = 2 * 3 * measured["prompts"]
        forward, machine = cost_model.forward_flops(shape, text), self.machine
        seconds = scored * text * forward / machine.training_rate
        seconds += stepped * text * cost_model.training_flops(shape, text, True) / machine.fp32_rate
        seconds += read * text * forward / machine.fp32_rate
        # Own replies, by the engine that answers one batch after the other: at worst each alone.
        written = min(reply, measured["max_tokens"])
        seconds += measured["prompts"] * written * cost_model.policy_bytes(shape) / (machine.bandwidth * 1e12)
        tokens = (scored + stepped + read) * text
        self.budget.book(
            "diagnostics",
            name,
            requests=training.pairs,
            read=tokens,
            written=measured["prompts"] * written,
            gpu_hours=seconds / 3600,
        )

    def read(self, name: str, shape: Shape | None, work: Reading) -> None:
        """Book texts that are read in fp32, one by one. `name` and `shape` as of `generate`."""
        who = name
        if work.answerer:
            who, shape = work.answerer.name, self.find_shape(work.answerer.path)
        longest = work.context or self.config["sampling"]["context"]
        self._check_memory(f"{work.rule} {who} (1 GPU)", cost_model.reading_memory(shape, longest), [])
        tokens = work.repeats * work.texts * work.length
        seconds = tokens * cost_model.forward_flops(shape, work.length) / self.machine.fp32_rate
        self.budget.book(work.rule, who, requests=work.repeats * work.texts, read=tokens, written=0, gpu_hours=seconds / 3600)

    def _check_memory(self, what: str, memory: dict[str, float], cures: list[str]) -> None:
        if what in self.budget.memory:
            return
        self.budget.memory[what] = memory
        if not self._fits(memory):
            cures = "; or ".join([*cures, "a GPU with more memory for that rule, in the profile"])
            self.budget.problems.append(f"{what}: {excess(memory, self.machine.memory)}. It fits with {cures}")

    def _fits(self, memory: dict[str, float]) -> bool:
        return sum(memory.values()) <= self.machine.memory * GIB

    def generate(self, name: str, shape: Shape | None, work: Generation) -> float:
        """Book what an engine or an endpoint is asked; returns the wall hours of one repeat.

        `name` and `shape` are those of the model to improve, for work that it does itself.
        """
        if work.answerer and work.answerer.endpoint:
            self._ask_endpoint(work)
            return 0.0
        who = work.answerer.name if work.answerer else name
        if work.answerer:
            shape = self.find_shape(work.answerer.path)
        parallel = self.engine.tensor_parallel
        memory = cost_model.engine_memory(shape, work.context, parallel)
        room = self.machine.memory * GIB * self.engine.gpu_memory
        free = room - sum(memory.values()) + memory["key-value cache of one sequence"]
        self._check_engine(f"{work.rule} {who}", shape, work.context, memory, room)
        rate = cost_model.decoding_rate(shape, self.machine, parallel, max(free, 0) * parallel, work.read, work.written)
        requests = work.repeats * work.requests
        seconds = requests / rate + work.repeats * work.shards * ENGINE_START
        self.budget.book(
            work.rule,
            who,
            requests=requests,
            read=requests * work.read,
            written=requests * work.written,
            gpu_hours=parallel * seconds / 3600,
        )
        at_once = max(1, min(work.shards, self.machine.gpus // parallel))
        return seconds / work.repeats / at_once / 3600

    def _check_engine(self, what: str, shape: Shape, context: int, memory: dict, room: float) -> None:
        parallel = self.engine.tensor_parallel
        what = f"{what} (vLLM, {_gpus(parallel)}, context {context})"
        if what in self.budget.memory:
            return
        self.budget.memory[what] = memory
        problems = self.budget.problems
        if parallel > self.machine.gpus:
            problems.append(f"{what}: the machine has {self.machine.gpus}; lower engine.tensor_parallel")
        if shape.heads % parallel:
            problems.append(
                f"{what}: {shape.heads} attention heads cannot be shared by {parallel} GPUs; change engine.tensor_parallel"
            )
        if sum(memory.values()) > room:
            knobs = engine_knobs(shape, context, self.machine, parallel, self.engine.gpu_memory)
            cures = "; or ".join(knobs or ["a GPU with more memory"])
            problems.append(f"{what}: {excess(memory, room / GIB)}. It fits with {cures}")

    def _ask_endpoint(self, work: Generation) -> None:
        endpoint, requests = work.answerer.endpoint, work.repeats * work.requests
        read, written = requests * work.read, requests * work.written
        cost = (read * endpoint["input_price"] + written * endpoint["output_price"]) / 1e6
        who = f"{work.answerer.name} (endpoint)"
        self.budget.book(work.rule, who, requests=requests, read=read, written=written, cost=cost)
        job = cost / work.repeats / work.shards
        if endpoint["budget"] is not None and job > endpoint["budget"]:
            self.budget.problems.append(
                f"{work.rule} {work.answerer.name}: a job costs about {job:.2f} USD and may spend "
                f"{endpoint['budget']:.2f}; raise its endpoint.budget, lower max_tasks, or split it into more shards"
            )


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count > 1)}"
