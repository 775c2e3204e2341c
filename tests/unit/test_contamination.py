"""A benchmark that came after the training: which training rows hold its prompts."""

import polars as pl

import contamination
from drift import tables
from drift.data.contamination import BenchmarkTexts

STORY = "Tell the story of a cold river that forgot its way to the sea and asked every bridge"


def rows(*said: tuple[str, str, list[str]]) -> pl.DataFrame:
    """Rows of a pool: conversation, split, the user's messages."""
    return pl.DataFrame(
        [
            {
                "prompt_id": f"{conversation}/{len(texts) - 1}",
                "conversation_id": conversation,
                "split": split,
                "prompt": [
                    {"role": role, "content": text} for user in texts for role, text in (("user", user), ("assistant", "Yes."))
                ],
            }
            for conversation, split, texts in said
        ]
    )


def found(pool: pl.DataFrame, name: str = "sat") -> list[tuple]:
    tasks = pl.DataFrame(
        [{"prompt_id": "story", "prompt": [{"role": "user", "content": STORY}]}],
        schema_overrides={"prompt": tables.Tasks.create_empty().schema["prompt"]},
    )
    known = BenchmarkTexts([("late", tasks)], ngram=8, coverage=0.5)
    return contamination.contamination(pool, name, known).select("pool", "prompt_id", "task", "how").rows()


def test_a_prompt_in_any_message_of_the_user_is_found_and_an_answer_is_none():
    pool = rows(
        ("chats:c1", "train", ["Hello", STORY]), ("chats:c2", "train", ["Please: " + STORY[:60]]), ("chats:c3", "train", ["Hi"])
    )
    assert found(pool) == [("sat", "chats:c1/1", "story", "exact"), ("sat", "chats:c2/0", "story", "ngram")]
    answered = pool.head(1).with_columns(prompt=pl.lit([[{"role": "assistant", "content": STORY}]]).list.first())
    assert found(answered) == []


def test_the_message_that_a_correction_answers_is_searched():
    pool = rows(("chats:c1", "train", ["Hello"])).with_columns(feedback=pl.lit("No, I said: " + STORY))
    assert found(pool, "corrections") == [("corrections", "chats:c1/0", "story", "ngram")]
    assert found(pool) == []
    assert found(pool.with_columns(feedback=pl.lit(None, pl.String)), "corrections") == []


def test_test_rows_are_trained_on_by_nobody():
    assert found(rows(("chats:c1", "test", [STORY]))) == []
