"""Prompts of benchmarks are found in other texts, whatever stands around them."""

import polars as pl
import pytest

from drift import tables
from drift.data.contamination import BenchmarkTexts

STORY = "Tell me a story about a cat who likes to swim in the cold sea at night and then comes home to sleep by the fire"


def benchmark(*messages: str, ngram: int | None = 13, coverage: float | None = 0.5) -> BenchmarkTexts:
    return BenchmarkTexts([("bench", tasks(*([text] for text in messages)))], ngram, coverage)


def tasks(*said: list[str]) -> pl.DataFrame:
    """Tasks t0, t1, ... of these user messages, each but the last with an answer."""
    rows = [
        {
            "prompt_id": f"t{n}",
            "prompt": [
                {"role": role, "content": text} for user in texts for role, text in (("user", user), ("assistant", "ok"))
            ][:-1],
        }
        for n, texts in enumerate(said)
    ]
    return pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)


def found(known: BenchmarkTexts, *texts: str) -> dict[int, str]:
    return dict(known.found_in(pl.Series(texts, dtype=pl.String)).select("row", "how").rows())


def test_a_benchmark_prompt_is_found_in_every_disguise():
    known = benchmark(STORY)
    assert found(known, STORY.upper() + "!!") == {0: "exact"}
    assert found(known, "Please: " + " ".join(STORY.split()[2:17]) + ". In French.") == {0: "ngram"}
    assert found(known, STORY.replace("cold", "warm")) == {0: "ngram"}
    assert found(known, " ".join(STORY.split()[:12]), "Tell me a story", "") == {}
    assert found(benchmark(STORY, ngram=8), " ".join(STORY.split()[:8])) == {0: "ngram"}


def test_words_that_were_put_in_or_changed_hide_no_prompt():
    words = STORY.split()
    longer = [word for n, one in enumerate(words) for word in ([one, "really"] if n % 10 == 9 else [one])]
    changed = ["X" if n % 10 == 9 else word for n, word in enumerate(words)]
    texts = ("Hi! " + " ".join(longer) + " Thanks!", " ".join(changed))
    assert found(benchmark(STORY), *texts) == {0: "coverage", 1: "coverage"}
    assert found(benchmark(STORY, coverage=0.9), *texts) == {}
    evidence = benchmark(STORY).found_in(pl.Series(texts[:1]))["evidence"][0]
    assert evidence == f"0.64 of: {STORY}"


@pytest.mark.parametrize("text", ["{}", "Hi there! {} Thanks in advance!", "I quote: '{}'. What is that?"])
def test_a_short_prompt_is_found_inside_of_a_message(text):
    known = benchmark("What is the capital of Australia?")
    assert found(known, text.format("what is the capital of Australia")) == {0: "exact" if text == "{}" else "coverage"}
    assert found(known, text.format("What is the exact capital of Australia?")) == {0: "coverage"}
    assert found(known, text.format("What is the one and only capital of Australia?")) == {}
    # Most of its words are those of another question.
    assert found(known, text.format("What is the capital of Austria?"), text.format("Australia of capital the is what")) == {}


def test_a_prompt_of_fewer_than_five_words_is_found_only_as_a_whole():
    known = benchmark("Who was Ada Lovelace?", "Hi")
    assert found(known, "who was ada lovelace", "hi!") == {0: "exact", 1: "exact"}
    assert found(known, "Who was Ada Lovelace's father?", "Hi, what is the capital of Australia?") == {}


def test_short_messages_of_a_longer_task_are_nobodys_prompt():
    """Many conversations open with a greeting, and ask for more detail."""
    chat = ["Hi", STORY, "Go on", "Can you explain that in more detail?"]
    known = BenchmarkTexts([("bench", tasks(chat, ["Hello", "And now?"]))], 13, 0.5)
    assert found(known, "Hi", "Go on", "ok", "And now?") == {}
    assert found(known, "Hello.", STORY, "can you explain that in more detail") == {0: "exact", 1: "exact", 2: "exact"}
    assert found(known, "Can you explain that in more detail, and with an example?") == {}


def test_texts_without_words_and_without_spaces_between_words():
    assert found(benchmark("???"), "???", "!!!", "") == {0: "exact"}
    chinese = "请给我讲一个关于一只喜欢在夜里游泳的猫的故事"
    assert found(benchmark(chinese), "你好。" + chinese) == {0: "ngram"}
    assert found(benchmark("什么是黑洞"), "你好。什么是黑洞。谢谢") == {0: "coverage"}


def test_no_benchmark_finds_nothing():
    assert BenchmarkTexts([], 13, 0.5).found_in(pl.Series(["a"])).is_empty()
