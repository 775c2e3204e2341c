"""From messages to exchanges: question, reply, and what the user said next."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.sources import exchanges
from tests.builders.sources import exchanged, texts


def chat(*said: tuple[str, str]) -> dict:
    return {"id": "c", "messages": [{"role": role, "content": content} for role, content in said]}


def test_feedback_is_the_next_message_and_the_system_prompt_is_on_the_first_turn():
    rows = exchanged(chat(("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")))
    assert texts(rows) == [("a", "b", "c"), ("c", None, None)]
    assert [row["system"] for row in rows] == ["s", None]
    assert [row["turn"] for row in rows] == [0, 1]


def test_the_next_message_says_nothing_of_a_reply_that_its_writer_had_not_seen():
    shown = chat(("user", "a"), ("assistant", "b"), ("user", "a"), ("assistant", "c"))
    shown["messages"][1]["unseen"] = True
    rows = exchanged(shown)
    assert texts(rows) == [("a", "b", None), ("a", "c", None)]
    assert [row["unseen"] for row in rows] == [True, False]


def test_neighbours_of_one_role_are_merged_and_flagged():
    rows = exchanged(chat(("user", "a"), ("human", "b"), ("gpt", "c"), ("bing", "d")))
    assert texts(rows) == [("a\n\nb", "c\n\nd", None)]
    assert rows[0]["flags"] == ["merged_response", "merged_user"]


def test_empty_messages_are_left_out_and_flagged():
    rows = exchanged(chat(("user", "a"), ("assistant", " \n"), ("user", "b"), ("assistant", "c"), ("user", "")))
    assert texts(rows) == [("a\n\nb", "c", None)]
    assert rows[0]["flags"] == ["empty_message", "merged_user"]


def test_lone_surrogates_become_replacement_characters_that_can_be_written(tmp_path):
    (rows,) = exchanged(chat(("user", json.loads(r'"a \ud83d b \ud83d\ude00"')), ("assistant", "x\u2028y")))
    assert rows["user"] == "a \ufffd b \U0001f600"
    assert rows["response"] == "x\u2028y"
    assert rows["flags"] == ["lone_surrogate"]
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([("user", "a"), ("tool", "b"), ("assistant", "c")], exchanges.UNKNOWN_ROLE),
        ([("user", "a"), ("system", "b"), ("assistant", "c")], exchanges.LATE_SYSTEM),
        ([("system", "s"), ("assistant", "a"), ("user", "b"), ("assistant", "c")], exchanges.STARTS_WITH_ASSISTANT),
        ([("user", "a")], exchanges.NO_EXCHANGE),
        ([("user", " "), ("user", "a"), ("assistant", "")], exchanges.NO_EXCHANGE),
        ([("system", "s")], exchanges.NO_EXCHANGE),
        ([], exchanges.NO_EXCHANGE),
    ],
)
def test_conversations_without_exchanges_say_why(said, reason):
    assert exchanged(chat(*said)) == reason


said = st.tuples(st.sampled_from(["system", "user", "assistant"]), st.sampled_from(["", " ", "a", "b\u2028"]))


@given(st.lists(said, max_size=8))
def test_every_word_is_kept_once_and_turns_alternate(messages):
    rows = exchanged(chat(*messages))
    if isinstance(rows, str):
        return
    spoken = "\n\n".join(text for row in rows for text in (row["system"], row["user"], row["response"]) if text)
    assert spoken == "\n\n".join(content for _, content in messages if content.strip())
    assert all(row["response"] for row in rows[:-1])
    assert [row["feedback"] for row in rows] == [*(row["user"] for row in rows[1:]), None]
