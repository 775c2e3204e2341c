"""Prompts of benchmarks in conversations: the same text, words in a row, or nearly the same."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from drift.data.similarity import SHINGLE, Words, gram_hashes, matches, offsets_of, ranges, sign

_HITS = {"row": pl.Int64, "benchmark": pl.String, "task": pl.String, "how": pl.String, "evidence": pl.String}


class BenchmarkTexts:
    """The user messages of benchmarks, and what finds them in other texts."""

    def __init__(self, tasks: Iterable[tuple[str, pl.DataFrame]], ngram: int | None, similarity: float | None):
        """`tasks`: Tasks tables by the benchmark's name. `ngram`: words in a row that make a hit,
        and `similarity`: how alike two messages must be (Jaccard of word 5-grams); None: not looked
        for.

        A later message of fewer than SHINGLE words ("and in Java?") belongs to many conversations
        and is left out; the first message counts at any length.
        """
        self.ngram, self.similarity = ngram, similarity
        tasks = list(tasks)
        names = {"benchmark": pl.String, "task": pl.String}
        ids = (table.select(benchmark=pl.lit(name), task="prompt_id") for name, table in tasks)
        self._ids = pl.concat([pl.DataFrame(schema=names), *ids])
        frames = [
            user_messages(table.select("prompt_id", "prompt", benchmark=pl.lit(name))).select(
                "benchmark", "prompt_id", text="content", place=pl.int_range(pl.len()).over("prompt_id")
            )
            for name, table in tasks
        ]
        schema = {"benchmark": pl.String, "prompt_id": pl.String, "text": pl.String, "place": pl.Int64}
        messages = pl.concat([pl.DataFrame(schema=schema), *(frame.cast(schema) for frame in frames)])
        count = pl.Series(Words(messages["text"]).lengths)
        self.messages = messages.filter((count >= SHINGLE) | (messages["place"] == 0))
        words = Words(self.messages["text"])
        self._joined = self.messages.with_columns(words=words.joined())
        if ngram:
            # Sorted, for binary search; `_places` leads from a gram to its place in the flat array.
            hashes, self._offsets = gram_hashes(words, ngram)
            self._grams, self._places = np.unique(hashes, return_index=True)
        if similarity:
            shingles, offsets = gram_hashes(words, SHINGLE)
            self._shingles = np.unique(shingles)
            self._signatures = sign(shingles, offsets)

    def found_in(self, texts: pl.Series) -> pl.DataFrame:
        """What `texts` hold of the benchmarks: row (of `texts`), benchmark, task, how (exact,
        ngram, minhash) and evidence.

        exact: the same words; ngram: `ngram` words in a row; minhash: at least `similarity` alike.
        A text that is found in several ways is reported once, in this order.
        """
        if self.messages.is_empty() or texts.is_empty():
            return pl.DataFrame(schema=_HITS)
        words = Words(texts)
        parts = [self._exact(words)]
        if self.ngram:
            parts.append(self._with_ngram(words))
        if self.similarity:
            parts.append(self._alike(words))
        return pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row")

    def named_after(self, conversations: pl.DataFrame) -> pl.DataFrame:
        """The rows of `conversations` (conversation_id among their columns) whose id in the source
        is that of a task, with the columns of `found_in` but row: benchmarks that are made from the
        same logs may name their tasks so."""
        own = conversations.with_columns(task=pl.col("conversation_id").str.split(":").list.last())
        return own.join(self._ids, on="task").with_columns(how=pl.lit("id"), evidence="task")

    def _exact(self, words: Words) -> pl.DataFrame:
        mine = pl.DataFrame({"row": np.arange(len(words.lists)), "words": words.joined()})
        theirs = self._joined.unique("words", keep="first", maintain_order=True)
        hits = mine.join(theirs, on="words", maintain_order="left")
        return hits.select("row", "benchmark", task="prompt_id", how=pl.lit("exact"), evidence="text")

    def _with_ngram(self, words: Words) -> pl.DataFrame:
        rows = []
        hashes, offsets = gram_hashes(words, self.ngram)
        # For every gram of the texts its place in `_grams`, or -1; the texts of those that have
        # one.
        known = _places(hashes, self._grams)
        hits = np.flatnonzero(known >= 0)
        text_of = np.searchsorted(offsets, hits, side="right") - 1
        # The first hit of each text is its evidence.
        for text, first in zip(*np.unique(text_of, return_index=True), strict=True):
            message = np.searchsorted(self._offsets, self._places[known[hits[first]]], side="right") - 1
            owner = self._joined.row(int(message), named=True)
            begin = hits[first] - offsets[text]
            run = words.lists[int(text)].to_list()[begin : begin + self.ngram]
            # A text of fewer words is one gram as a whole, and two runs with one hash need not be
            # the same words.
            if len(run) == self.ngram and f" {' '.join(run)} " in f" {owner['words']} ":
                rows.append((int(text), owner["benchmark"], owner["prompt_id"], "ngram", " ".join(run)))
        return pl.DataFrame(rows, schema=_HITS, orient="row")

    def _alike(self, words: Words) -> pl.DataFrame:
        hashes, offsets = gram_hashes(words, SHINGLE)
        lengths = np.diff(offsets)
        # Texts that are alike share at least that share of their shingles; half of it leaves room
        # for MinHash's error. Few texts do, and signing takes time.
        shared = np.add.reduceat(_places(hashes, self._shingles) >= 0, offsets[:-1], dtype=np.int64)
        some = np.flatnonzero(shared >= self.similarity / 2 * lengths)
        signatures = sign(hashes[ranges(offsets[some], lengths[some])], offsets_of(lengths[some]))
        mine, theirs, similar = matches(signatures, self._signatures, self.similarity)
        owners = self.messages[theirs]
        columns = {
            "row": some[mine],
            "benchmark": owners["benchmark"],
            "task": owners["prompt_id"],
            "how": "minhash",
            "evidence": [f"{value:.2f} alike: {text}" for value, text in zip(similar, owners["text"], strict=True)],
        }
        return pl.DataFrame(columns, schema=_HITS)


def _places(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where each value stands in `known`, which is sorted and not empty; -1 where it does not."""
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places, -1)


def user_messages(rows: pl.DataFrame) -> pl.DataFrame:
    """The users' messages in the prompts of `rows`, a row each: the other columns, and content."""
    return rows.explode("prompt", empty_as_null=False).unnest("prompt").filter(role="user").drop("role")
