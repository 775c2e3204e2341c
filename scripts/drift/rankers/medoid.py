"""Self-consistency: the candidate that the prompt's other candidates are most like.

The score of a reply is its mean cosine similarity with the other candidates of its prompt, by the
embeddings of an encoder: the mean of its last hidden states over the reply's tokens, as
sentence-transformers' models are pooled. The highest is the medoid, what Wang et al. 2022 (arXiv
2203.11171) take by vote where answers are short enough to be the same. A reply that is longer than
max_length or than the encoder reads counts by its beginning.
"""

import json
from itertools import groupby
from pathlib import Path

from drift.cli import StageError
from drift.settings.sampling import RewardSettings

NEEDS_PATH = "an encoder"


def scores(rows: list[dict], settings: RewardSettings, path: Path) -> dict[str, float]:
    """The mean cosine similarity of each row's text with the others of its prompt, -1 to 1, by
    request_id; a single candidate has none. Raises StageError where `path` holds no encoder."""
    import torch

    from drift.progress import Progress

    model, tokenizer = load(path)
    longest = min(settings.max_length, tokenizer.model_max_length, model.config.max_position_embeddings)
    found = {}
    ordered = sorted(rows, key=lambda row: (_key(row), row["request_id"]))
    for _, group in groupby(Progress(ordered, desc="candidates"), key=_key):
        candidates = list(group)
        if len(candidates) < 2:
            continue
        with torch.no_grad():
            vectors = torch.stack([embed(model, tokenizer, row["text"], longest) for row in candidates])
        # Candidates x candidates, 1 on the diagonal.
        similar = vectors @ vectors.T
        means = (similar.sum(1) - similar.diagonal()) / (len(candidates) - 1)
        found |= {row["request_id"]: float(mean) for row, mean in zip(candidates, means, strict=True)}
    return found


def embed(model, tokenizer, text: str, longest: int):
    """The embedding of a text of at most `longest` tokens, of length 1: width."""
    import torch

    encoded = tokenizer(text.strip(), truncation=True, max_length=longest, return_tensors="pt").to(model.device)
    mean = model(**encoded).last_hidden_state[0].float().mean(0)
    return torch.nn.functional.normalize(mean, dim=0)


def load(folder: Path):
    """The encoder and its tokenizer. Raises StageError where there is none."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.is_encoder_decoder or any(name.endswith("ForCausalLM") for name in config.architectures or []):
            raise StageError(
                f"{folder}: {' '.join(config.architectures or [config.model_type])} writes texts, and is no encoder; fix "
                "rankers.NAME.path, e.g. to a model of sentence-transformers"
            )
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: no encoder can be loaded ({error}); fix rankers.NAME.path") from error
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _key(row: dict) -> str:
    return json.dumps(row["prompt"])
