"""Sequence classifiers: how they are loaded, what they read, and what they say of it.

A classifier reads messages in its chat template where its tokenizer has one. Else it reads plain
texts: a lone message by itself; of several, the last as the second of a pair of texts, as
OpenAssistant's reward models were trained. Nothing is cut and nothing is padded.
"""

import math
from pathlib import Path

from drift.chat import Messages, fix_date, rendered
from drift.cli import StageError


def config_of(folder: Path, key: str):
    """The config.json of a classifier. Raises StageError, which names the `key` of the
    configuration to fix, where there is none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _unloadable(folder, key, error) from error


def classes_of(config) -> list[str]:
    """The names of a classifier's outputs, in their order."""
    return [name for _, name in sorted(config.id2label.items())]


def load(folder: Path, key: str):
    """The classifier in a folder, on the GPU where there is one, and its tokenizer. Raises
    StageError as `config_of`, and where the weights of its outputs are missing: those of a model
    that is no classifier would be drawn at random."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    options = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(folder, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _unloadable(folder, key, error) from error
    if missing := sorted(info["missing_keys"]):
        raise _unloadable(folder, key, f"it has no weights {', '.join(missing)}")
    fix_date(tokenizer)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _unloadable(folder: Path, key: str, reason: object) -> StageError:
    return StageError(f"{folder}: no classifier can be loaded ({reason}); fix {key}")


def longest(model, tokenizer) -> int:
    """Tokens that the classifier was made to read at once."""
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None), positions(model)]
    return min(limit for limit in limits if limit)


def positions(model) -> float:
    """Tokens that the classifier has a learned position for, beyond which it fails; no limit where
    positions are not learned one by one."""
    from torch.nn import Embedding

    limits = [math.inf]
    for name, module in model.named_modules():
        if name.endswith(("position_embeddings", "wpe")) and isinstance(module, Embedding):
            # RoBERTa and its kin number positions from the one after that of the padding.
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - before)
    return min(limits)


def encode(tokenizer, messages: Messages) -> dict[str, list[int]]:
    """What the classifier reads, as token ids by the names of its inputs."""
    if tokenizer.chat_template:
        return {"input_ids": rendered(tokenizer, messages)}
    *before, last = (message["content"] for message in messages)
    return dict(tokenizer("\n\n".join(before), last) if before else tokenizer(last))


def logits(model, rows: list[dict[str, list[int]]]):
    """The outputs for `rows` of equal length, as a tensor in fp32: rows x outputs."""
    import torch

    inputs = {name: torch.tensor([row[name] for row in rows], device=model.device) for name in rows[0]}
    with torch.no_grad():
        return model(**inputs).logits.float()
