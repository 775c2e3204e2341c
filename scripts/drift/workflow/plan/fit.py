"""Whether trainings and engines fit into a GPU's memory, and what to change where they do not."""

from dataclasses import replace
from typing import Any

from drift.workflow import cost_model
from drift.workflow.cost_model import GIB, Shape, TrainingSetup
from drift.workflow.machines import Machine


def setup_of(training: dict[str, Any], gpus: int) -> TrainingSetup:
    """How a training runs by section `training` of the configuration, on a machine of `gpus`."""
    alone = training["launcher"] == "single"
    return TrainingSetup(
        optimizer=training["optimizer"],
        precision=training["precision"],
        device_batch=training["device_batch"],
        max_length=training["max_length"],
        gradient_checkpointing=training["gradient_checkpointing"],
        launcher=training["launcher"],
        lora_rank=training["lora"] and training["lora"]["rank"],
        gpus=1 if alone else training["processes"] or gpus,
    )


def training_peak(shape: Shape, setup: TrainingSetup) -> dict[str, float]:
    """Memory of the phase of a training that needs most: bytes of one GPU, by what needs them."""
    phases = (cost_model.training_memory(shape, setup), cost_model.reference_memory(shape, setup))
    return max(phases, key=lambda memory: sum(memory.values()))


def training_knobs(shape: Shape, setup: TrainingSetup, machine: Machine) -> list[str]:
    """Changes of the configuration, or of the machine, with which the training fits; the mildest
    first, three at most."""
    knobs: list[str] = []
    for step in _training_steps(setup, machine.gpus):
        changed = {key: value for key, value in step.items() if getattr(setup, key) != value}
        fits = sum(training_peak(shape, replace(setup, **step)).values()) <= machine.memory * GIB
        words = ", ".join(_knob(key, value) for key, value in changed.items() if key != "gpus" or value > machine.gpus)
        if fits and words and words not in knobs:
            knobs.append(words)
    return knobs[:3]


def _training_steps(setup: TrainingSetup, gpus: int) -> list[dict[str, Any]]:
    """Changes to try, the mildest first: less at once, then shards, then adapters, then more
    GPUs."""
    batch = setup.device_batch
    smaller = [{"device_batch": size} for size in (batch // 2, batch // 4, 1) if 0 < size < batch]
    steps = [{"gradient_checkpointing": True}, *smaller]
    steps += [{"gradient_checkpointing": True} | change for change in smaller]
    sharded = {"lora_rank": None, "gradient_checkpointing": True}
    if gpus > 1 and not setup.lora_rank:
        steps += [{"launcher": launcher, "gpus": gpus} | sharded for launcher in cost_model.SHARDED]
        steps += [{"launcher": "fsdp2", "gpus": gpus, "device_batch": 1} | sharded]
    lora = {"lora_rank": 64, "gradient_checkpointing": True, "launcher": "single", "gpus": 1}
    steps += [lora, lora | {"device_batch": 1}]
    return steps + [{"launcher": "fsdp2", "gpus": count} | sharded for count in (2, 4, 8, 16, 32, 64) if count > gpus]


def _knob(key: str, value: Any) -> str:
    if key == "gpus":
        return f"{value} GPUs"
    if key == "lora_rank":
        return f"training.lora: {{rank: {value}}}" if value else "training.lora: null"
    return f"training.{key}: {'true' if value is True else value}"


def engine_knobs(shape: Shape, context: int, machine: Machine, tensor_parallel: int, gpu_memory: float) -> list[str]:
    """Changes with which an engine starts; the last two arguments are of section `engine`."""
    room = machine.memory * GIB * gpu_memory

    def fits(context: int, parallel: int) -> bool:
        return sum(cost_model.engine_memory(shape, context, parallel).values()) <= room

    knobs = []
    for count in (2, 4, 8):
        if shape.heads % count == 0 and fits(context, count):
            knobs.append(f"engine.tensor_parallel: {count}" + (f" on {count} GPUs" if count > machine.gpus else ""))
            break
    shorter = context
    while shorter >= 512 and not fits(shorter, tensor_parallel):
        shorter //= 2
    if 512 <= shorter < context:
        knobs.append(f"context: {shorter}")
    return knobs


def excess(memory: dict[str, float], room: float) -> str:
    """What is needed and what is there, with the largest parts. `memory` in bytes, `room` in
    GiB."""
    largest = sorted(memory, key=memory.get, reverse=True)[:3]
    parts = ", ".join(f"{part} {memory[part] / GIB:.1f}" for part in largest)
    return f"{sum(memory.values()) / GIB:.1f} GiB a GPU are needed and {room:.1f} are there ({parts})"
