"""Prompts of benchmarks in conversations: the same text, words in a row, or most of a prompt."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from drift.cli import StageError
from drift.data.similarity import SHINGLE, Words, gram_hashes, ranges

# Prompts of fewer words are looked for as wholes: half of the words of "What is the capital of
# Australia?" is half of many questions.
SHORT = 13
# Words in a row of a short prompt that make a text worth a closer look.
HINT = 3
# A short prompt may have one other word between its own for so many of them.
WORDS_PER_INSERTION = 5
# The last bits of a hash: as many endings as stay in a core's cache.
ENDING = np.uint64(2**20 - 1)

_HITS = {"row": pl.Int64, "benchmark": pl.String, "task": pl.String, "how": pl.String, "evidence": pl.String}


class BenchmarkTexts:
    """The user messages of benchmarks, and what finds them in other texts."""

    def __init__(self, tasks: Iterable[tuple[str, pl.DataFrame]], ngram: int | None, coverage: float | None):
        """`tasks`: Tasks tables by the benchmark's name. `ngram`: words in a row that make a hit,
        and `coverage`: the share of a message's word 5-grams that does; None: not looked for.

        A message of fewer than SHINGLE words ("Hi", "and in Java?") belongs to many conversations:
        it counts only as the first of a task that says nothing longer.
        """
        self.ngram, self.coverage = ngram, coverage
        schema = {"benchmark": pl.String, "prompt_id": pl.String, "content": pl.String}
        frames = [user_messages(table.select("prompt_id", "prompt", benchmark=pl.lit(name))) for name, table in tasks]
        said = pl.concat([pl.DataFrame(schema=schema), *(frame.select(list(schema)).cast(schema) for frame in frames)])
        task = ("benchmark", "prompt_id")
        said = said.with_columns(
            length=pl.Series(Words(said["content"]).lengths),
            place=pl.int_range(pl.len()).over(task),
            alone=pl.len().over(task) == 1,
        )
        nothing_longer = (pl.col("length").max().over(task) < SHINGLE) & (pl.col("place") == 0)
        said = said.filter((pl.col("length") >= SHINGLE) | nothing_longer)
        words = Words(said["content"])
        self._messages = said.with_columns(words=words.joined())
        if ngram:
            self._runs = _Grams(words, ngram)
        if coverage:
            # A short message inside of a longer one is a benchmark's only where it is all of the
            # task: "Can you explain that in more detail?" follows many.
            self._long = self._messages.filter(pl.col("length") >= SHORT)
            self._short = self._messages.filter(pl.col("length").is_between(SHINGLE, SHORT - 1), "alone")
            self._shingles = _Grams(Words(self._long["content"]), SHINGLE)
            self._hints = _Grams(Words(self._short["content"]), HINT)
            # Every insertion parts this many grams; the others are there.
            length = self._short["length"].to_numpy()
            self._hints_needed = np.maximum(self._hints.counts - (HINT - 1) * (length // WORDS_PER_INSERTION), 1)

    def found_in(self, texts: pl.Series) -> pl.DataFrame:
        """What `texts` hold of the benchmarks: row (of `texts`), benchmark, task, how (exact,
        ngram, coverage) and evidence.

        exact: the same words; ngram: `ngram` words in a row; coverage: the share `coverage` of the
        word 5-grams of a message, or, of one of SHINGLE to SHORT - 1 words, all words in order with
        a few others between. A text that is found in several ways is reported once, in this order.
        """
        if self._messages.is_empty() or texts.is_empty():
            return pl.DataFrame(schema=_HITS)
        words = Words(texts)
        parts = [self._exact(words)]
        if self.ngram:
            parts.append(self._with_ngram(words))
        if self.coverage:
            parts += [self._covering(words), self._in_order(words)]
        return pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row")

    def _exact(self, words: Words) -> pl.DataFrame:
        mine = pl.DataFrame({"row": np.arange(len(words.lists)), "words": words.joined()})
        theirs = self._messages.unique("words", keep="first", maintain_order=True)
        hits = mine.join(theirs, on="words", maintain_order="left")
        return hits.select("row", "benchmark", task="prompt_id", how=pl.lit("exact"), evidence="content")

    def _with_ngram(self, words: Words) -> pl.DataFrame:
        rows = []
        places, offsets, known = self._runs.places(words)
        text_of = np.searchsorted(offsets, places, side="right") - 1
        # The first hit of each text is its evidence.
        for text, first in zip(*np.unique(text_of, return_index=True), strict=True):
            owner = self._messages.row(int(self._runs.first_text(known[first])), named=True)
            begin = places[first] - offsets[text]
            run = words.lists[int(text)].to_list()[begin : begin + self.ngram]
            # A text of fewer words is one gram as a whole, and two runs with one hash need not be
            # the same words.
            if len(run) == self.ngram and f" {' '.join(run)} " in f" {owner['words']} ":
                rows.append((int(text), owner["benchmark"], owner["prompt_id"], "ngram", " ".join(run)))
        return pl.DataFrame(rows, schema=_HITS, orient="row")

    def _covering(self, words: Words) -> pl.DataFrame:
        text, message, shared = self._shingles.shared(words)
        share = shared / self._shingles.counts[message]
        covered = np.flatnonzero(share >= self.coverage)
        # Of several messages the one that is held most.
        covered = covered[np.lexsort((message[covered], -share[covered], text[covered]))]
        owners = self._long[message[covered]]
        evidence = [f"{part:.2f} of: {said}" for part, said in zip(share[covered], owners["content"], strict=True)]
        return _hits(text[covered], owners, "coverage", evidence)

    def _in_order(self, words: Words) -> pl.DataFrame:
        text, message, shared = self._hints.shared(words)
        hinted = np.flatnonzero(shared >= self._hints_needed[message])
        found = []
        for row, place in zip(text[hinted].tolist(), message[hinted].tolist(), strict=True):
            passage = _passage(words.lists[row].to_list(), self._short["words"][place].split(" "))
            if passage:
                found.append((row, place, passage))
        rows, places, passages = zip(*found, strict=True) if found else ((), (), ())
        return _hits(np.array(rows, dtype=np.int64), self._short[list(places)], "coverage", list(passages))


class _Grams:
    """The runs of `n` words of some texts, and what finds them in others."""

    def __init__(self, words: Words, n: int):
        self._n = n
        hashes, offsets = gram_hashes(words, n)
        # Sorted, for binary search. The texts that hold the gram at place g of `_known`, each once,
        # are _owners[_starts[g]:_starts[g + 1]], lowest first.
        self._known, place = np.unique(hashes, return_inverse=True)
        # Most grams of other texts end in bits that none of these does: they are not searched for.
        self._endings = np.zeros(int(ENDING) + 1, dtype=bool)
        self._endings[self._known & ENDING] = True
        text = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        gram, self._owners = np.divmod(np.unique(place * len(text) + text), len(text))
        self._starts = np.searchsorted(gram, np.arange(len(self._known) + 1))
        # How many different grams each text has.
        self.counts = np.bincount(self._owners, minlength=len(offsets) - 1)

    def places(self, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where known grams are in the flat array of the grams of `words`, its offsets, and the
        number of the gram at each of these places."""
        hashes, offsets = gram_hashes(words, self._n)
        places = np.flatnonzero(self._endings[hashes & ENDING])
        nearest = np.minimum(np.searchsorted(self._known, hashes[places]), len(self._known) - 1)
        known = self._known[nearest] == hashes[places]
        return places[known], offsets, nearest[known]

    def first_text(self, gram: int) -> int:
        """The first of the known texts that has it."""
        return self._owners[self._starts[gram]]

    def shared(self, words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every pair of a text of `words` and a known one that share a gram, and how many different
        ones they share: three arrays of one length."""
        places, offsets, grams = self.places(words)
        text = np.searchsorted(offsets, places, side="right") - 1
        text, gram = np.divmod(np.unique(text * len(self._known) + grams), len(self._known))
        owners = self._starts[gram + 1] - self._starts[gram]
        known = self._owners[ranges(self._starts[gram], owners)]
        pairs, count = np.unique(np.repeat(text, owners) * len(self.counts) + known, return_counts=True)
        return *np.divmod(pairs, len(self.counts)), count


def _passage(words: list[str], sought: list[str]) -> str | None:
    """The first passage of `words` that has all of the `sought` in order, with few others between;
    None where there is none."""
    most = len(sought) + len(sought) // WORDS_PER_INSERTION
    for begin, word in enumerate(words):
        if word == sought[0]:
            passage = words[begin : begin + most]
            rest = iter(passage)
            if all(word in rest for word in sought):
                return " ".join(passage[: len(passage) - len(list(rest))])
    return None


def _hits(rows: np.ndarray, owners: pl.DataFrame, how: str, evidence: list[str]) -> pl.DataFrame:
    columns = {"row": rows, "benchmark": owners["benchmark"], "task": owners["prompt_id"], "how": how, "evidence": evidence}
    return pl.DataFrame(columns, schema=_HITS)


def user_messages(rows: pl.DataFrame) -> pl.DataFrame:
    """The users' messages in the prompts of `rows`, a row each: the other columns, and content."""
    return rows.explode("prompt", empty_as_null=False).unnest("prompt").filter(role="user").drop("role")


def check_decontaminated(rows: pl.DataFrame, key: str, benchmarks: dict[str, pl.DataFrame]) -> None:
    """Raise StageError where a user's message in a training prompt is, word for word, a message of
    one of the Tasks tables. `rows` have a `prompt`, and an id in the column `key`."""
    messages = user_messages(rows.select(key, "prompt"))
    matches = BenchmarkTexts(benchmarks.items(), ngram=None, coverage=None).found_in(messages["content"])
    if not matches.is_empty():
        first = matches.row(0, named=True)
        count = messages[key].gather(matches["row"]).n_unique()
        raise StageError(
            f"{count} training prompts contain a prompt of a benchmark: {messages[key][first['row']]} has task "
            f"{first['task']} of {first['benchmark']}. Scores on it would mean nothing. Rerun the pools, which leave such "
            "prompts out."
        )
