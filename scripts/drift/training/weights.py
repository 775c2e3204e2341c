"""From a trainer's weights to those of a policy: gathered, adapters merged, rounded to bf16."""

from pathlib import Path

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM

from drift.settings.training import LoraSettings
from drift.training import launch
from drift.training.trainer import Trainer, lora_config


def trained_model(trainer: Trainer, start: Path, lora: LoraSettings | None):
    """The model of `start` with the trained weights in fp32 on the CPU, adapters merged, and the
    names of the weights that were trained.

    Weights that are spread over devices are gathered, so every process must call it; all but the
    main one get (None, []).
    """
    config = lora_config(lora)
    if config:
        weights = get_peft_model_state_dict(trainer.accelerator.unwrap_model(trainer.model))
    else:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not launch.is_main():
        return None, []
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, local_files_only=True)
    names = [name for name, _ in model.named_parameters()]
    if config:
        adapted = get_peft_model(model, config)
        set_peft_model_state_dict(adapted, {name: tensor.float().cpu() for name, tensor in weights.items()})
        names = [name.replace(".base_layer", "") for name, _ in model.named_parameters() if name.endswith("base_layer.weight")]
        return adapted.merge_and_unload(), names
    # A head that is tied to the embeddings is gathered once, under one of its two names.
    model.load_state_dict(weights, strict=not model.config.get_text_config().tie_word_embeddings)
    return model, names


def round_weights(model, start: Path, names: list[str]) -> float:
    """Round the model's weights to bf16, in which policies are stored, and return the share of
    those in `names` that then differ from `start`."""
    before = AutoModelForCausalLM.from_pretrained(start, dtype=torch.bfloat16, local_files_only=True).state_dict()
    changed = total = 0
    for name, parameter in model.named_parameters():
        rounded = parameter.data.to(torch.bfloat16)
        parameter.data.copy_(rounded)
        if name in names:
            changed += int((rounded.cpu() != before[name]).sum())
            total += rounded.numel()
    return changed / total
