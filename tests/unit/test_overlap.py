"""Texts that say the same are found, and those that do not are left alone."""

import hashlib

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from drift import tables
from drift.data import similarity

STORY = "Tell me a story about a cat who likes to swim in the cold sea at night and then comes home to sleep by the fire"


def benchmark(*messages: str, ngram: int | None = 13, alike: float | None = 0.8) -> similarity.BenchmarkTexts:
    tasks = pl.DataFrame(
        [{"prompt_id": f"t{n}", "prompt": [{"role": "user", "content": text}]} for n, text in enumerate(messages)],
        schema=tables.Tasks.create_empty().schema,
    )
    return similarity.BenchmarkTexts([("bench", tasks)], ngram, alike)


def found(known: similarity.BenchmarkTexts, *texts: str) -> dict[int, str]:
    return dict(known.found_in(pl.Series(texts, dtype=pl.String)).select("row", "how").rows())


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
    """Where this fails after an upgrade, the choice of near-duplicates near the threshold changes as well: say so in the release."""
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


def test_a_benchmark_prompt_is_found_in_every_disguise():
    known = benchmark(STORY)
    assert found(known, STORY.upper() + "!!") == {0: "exact"}
    assert found(known, "Please: " + " ".join(STORY.split()[2:17]) + ". In French.") == {0: "ngram"}
    assert found(known, STORY.replace("cold", "warm")) == {0: "ngram"}
    saga = STORY + " " + " ".join(f"chapter {n} of the river" for n in range(30))
    assert found(benchmark(saga, ngram=None), saga.replace("cold", "warm")) == {0: "minhash"}
    assert found(known, " ".join(STORY.split()[:12]), "Tell me a story", "") == {}
    assert found(benchmark(STORY, ngram=8), " ".join(STORY.split()[:8])) == {0: "ngram"}


def test_a_short_prompt_is_found_only_as_a_whole():
    assert found(benchmark("Who was Ada Lovelace?"), "who was ada lovelace", "Who was Ada Lovelace's father?") == {0: "exact"}


def test_texts_without_words_and_without_spaces_between_words():
    assert found(benchmark("???"), "???", "!!!", "") == {0: "exact"}
    chinese = "请给我讲一个关于一只喜欢在夜里游泳的猫的故事"
    assert found(benchmark(chinese), "你好。" + chinese) == {0: "ngram"}


def test_a_short_later_message_of_a_task_is_nobodys_prompt():
    task = {
        "prompt_id": "t",
        "prompt": [{"role": role, "content": text} for role, text in (("user", STORY), ("assistant", "ok"), ("user", "go on"))],
    }
    tasks = pl.DataFrame([task], schema=tables.Tasks.create_empty().schema)
    known = similarity.BenchmarkTexts([("bench", tasks)], 13, 0.8)
    assert found(known, "go on", "ok") == {}


def test_no_benchmark_finds_nothing():
    assert similarity.BenchmarkTexts([], 13, 0.8).found_in(pl.Series(["a"])).is_empty()


def test_few_texts():
    assert similarity.clusters(similarity.signatures(pl.Series([], dtype=pl.String)), 0.8).tolist() == []
    assert similarity.clusters(similarity.signatures(pl.Series(["a"])), 0.8).tolist() == [0]
