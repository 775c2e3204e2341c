"""Texts that say the same: word n-grams, MinHash signatures, near-duplicates, and benchmark prompts in conversations.

Everything works on batches of texts as flat arrays, so that millions of messages take minutes and memory does not grow with
their length. Hashes are 64 bits of the words' bytes and depend on nothing else: not on order, threads, machine or the version of a
library. MinHash's permutations are rensa's, and change only with its version, which the environment pins.
"""

from collections.abc import Iterable, Iterator

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import rensa

SHINGLE = 5  # words that count as one element when texts are compared as sets
PERMUTATIONS, BANDS = 128, 16  # finds 95% of the pairs of similarity 0.8; those found are compared on all 128
BATCH = 4096
# A word is a run of letters and digits; scripts that do not part words give one a character.
WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\w--\p{Han}--\p{Hiragana}--\p{Katakana}--\p{Thai}]+"
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Words:
    """The words of every text, in lower case: two texts with the same words are the same text to this module. A text that has
    none ("???") counts as one word.

    `lists` has them text by text, `hashes` one after the other (64 bits of MD5), `lengths` how many a text has.
    """

    def __init__(self, texts: pl.Series):
        found = texts.str.to_lowercase().str.extract_all(WORDS)
        as_one = texts.reshape((-1, 1)).arr.to_list()
        self.lists = pl.select(pl.when(found.list.len() > 0).then(found).otherwise(as_one)).to_series()
        self.lengths = self.lists.list.len().to_numpy().astype(np.int64)
        self.hashes = _hashes(self.lists.explode(empty_as_null=False, keep_nulls=False))

    def joined(self) -> pl.Series:
        """The words of every text with single spaces between them."""
        return self.lists.list.join(" ")


def gram_hashes(said: Words, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all runs of `n` words, one text after the other, and where each text's begin (one offset more than texts).

    A text of fewer words has one gram, all of them.
    """
    # n-1 zeros behind every text keep its last grams from reaching into the next text.
    starts = _offsets(said.lengths + n - 1)
    padded = np.zeros(starts[-1] + n - 1, dtype=np.uint64)
    padded[_ranges(starts[:-1], said.lengths)] = said.hashes
    rolled = np.zeros(starts[-1], dtype=np.uint64)
    for place in range(n):
        rolled = rolled * _BASE + padded[place : place + len(rolled)]
    grams = np.maximum(said.lengths - n + 1, 1)
    return rolled[_ranges(starts[:-1], grams)], _offsets(grams)


def _hashes(found: pl.Series) -> np.ndarray:
    """A hash of every word; each distinct one is hashed once. Libraries' own hashes are faster, but change with their version."""
    encoded = found.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    # A connection serves one thread at a time; a cursor is one more to the same database.
    with duckdb.default_connection().cursor() as cursor:
        hashed = cursor.from_arrow(pa.table({"word": encoded.dictionary})).project("md5_number_upper(word)").pl().to_series()
    # Not by pyarrow's own to_numpy, which imports pandas for it.
    return hashed.to_numpy()[pl.Series(encoded.indices).to_numpy()]


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of every range, one range after the other."""
    return np.repeat(starts - _offsets(lengths)[:-1], lengths) + np.arange(lengths.sum())


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each of the ranges that follow one another begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)])


def signatures(texts: pl.Series) -> np.ndarray:
    """MinHash signatures (Broder 1997), texts x PERMUTATIONS: the share of equal places of two estimates their Jaccard
    similarity."""
    parts = [np.zeros((0, PERMUTATIONS), dtype=np.uint32)]
    for start in range(0, len(texts), BATCH):
        parts.append(_signed(*gram_hashes(Words(texts[start : start + BATCH]), SHINGLE)))
    return np.concatenate(parts)


def _signed(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`signatures` of texts whose `gram_hashes` are known."""
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), PERMUTATIONS, 0)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(-1, PERMUTATIONS)


def clusters(signed: np.ndarray, threshold: float) -> np.ndarray:
    """For every signature the first one of its cluster: near-duplicates, and near-duplicates of those, make a cluster."""
    first = np.arange(len(signed))
    pairs = np.zeros(0, dtype=np.int64)
    for bucket in _buckets(signed):
        pairs = np.union1d(pairs, _pairs_with_first(bucket))
    earlier, later = np.divmod(pairs, max(len(signed), 1))
    alike = similarity(signed, earlier, signed, later) >= threshold
    earlier, later = earlier[alike], later[alike]
    while True:
        lowest = np.minimum(first[earlier], first[later])
        before = first.copy()
        np.minimum.at(first, later, lowest)
        np.minimum.at(first, earlier, lowest)
        first = first[first]
        if (first == before).all():
            return first


