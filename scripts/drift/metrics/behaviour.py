"""How a policy writes, whatever it says: lengths, endings, sameness, variety, repetition, script,
and whether a reply has more to do with its own prompt than with others.

Margins and losses say nothing of these, and a judge may like what is lost: a policy whose replies
shrink to a word can have any of them in perfect order. MEASURES names them, and the functions below
define each; definitions are the usual ones.

Words are runs of letters, digits and underscores, in lower case; a Chinese or Japanese character is
a word of its own.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from math import exp, lgamma

import polars as pl

# Every measure in words, in the order of their tables.
MEASURES = {
    "tokens_p25": "a quarter of the replies are at most this long, tokens",
    "tokens_median": "half of the replies are at most this long, tokens",
    "tokens_p75": "three quarters of the replies are at most this long, tokens",
    "empty": "share of empty replies",
    "identical": "share of replies that another prompt got too",
    "ended": "share of replies that end before the token limit",
    "distinct_2": "different word pairs over word pairs (distinct-2)",
    "repeated_4": "share of 4-grams that a reply repeats",
    "script": "share of replies in the base model's script",
    "on_prompt": "share of replies with more in common with their own prompt than with 95% of the others",
}
QUARTILES = ("tokens_p25", "tokens_median", "tokens_p75")
_HAN = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+")
# Japanese is written in three scripts at once, of which any may be the commonest in a reply.
_WRITTEN_TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
_GRAM = 4
# The share of the other prompts that may be more like a reply than its own prompt.
_OTHERS = 0.05


def measures(replies: pl.DataFrame, base: pl.DataFrame, pairs: int, prompts: Mapping[str, str]) -> dict[str, float | None]:
    """Every measure of `replies`, a Responses table; None where one is not defined.

    base: the same of the base model; pairs: the number of word pairs that distinct_2 is of;
    prompts: the texts of all prompts, by prompt_id.
    """
    if replies.is_empty():
        return dict.fromkeys(MEASURES)
    texts = replies["response"].to_list()
    lengths = [replies["completion_tokens"].quantile(q, "linear") for q in (0.25, 0.5, 0.75)]
    return dict(zip(QUARTILES, lengths, strict=True)) | {
        "empty": sum(not text.strip() for text in texts) / len(texts),
        "identical": identical(replies),
        "ended": (replies["finish_reason"] == "stop").mean(),
        "distinct_2": distinct(word_pairs(texts), pairs),
        "repeated_4": sum(map(repeated, texts)) / len(texts),
        "script": same_script(replies, base),
        "on_prompt": on_prompt(replies, prompts),
    }


def words(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.lower())


def word_pairs(texts: list[str]) -> Counter[tuple[str, str]]:
    """How often each pair of neighbouring words is in a reply."""
    return Counter(pair for text in texts for pair in pairwise(words(text)))


def distinct(pairs: Counter, drawn: int) -> float | None:
    """The share of different ones among `drawn` of the pairs (distinct-2, Li et al. 2016,
    arXiv:1510.03055), expected over all draws without replacement (rarefaction, Hurlbert 1971);
    None where nothing is drawn.

    A text that is shorter repeats less by itself, so policies are compared over as many pairs as
    the one with the fewest has. A pair with c of all N places is in no draw of n with probability
    C(N - c, n) / C(N, n).
    """
    total = pairs.total()
    if not drawn:
        return None
    seen = 0.0
    for count, types in Counter(pairs.values()).items():
        out = exp(_log_binomial(total - count, drawn) - _log_binomial(total, drawn)) if count <= total - drawn else 0.0
        seen += types * (1 - out)
    return seen / drawn


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def identical(replies: pl.DataFrame) -> float:
    """Share of `replies` whose text, white space at its ends apart, another prompt got too; empty
    ones are counted as empty."""
    texts = replies.select("prompt_id", text=pl.col("response").str.strip_chars())
    shared = (pl.col("prompt_id").n_unique().over("text") > 1) & (pl.col("text") != "")
    return texts.select(shared.mean()).item()


def repeated(text: str) -> float:
    """Share of a text's word 4-grams that it has had already (Welleck et al. 2020,
    arXiv:1908.04319, seq-rep-4); 0 where it has none."""
    said = words(text)
    grams = [tuple(said[i : i + _GRAM]) for i in range(len(said) - _GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def same_script(replies: pl.DataFrame, base: pl.DataFrame) -> float | None:
    """Share of `replies` in the script of the `base` model's reply to the same prompt and of the
    same sample; of the prompts whose reply of the base model has letters. None: there is none."""
    both = replies.join(base, on=["prompt_id", "sample"], suffix="_base")
    scripts = [(script(own), script(other)) for own, other in both.select("response", "response_base").iter_rows()]
    known = [own == other for own, other in scripts if other]
    return sum(known) / len(known) if known else None


def script(text: str) -> str | None:
    """The script of most letters of a text, as Unicode names them: LATIN, CYRILLIC, CJK; None where
    it has no letters."""
    scripts = Counter(_script_of(character) for character in text if character.isalpha())
    return min(scripts, key=lambda name: (-scripts[name], name)) if scripts else None


@cache
def _script_of(letter: str) -> str:
    """The first word of a letter's Unicode name, which is its script's."""
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return _WRITTEN_TOGETHER.get(name, name)


def on_prompt(replies: pl.DataFrame, prompts: Mapping[str, str]) -> float | None:
    """Share of `replies` that have something in common with their own prompt, and as much with at
    most one in twenty of the other `prompts`, texts by prompt_id; None where no prompt has a word.

    Likeness is the cosine of tf-idf vectors (Spärck Jones 1972) of `fragments`: what all prompts
    say weighs little. Of replies to other questions than their own, 5% are on it, by chance.
    """
    # Two seconds to import, which no other measure needs.
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = sorted(set(prompts.values()))
    if not any(map(words, texts)):
        return None
    vectors = TfidfVectorizer(analyzer=fragments, binary=True)
    known = vectors.fit_transform(texts)
    likeness = (vectors.transform(replies["response"]) @ known.T).toarray()  # replies x texts
    place = {text: number for number, text in enumerate(texts)}
    own = likeness[range(len(likeness)), [place[prompts[prompt_id]] for prompt_id in replies["prompt_id"]]]
    as_near = (likeness >= own[:, None]).sum(axis=1) - 1
    return float(((own > 0) & (as_near <= _OTHERS * (len(texts) - 1))).mean())


def fragments(text: str) -> set[str]:
    """The words of a text in pieces of four characters, with a blank at either end of a word: most
    of them are in its inflected forms too."""
    padded = (f" {word} " for word in words(text))
    return {word[place : place + _GRAM] for word in padded for place in range(max(1, len(word) - _GRAM + 1))}
