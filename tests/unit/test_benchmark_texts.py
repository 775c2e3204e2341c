"""Prompts of benchmarks are found in other texts, whatever stands around them."""

import polars as pl

from drift import tables
from drift.data.contamination import BenchmarkTexts

STORY = "Tell me a story about a cat who likes to swim in the cold sea at night and then comes home to sleep by the fire"


def benchmark(*messages: str, ngram: int | None = 13, alike: float | None = 0.8) -> BenchmarkTexts:
    tasks = pl.DataFrame(
        [{"prompt_id": f"t{n}", "prompt": [{"role": "user", "content": text}]} for n, text in enumerate(messages)],
        schema=tables.Tasks.create_empty().schema,
    )
    return BenchmarkTexts([("bench", tasks)], ngram, alike)


def found(known: BenchmarkTexts, *texts: str) -> dict[int, str]:
    return dict(known.found_in(pl.Series(texts, dtype=pl.String)).select("row", "how").rows())


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
    known = BenchmarkTexts([("bench", tasks)], 13, 0.8)
    assert found(known, "go on", "ok") == {}


def test_no_benchmark_finds_nothing():
    assert BenchmarkTexts([], 13, 0.8).found_in(pl.Series(["a"])).is_empty()