def matches(signed: np.ndarray, others: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of `signed` and of `others` (few) that are near-duplicates, and how similar: three arrays of one length."""
    pairs = [pl.DataFrame(schema={"a": pl.UInt32, "b": pl.UInt32})]
    for mine, theirs in zip(_buckets(signed), _buckets(others), strict=True):
        left = pl.DataFrame({"bucket": mine}).with_row_index("a")
        right = pl.DataFrame({"bucket": theirs}).with_row_index("b")
        pairs.append(left.join(right, on="bucket").select("a", "b"))
    a, b = (column.to_numpy() for column in pl.concat(pairs).unique().sort("a", "b"))
    similar = similarity(signed, a, others, b)
    kept = similar >= threshold
    return a[kept], b[kept], similar[kept]


def similarity(signed: np.ndarray, rows: np.ndarray, others: np.ndarray, other_rows: np.ndarray) -> np.ndarray:
    """The estimated Jaccard similarity of each pair: `rows` of `signed` with `other_rows` of `others`."""
    parts = [np.zeros(0)]
    for start in range(0, len(rows), BATCH):
        mine, theirs = signed[rows[start : start + BATCH]], others[other_rows[start : start + BATCH]]
        parts.append((mine == theirs).mean(axis=1))
    return np.concatenate(parts)


def _buckets(signed: np.ndarray) -> Iterator[np.ndarray]:
    """Band by band, the bucket of every signature: near-duplicates share one with high probability."""
    for band in np.split(signed, BANDS, axis=1):
        bucket = np.zeros(len(signed), dtype=np.uint64)
        for column in band.T:
            bucket = (bucket ^ column.astype(np.uint64)) * _BASE
        yield bucket


def _pairs_with_first(bucket: np.ndarray) -> np.ndarray:
    """first * rows + row for every row that shares its bucket with an earlier one, the first: linear in rows, however full a
    bucket is."""
    _, first, which = np.unique(bucket, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[which] < np.arange(len(bucket)))
    return first[which[later]] * len(bucket) + later


# ---------------------------------------------------------------------------------------------------------- benchmarks


class BenchmarkTexts:
    """The user messages of benchmarks, with what finds them again in other texts."""

    def __init__(self, tasks: Iterable[tuple[str, pl.DataFrame]], ngram: int | None, similarity: float | None):
        """`tasks`: Tasks tables by the benchmark's name; `ngram`: words in a row that make a hit, and `similarity`: how alike
        two messages must be (Jaccard of word 5-grams); None: not looked for.

        A later message of fewer than SHINGLE words ("and in Java?") is no prompt of the benchmark's own and is left out; the
        first message counts at any length.
        """
        self.ngram, self.similarity = ngram, similarity
        tasks = list(tasks)
        names = {"benchmark": pl.String, "task": pl.String}
        ids = (table.select(benchmark=pl.lit(name), task="prompt_id") for name, table in tasks)
        self._ids = pl.concat([pl.DataFrame(schema=names), *ids])
        frames = [
            table.select(benchmark=pl.lit(name), prompt_id="prompt_id", message=_user_messages("prompt"))
            .with_columns(place=pl.int_ranges(0, pl.col("message").list.len()))
            .explode("message", "place", empty_as_null=False)
            .rename({"message": "text"})
            for name, table in tasks
        ]
        schema = {"benchmark": pl.String, "prompt_id": pl.String, "text": pl.String, "place": pl.Int64}
        messages = pl.concat([pl.DataFrame(schema=schema), *(frame.cast(schema) for frame in frames)])
        count = pl.Series(Words(messages["text"]).lengths)
        self.messages = messages.filter((count >= SHINGLE) | (messages["place"] == 0))
        said = Words(self.messages["text"])
        self._said = self.messages.with_columns(said=said.joined())
        if ngram:
            hashes, self._offsets = gram_hashes(said, ngram)
            self._grams, self._places = np.unique(hashes, return_index=True)
        if similarity:
            shingles, offsets = gram_hashes(said, SHINGLE)
            self._shingles = np.unique(shingles)
            self._signatures = _signed(shingles, offsets)

    def found_in(self, texts: pl.Series) -> pl.DataFrame:
        """What of the benchmarks the texts hold: row (of `texts`), benchmark, task, how (exact, ngram, minhash) and evidence.

        exact: the same words; ngram: `ngram` words in a row; minhash: at least `similarity` alike. A text that is found in
        several ways is reported once, in this order.
        """
        if self.messages.is_empty() or texts.is_empty():
            return _no_hits()
        said = Words(texts)
        parts = [self._exact(said)]
        if self.ngram:
            parts.append(self._ngram(said))
        if self.similarity:
            parts.append(self._alike(said))
        return pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row")

    def named_after(self, conversations: pl.DataFrame) -> pl.DataFrame:
        """The rows of `conversations` (conversation_id among their columns) whose id in the source is that of a task, with the
        columns of `found_in` but row: benchmarks that are made from the same logs may name their tasks so."""
        own = conversations.with_columns(task=pl.col("conversation_id").str.split(":").list.last())
        return own.join(self._ids, on="task").with_columns(how=pl.lit("id"), evidence="task")

    def _exact(self, said: Words) -> pl.DataFrame:
        mine = pl.DataFrame({"row": np.arange(len(said.lists)), "said": said.joined()})
        hits = mine.join(self._said.unique("said", keep="first", maintain_order=True), on="said", maintain_order="left")
        return hits.select("row", "benchmark", task="prompt_id", how=pl.lit("exact"), evidence="text")

    def _ngram(self, said: Words) -> pl.DataFrame:
        rows = []
        hashes, offsets = gram_hashes(said, self.ngram)
        known = _places(hashes, self._grams)
        hits = np.flatnonzero(known >= 0)
        text_of = np.searchsorted(offsets, hits, side="right") - 1
        for text, first in zip(*np.unique(text_of, return_index=True), strict=True):
            message = np.searchsorted(self._offsets, self._places[known[hits[first]]], side="right") - 1
            owner = self._said.row(int(message), named=True)
            begin = hits[first] - offsets[text]
            run = said.lists[int(text)].to_list()[begin : begin + self.ngram]
            # A text of fewer words is one gram as a whole, and two runs with one hash need not be the same words.
            if len(run) == self.ngram and f" {' '.join(run)} " in f" {owner['said']} ":
                rows.append((int(text), owner["benchmark"], owner["prompt_id"], "ngram", " ".join(run)))
        return pl.DataFrame(rows, schema=_no_hits().schema, orient="row")

    def _alike(self, said: Words) -> pl.DataFrame:
        hashes, offsets = gram_hashes(said, SHINGLE)
        lengths = np.diff(offsets)
        # What is alike shares at least that share of its grams; half of it leaves room for MinHash's error. Few texts do, and
        # signing takes time.
        shared = np.add.reduceat(_places(hashes, self._shingles) >= 0, offsets[:-1], dtype=np.int64)
        some = np.flatnonzero(shared >= self.similarity / 2 * lengths)
        signatures = _signed(hashes[_ranges(offsets[some], lengths[some])], _offsets(lengths[some]))
        mine, theirs, similar = matches(signatures, self._signatures, self.similarity)
        mine = some[mine]
        owners = self.messages[theirs]
        evidence = [f"{value:.2f} alike: {text}" for value, text in zip(similar, owners["text"], strict=True)]
        return pl.DataFrame(
            {
                "row": mine,
                "benchmark": owners["benchmark"],
                "task": owners["prompt_id"],
                "how": "minhash",
                "evidence": evidence,
            },
            schema=_no_hits().schema,
        )


def _places(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each value stands in `known`, which is sorted and not empty; -1 where it does not."""
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places, -1)


def said_by_users(rows: pl.DataFrame) -> pl.DataFrame:
    """The users' messages in the prompts of `rows`, one after the other: the other columns, and content."""
    return rows.explode("prompt", empty_as_null=False).unnest("prompt").filter(role="user").drop("role")


def _user_messages(column: str) -> pl.Expr:
    message = pl.element()
    return pl.col(column).list.eval(message.filter(message.struct["role"] == "user").struct["content"])


def _no_hits() -> pl.DataFrame:
    return pl.DataFrame(
        schema={"row": pl.Int64, "benchmark": pl.String, "task": pl.String, "how": pl.String, "evidence": pl.String}
    )
