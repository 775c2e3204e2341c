"""From a trainer's weights to those of a policy: gathered, adapters merged, rounded to bf16, and
compared with those that the training started from."""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, GenerationConfig, Trainer
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled, unset_hf_deepspeed_config

from drift.settings.training import LoraSettings
from drift.training import launch, remainder
from drift.training.trainer import lora_config

# Weights that are compared at once; the differences of a large embedding would take gigabytes.
_AT_ONCE = 2**24


@dataclass
class Movement:
    """What a training moved: sums over all weights.

    w are the fp32 weights, b = bf16(w) what is served of them, and d their change in the training.
    """

    trained: int = 0  # weights that were trained, not frozen below adapters
    moved: int = 0  # of these, with d w != 0
    seen: int = 0  # of these, with d b != 0
    squares: float = 0.0  # sum of (d w)^2
    served: float = 0.0  # sum of (d w)(d b)

    def add(self, before: torch.Tensor, after: torch.Tensor, trained: bool) -> None:
        """Count weights of any shape, in fp32, before and after the training."""
        for old, new in zip(before.flatten().split(_AT_ONCE), after.flatten().split(_AT_ONCE), strict=True):
            change = new - old
            seen = remainder.split(new)[0].float() - remainder.split(old)[0].float()
            self.squares += (change * change).sum(dtype=torch.float64).item()
            self.served += (change * seen).sum(dtype=torch.float64).item()
            if trained:
                self.trained += change.numel()
                self.moved += int(change.count_nonzero())
                self.seen += int(seen.count_nonzero())

    @property
    def norm(self) -> float:
        """||d w||, the Euclidean distance that the training moved the weights."""
        return self.squares**0.5

    @property
    def served_share(self) -> float:
        """<d w, d b> / ||d w||^2: how far the served policy moved along the update, as a share of
        the update's own length.

        1 where rounding loses nothing, 0 where the policy that is served stays what it was (or
        where nothing was trained). Steps of many iterations that add up come out in bf16 at some
        time or other, so the share is near 1 on average once the weights are spread between bf16's
        numbers, and can exceed it; the first training from weights that bf16 holds exactly shows
        least.
        """
        return self.served / self.squares if self.squares else 0.0


@dataclass
class Trained:
    """A trained policy on the CPU."""

    model: torch.nn.Module  # in bf16, as it is served
    remainders: dict[str, torch.Tensor]  # int16, by the names of the model's parameters
    movement: Movement


def gathered_weights(trainer: Trainer, lora: LoraSettings | None) -> dict[str, torch.Tensor]:
    """The trained weights in fp32 by their names, or those of the adapters. Weights that are spread
    over devices are gathered, so every process must call it; the main one alone gets all."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        return get_peft_model_state_dict(model)
    if not is_deepspeed_zero3_enabled():
        return trainer.accelerator.get_state_dict(trainer.model_wrapped)
    # DeepSpeed would gather the bf16 weights that it computes with, not the fp32 ones of its
    # optimizer.
    from deepspeed.utils import safe_get_full_fp32_param

    weights = {}
    for name, parameter in model.named_parameters():
        full = safe_get_full_fp32_param(parameter)  # by all processes together
        if launch.is_main():
            weights[name] = full.cpu()
    return weights


def make_savable(model) -> None:
    """Leave `model` the token ids alone of generation settings that transformers refuses to save,
    as models come with them (a temperature, and no sampling). Nothing is sampled by them."""
    asked = model.generation_config
    try:
        asked.validate(strict=True)
    except ValueError:
        ids = {name: getattr(asked, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**ids)


def trained_policy(
    weights: dict[str, torch.Tensor], start: Path, start_remainder: Path | None, lora: LoraSettings | None
) -> Trained:
    """The policy that was trained from `start` and its remainder: `weights` as they were gathered,
    which are used up one by one to save memory."""
    # Else transformers would spread what this one process loads over all of them.
    unset_hf_deepspeed_config()
    adapted = None
    if lora:
        weights, adapted = _merged(weights, start, start_remainder, lora)
    # In the precision in which it is stored, a base model's own.
    model = AutoModelForCausalLM.from_pretrained(start, dtype="auto", local_files_only=True)
    make_savable(model)
    names: dict[torch.Tensor, list[str]] = {}  # of each parameter: a head may be tied to the embeddings
    for name, parameter in model.state_dict(keep_vars=True).items():
        names.setdefault(parameter, []).append(name)
    before_rounding = dict(remainder.read(start_remainder))
    movement, remainders = Movement(), {}
    for name, parameter in model.named_parameters():
        before = parameter.data.float()
        if name in before_rounding:
            remainder.add(before, before_rounding.pop(name), f"{start_remainder}: {name}")
        # Tied weights are gathered once, under one of their names, or twice.
        (after, *_) = [weights.pop(alias) for alias in names[parameter] if alias in weights]
        after = after.detach().to("cpu", torch.float32)
        movement.add(before, after, adapted is None or name in adapted)
        parameter.data, remainders[name] = remainder.split(after)
    return Trained(model.to(torch.bfloat16), remainders, movement)


def _merged(
    adapters: dict[str, torch.Tensor], start: Path, start_remainder: Path | None, lora: LoraSettings
) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The weights of `start` and its remainder in fp32 with the adapters merged, and the names of
    those that have one."""
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, local_files_only=True)
    remainder.restore(model, start_remainder)
    adapted = get_peft_model(model, lora_config(lora))
    set_peft_model_state_dict(adapted, {name: tensor.float().cpu() for name, tensor in adapters.items()})
    names = {name.replace(".base_layer", "") for name, _ in model.named_parameters() if name.endswith("base_layer.weight")}
    return dict(adapted.merge_and_unload().named_parameters()), names
