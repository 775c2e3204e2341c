"""Whether a text is another one from which personal data was cut out.

What was cut out is a placeholder ("<PERSON>") or is not to be seen. So the word 5-grams between the
placeholders count, and most of them, not all, must be in the other text.
"""

import re
from typing import NamedTuple

import numpy as np
import polars as pl

from drift.data.similarity import SHINGLE, Words, gram_hashes

# <PERSON>, <PRESIDIO_ANONYMIZED_EMAIL_ADDRESS>, [NAME_1]
PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]+>|\[[A-Z][A-Z0-9_]+\]")
CONTAINED = 0.8
# At most so many grams of a text are kept, those of the lowest hashes: a random sample of them,
# whose share in another text is that of all within 0.05 (one standard error, at 0.8).
SAMPLE = 64
# Words that a placeholder may stand for, in texts that are too short for the share to say much.
NAME = 5


class Fingerprint(NamedTuple):
    """What is kept of a text to know it again."""

    text: int  # a hash of it, for this process
    n: int  # words of a gram: SHINGLE, or fewer where the text has no such run between placeholders
    grams: np.ndarray  # hashes, uint64
    longest: int | None  # words that the other text may have; None: any number


def fingerprints(texts: list[str]) -> list[Fingerprint]:
    """The fingerprints of texts, in their order."""
    if not texts:
        return []
    parts = [PLACEHOLDER.split(text) for text in texts]
    counts = np.array([len(part) for part in parts])
    begins, owner = np.cumsum(counts) - counts, np.repeat(np.arange(len(texts)), counts)
    runs = pl.Series([run for part in parts for run in part], dtype=pl.String)
    words = Words(runs)
    lengths = words.lengths.copy()
    # Between two placeholders there may be a comma, which is no word.
    lengths[(counts[owner] > 1) & ~runs.str.contains(r"[\p{L}\p{N}]").to_numpy()] = 0
    n = np.minimum(np.maximum.reduceat(lengths, begins), SHINGLE)
    longest = np.add.reduceat(lengths, begins) + NAME * (counts - 1)
    grams = {text: [] for text in range(len(texts))}
    for size in np.unique(n[n > 0]):
        chosen = np.flatnonzero((n[owner] == size) & (lengths >= size))
        # All of them at once, or a few more short ones.
        some, places = (words, chosen) if size == SHINGLE else (Words(runs[chosen]), np.arange(len(chosen)))
        hashes, offsets = gram_hashes(some, int(size))
        for run, text in zip(places.tolist(), owner[chosen].tolist(), strict=True):
            grams[text].append(hashes[offsets[run] : offsets[run + 1]])
    return [
        Fingerprint(
            hash(text.strip()), int(n[place]), _sample(grams[place]), int(longest[place]) if n[place] < SHINGLE else None
        )
        for place, text in enumerate(texts)
    ]


def _sample(grams: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(grams))[:SAMPLE] if grams else np.zeros(0, dtype=np.uint64)


def are_same(known: list[Fingerprint], texts: list[str]) -> np.ndarray:
    """Whether each text is the one of the fingerprint at its place: the same but for space around
    it, or one with CONTAINED of its grams.

    A text with no five words in a row between placeholders is compared by shorter runs, and the
    other must not be longer than the placeholders allow.
    """
    same = np.array([one.text == hash(text.strip()) for one, text in zip(known, texts, strict=True)], dtype=bool)
    for n in range(SHINGLE + 1):
        places = [place for place in np.flatnonzero(~same) if known[place].n == n]
        if not places:
            continue
        words = Words(pl.Series([texts[place] for place in places], dtype=pl.String))
        hashes, offsets = gram_hashes(words, max(n, 1))
        for number, place in enumerate(places):
            one = known[place]
            found = np.isin(one.grams, hashes[offsets[number] : offsets[number + 1]])
            fits = one.longest is None or words.lengths[number] <= one.longest
            same[place] = fits and (found.mean() >= CONTAINED if len(found) else bool(texts[place].strip()))
    return same
