"""Encoders: how they are loaded, and the embeddings of texts by them.

The embedding of a text is the mean of the encoder's last hidden states over the text's tokens, as
sentence-transformers' models are pooled, of length 1. A text of more tokens than are read counts by
its beginning. Nothing is padded. Matrices are multiplied in bf16 where the machine can: on a CPU
that takes two thirds of fp32's time, and moves a cosine by some thousandths.
"""

import json
from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from drift.cli import StageError
from drift.engines import classifiers
from drift.policies import runs_bf16

if TYPE_CHECKING:
    import numpy as np

# What is read at once: so many texts of one length, and so many tokens together.
AT_ONCE, TOKENS = 64, 16_384


def check(folder: Path, key: str) -> None:
    """Raise StageError, which names the `key` of the configuration to fix, where there is no model
    in the folder, and where it writes texts."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unloadable(folder, key, error) from error
    names = config.get("architectures") or []
    if config.get("is_encoder_decoder") or any(name.endswith("ForCausalLM") for name in names):
        raise StageError(
            f"{folder}: {' '.join(names) or config.get('model_type')} writes texts, and is no encoder; fix {key}, e.g. to a "
            "model of sentence-transformers"
        )


def load(folder: Path, key: str):
    """The encoder in a folder, on the GPU where there is one, and its tokenizer. Raises StageError
    as `check`."""
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    check(folder, key)
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise _unloadable(folder, key, error) from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _unloadable(folder: Path, key: str, reason: object) -> StageError:
    return StageError(f"{folder}: no encoder can be loaded ({reason}); fix {key}")


def embed(model, tokenizer, texts: Sequence[str], max_length: int | None) -> "tuple[np.ndarray, list[bool]]":
    """The embeddings of `texts`, (texts, width) in fp32, and which of the texts were cut.

    At most `max_length` tokens are read, special ones included, and no more than the encoder reads.
    Texts of equal length are read together: padding would change what is made of them. One without
    tokens, as an empty one may be, stays 0.
    """
    import numpy as np
    import torch

    from drift.progress import Progress

    longest = classifiers.longest(model, tokenizer)
    room = min(max_length or longest, longest)
    encoded = [tokenizer(text.strip(), truncation=True, max_length=room)["input_ids"] for text in texts]
    cut = [len(tokenizer(text.strip(), verbose=False)["input_ids"]) > room for text in texts]
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)

    def length(place: int) -> int:
        return len(encoded[place])

    some = sorted((place for place in range(len(texts)) if encoded[place]), key=length)
    mixed = runs_bf16()
    with Progress(total=len(texts), desc="texts") as progress:
        for tokens, same in groupby(some, length):
            while places := list(islice(same, max(1, min(AT_ONCE, TOKENS // tokens)))):
                ids = torch.tensor([encoded[place] for place in places], device=model.device)
                with torch.no_grad(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=mixed):
                    means = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float().mean(1)
                vectors[places] = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
                progress.update(len(places))
    return vectors, cut
