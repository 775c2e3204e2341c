"""Self-consistency: the candidate that the prompt's other candidates are most like.

The score of a reply is its mean cosine similarity with the other candidates of its prompt, by the
embeddings of an encoder (drift/engines/encoders.py). The highest is the medoid, what Wang et al.
2022 (arXiv 2203.11171) take by vote where answers are short enough to be the same. A reply that is
longer than max_length or than the encoder reads counts by its beginning.
"""

import json
from itertools import groupby
from pathlib import Path

from drift.engines import encoders
from drift.settings.sampling import RewardSettings

NEEDS_PATH = "an encoder"
READS = ("max_length",)
# What is further behind the point is rounding: two candidates are as like each other.
_DIGITS = 6


def scores(rows: list[dict], settings: RewardSettings, path: Path) -> dict[str, float]:
    """The mean cosine similarity of each row's text with the others of its prompt, -1 to 1, by
    request_id; a single candidate has none. Raises StageError where `path` holds no encoder."""
    model, tokenizer = encoders.load(path, "rankers.NAME.path")
    ordered = sorted(rows, key=lambda row: (_key(row), row["request_id"]))
    vectors, _ = encoders.embed(model, tokenizer, [row["text"] for row in ordered], settings.max_length)
    found = {}
    for _, group in groupby(enumerate(ordered), key=lambda placed: _key(placed[1])):
        places, candidates = zip(*group, strict=True)
        if len(candidates) < 2:
            continue
        own = vectors[list(places)].astype(float)
        # Candidates x candidates, 1 on the diagonal.
        similar = own @ own.T
        means = (similar.sum(axis=1) - similar.diagonal()) / (len(candidates) - 1)
        found |= {row["request_id"]: round(float(mean), _DIGITS) for row, mean in zip(candidates, means, strict=True)}
    return found


def _key(row: dict) -> str:
    return json.dumps(row["prompt"])
