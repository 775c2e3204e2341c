"""Decontamination as one would first write it, text by text: see drift.data.contamination."""

from collections import Counter, defaultdict

import datasets
import regex

from drift.data import contamination, similarity

WORD = regex.compile(similarity.WORDS, regex.V1)


def words(text: str) -> list[str]:
    return WORD.findall(text.lower()) or [text]


class Benchmark:
    """What finds a benchmark's prompts again."""

    def __init__(self, tasks: datasets.Dataset, ngram: int, coverage: float):
        self.ngram, self.coverage = ngram, coverage
        self.said, self.grams = set(), set()
        self.shingles: dict[tuple, set[int]] = defaultdict(set)
        self.sizes, self.short = [], []
        for prompt in tasks["prompt"]:
            messages = [words(message["content"]) for message in prompt if message["role"] == "user"]
            longer = [found for found in messages if len(found) >= similarity.SHINGLE]
            for found in longer or messages[:1]:
                self.said.add(" ".join(found))
                self.grams |= set(grams(found, ngram))
                if len(found) >= contamination.SHORT:
                    shingles = set(grams(found, similarity.SHINGLE))
                    for shingle in shingles:
                        self.shingles[shingle].add(len(self.sizes))
                    self.sizes.append(len(shingles))
                elif len(messages) == 1 and longer:
                    self.short.append(found)

    def is_clean(self, row: dict) -> bool:
        said = [message["content"] for message in row["prompt"] if message["role"] == "user"]
        return not any(map(self.holds, said + [row["feedback"]] * (row["pool"] == "corrections")))

    def holds(self, text: str) -> bool:
        found = words(text)
        if " ".join(found) in self.said or not self.grams.isdisjoint(grams(found, self.ngram)):
            return True
        shared = Counter(of for shingle in set(grams(found, similarity.SHINGLE)) for of in self.shingles.get(shingle, ()))
        if any(count >= self.coverage * self.sizes[of] for of, count in shared.items()):
            return True
        return any(in_order(found, sought) for sought in self.short)


def grams(found: list[str], n: int) -> list[tuple]:
    return [tuple(found[at : at + n]) for at in range(len(found) - n + 1)]


def in_order(found: list[str], sought: list[str]) -> bool:
    """All the words, in order, with few others between."""
    most = len(sought) + len(sought) // contamination.WORDS_PER_INSERTION
    for begin, word in enumerate(found):
        if word == sought[0]:
            rest = iter(found[begin : begin + most])
            if all(word in rest for word in sought):
                return True
    return False
