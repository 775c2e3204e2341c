"""Texts that say the same are found, and those that do not are left alone."""

import hashlib

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.data import similarity

STORY = "Tell me a story about a cat who likes to swim in the cold sea at night and then comes home to sleep by the fire"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=12), max_size=6), st.integers(1, 6))
def test_grams_are_those_of_each_text_alone(texts, n):
    joined = pl.Series([" ".join(text) for text in texts], dtype=pl.String)
    hashes, offsets = similarity.gram_hashes(similarity.Words(joined), n)
    assert len(offsets) == len(texts) + 1
    names = {}
    for number, text in enumerate(texts):
        said = text or [""]
        grams = [tuple(said[at : at + n]) for at in range(max(len(said) - n + 1, 1))]
        mine = hashes[offsets[number] : offsets[number + 1]]
        assert len(mine) == len(grams)
        for gram, value in zip(grams, mine, strict=True):
            assert names.setdefault(gram, value) == value
    assert len(set(names.values())) == len(names)


def test_hashes_and_signatures_are_the_same_with_every_version_of_the_libraries():
    """Where this fails after an upgrade, the choice of near-duplicates near the threshold changes
    as well: say so in the release."""
    (first, last), _ = similarity.gram_hashes(similarity.Words(pl.Series(["one two Three"])), 2)
    one, two, three = (int.from_bytes(hashlib.md5(w).digest()[:8], "little") for w in (b"one", b"two", b"three"))
    assert (first, last) == tuple((a * 0x9E3779B97F4A7C15 + b) % 2**64 for a, b in ((one, two), (two, three)))
    assert similarity.signatures(pl.Series([STORY]))[0, :3].tolist() == [48551391, 3223053046, 3282664754]


def test_near_duplicates_cluster_whatever_stands_between_them():
    words = [f"w{n}" for n in range(300)]
    copy = [*words[:150], "changed", *words[151:]]
    texts = [
        " ".join(words),
        "something else entirely, of some length, for a change",
        " ".join(copy),
        "SOMETHING else entirely: of some length for a change!",
    ]
    assert similarity.clusters(similarity.signatures(pl.Series(texts)), 0.8).tolist() == [0, 1, 0, 1]
    assert similarity.clusters(similarity.signatures(pl.Series([texts[0], " ".join(words[::-1])])), 0.8).tolist() == [0, 1]


def test_clusters_do_not_depend_on_how_texts_are_batched(monkeypatch):
    random = np.random.default_rng(0)
    texts = pl.Series([" ".join(random.choice([f"w{n}" for n in range(40)], 30)) for _ in range(200)])
    whole = similarity.signatures(texts)
    monkeypatch.setattr(similarity, "BATCH", 7)
    assert (similarity.signatures(texts) == whole).all()


def test_few_texts():
    assert similarity.clusters(similarity.signatures(pl.Series([], dtype=pl.String)), 0.8).tolist() == []
    assert similarity.clusters(similarity.signatures(pl.Series(["a"])), 0.8).tolist() == [0]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(12)))
def test_a_chain_of_near_duplicates_is_one_cluster_named_by_its_first_text(order):
    chain = [" ".join(f"w{n}" for n in range(3 * link, 3 * link + 80)) for link in range(12)]
    signed = similarity.signatures(pl.Series([chain[link] for link in order] + ["something else"]))
    ends = np.array([order.index(0)]), np.array([order.index(11)])
    assert similarity.similarity(signed, ends[0], ends[1]) < 0.8
    assert similarity.clusters(signed, 0.8).tolist() == [0] * 12 + [12]
