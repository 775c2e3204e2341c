"""Texts that say the same: word n-grams, MinHash signatures, and near-duplicates.

Everything works on batches of texts as flat arrays, so that millions of messages take minutes and
memory does not grow with their length. Hashes are 64 bits of the words' bytes and depend on nothing
else: not on order, threads, machine or the version of a library. MinHash's permutations are
rensa's, and change only with its version, which the environment pins.

A flat array holds one text after the other; `offsets` (one more than texts) says where each begins,
and where the last one ends.
"""

from collections.abc import Iterator

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import rensa

SHINGLE = 5  # words that count as one element when texts are compared as sets
# 16 bands of 8 permutations find 95% of the pairs of similarity 0.8: 1 - (1 - 0.8^8)^16. What they
# find is compared on all 128.
PERMUTATIONS, BANDS = 128, 16
BATCH = 4096  # texts, or pairs of texts, that are worked on at once
# A word is a run of letters and digits; scripts that do not part words give one a character.
WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\w--_--\p{Han}--\p{Hiragana}--\p{Katakana}--\p{Thai}]+"
# The base of the polynomials that hash sequences: 2^64 over the golden ratio, odd.
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Words:
    """The words of every text, in lower case: two texts with the same words are the same text to
    this module. A text that has none ("???") counts as one word.

    `lists` has them text by text, `hashes` as a flat array (64 bits of MD5), `lengths` how many a
    text has.
    """

    def __init__(self, texts: pl.Series):
        words = texts.str.to_lowercase().str.extract_all(WORDS)
        as_one = texts.reshape((-1, 1)).arr.to_list()
        self.lists = pl.select(pl.when(words.list.len() > 0).then(words).otherwise(as_one)).to_series()
        self.lengths = self.lists.list.len().to_numpy().astype(np.int64)
        self.hashes = _hashes(self.lists.explode(empty_as_null=False, keep_nulls=False))

    def joined(self) -> pl.Series:
        """The words of every text with single spaces between them."""
        return self.lists.list.join(" ")


def gram_hashes(words: Words, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `n` words as a flat array, and its offsets.

    A text of fewer words has one gram, all of them.
    """
    # Every text is followed by n - 1 zeros, so that its last grams do not reach into the next text.
    starts = offsets_of(words.lengths + n - 1)
    padded = np.zeros(starts[-1] + n - 1, dtype=np.uint64)
    padded[ranges(starts[:-1], words.lengths)] = words.hashes
    # rolled[i] = h[i] B^(n-1) + h[i+1] B^(n-2) + ... + h[i+n-1] modulo 2^64, for all i at once.
    rolled = np.zeros(starts[-1], dtype=np.uint64)
    for place in range(n):
        rolled = rolled * _BASE + padded[place : place + len(rolled)]
    grams = np.maximum(words.lengths - n + 1, 1)
    return rolled[ranges(starts[:-1], grams)], offsets_of(grams)


def _hashes(words: pl.Series) -> np.ndarray:
    """A hash of every word; each distinct one is hashed once. Libraries' own hashes are faster, but
    change with their version."""
    encoded = words.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    # A connection serves one thread at a time; a cursor is one more to the same database.
    with duckdb.default_connection().cursor() as cursor:
        hashed = cursor.from_arrow(pa.table({"word": encoded.dictionary})).project("md5_number_upper(word)").pl().to_series()
    # Not by pyarrow's own to_numpy, which imports pandas for it.
    return hashed.to_numpy()[pl.Series(encoded.indices).to_numpy()]


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of every range, one range after the other."""
    return np.repeat(starts - offsets_of(lengths)[:-1], lengths) + np.arange(lengths.sum())


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """The offsets of a flat array of texts of these `lengths`."""
    return np.concatenate([[0], np.cumsum(lengths)])


def signatures(texts: pl.Series) -> np.ndarray:
    """MinHash signatures (Broder 1997), texts x PERMUTATIONS (uint32): the share of equal columns
    of two rows estimates the Jaccard similarity of the texts' sets of shingles."""
    parts = [np.zeros((0, PERMUTATIONS), dtype=np.uint32)]
    for start in range(0, len(texts), BATCH):
        hashes, offsets = gram_hashes(Words(texts[start : start + BATCH]), SHINGLE)
        matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), PERMUTATIONS, 0)
        parts.append(np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, PERMUTATIONS))
    return np.concatenate(parts)


def clusters(signed: np.ndarray, threshold: float) -> np.ndarray:
    """For every row of `signed` (texts x PERMUTATIONS) the first row of its cluster:
    near-duplicates, and near-duplicates of those, make a cluster."""
    # Pairs that share a bucket in any band, as first * rows + later: one number a pair, so that the
    # union over the bands leaves each pair once.
    pairs = np.zeros(0, dtype=np.int64)
    for bucket in _buckets(signed):
        pairs = np.union1d(pairs, _pairs_with_first(bucket))
    earlier, later = np.divmod(pairs, max(len(signed), 1))
    # A shared bucket is a hint: only what is alike on all permutations is an edge of the graph.
    alike = similarity(signed, earlier, later) >= threshold
    earlier, later = earlier[alike], later[alike]
    # Connected components: both ends of an edge take the lower of their two labels, and every row
    # the label of its label, until nothing changes. A label is a row of the same component that is
    # not after the row itself, so the last label is the component's first row. Following labels
    # halves the way to it each time, so that a long chain takes few passes.
    first = np.arange(len(signed))
    while True:
        before = first.copy()
        lowest = np.minimum(first[earlier], first[later])
        # A row may end many edges: `at` takes the minimum over all of them.
        np.minimum.at(first, later, lowest)
        np.minimum.at(first, earlier, lowest)
        first = first[first]
        if (first == before).all():
            return first


def similarity(signed: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The estimated Jaccard similarity of each pair of rows of `signed`: `rows` and `others`, as
    many."""
    parts = [np.zeros(0)]
    for start in range(0, len(rows), BATCH):
        mine, theirs = signed[rows[start : start + BATCH]], signed[others[start : start + BATCH]]
        parts.append((mine == theirs).mean(axis=1))
    return np.concatenate(parts)


def _buckets(signed: np.ndarray) -> Iterator[np.ndarray]:
    """Band by band, the bucket of every row (uint64): a hash of the band's columns, which
    near-duplicates share with high probability."""
    for band in np.split(signed, BANDS, axis=1):
        bucket = np.zeros(len(signed), dtype=np.uint64)
        for column in band.T:
            bucket = (bucket ^ column.astype(np.uint64)) * _BASE
        yield bucket


def _pairs_with_first(bucket: np.ndarray) -> np.ndarray:
    """first * rows + row for every row that shares its bucket with an earlier one, the first of
    them.

    As many pairs as rows at most, however full a bucket is; the cluster of the first holds the rest
    together.
    """
    _, first, which = np.unique(bucket, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[which] < np.arange(len(bucket)))
    return first[which[later]] * len(bucket) + later
