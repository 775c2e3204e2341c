"""Thoughts of reasoning models are no part of their replies."""

import pytest

from drift.engines.thoughts import parted


@pytest.mark.parametrize(
    ("written", "finish", "thought", "reply", "then"),
    [
        ("Salt is old.", "stop", None, "Salt is old.", "stop"),
        ("\n<think>\nThe user is unhappy.\n</think>\n\nSalt is old.", "stop", "The user is unhappy.", "Salt is old.", "stop"),
        ("<think></think>Salt", "length", "", "Salt", "length"),
        ("<think>Wait, </think> is a tag.</think>", "stop", "Wait,", "is a tag.</think>", "stop"),
        ("<think>The user is", "length", "The user is", "", "length"),
        ("<think>The user is", "stop", "The user is", "", "length"),
        ("Write <think> first and </think> last.", "stop", None, "Write <think> first and </think> last.", "stop"),
        ("", "error", None, "", "error"),
    ],
    ids=["none", "one", "empty", "a tag in it", "cut within", "ended within", "only mentioned", "no reply"],
)
def test_a_thought_is_parted_from_the_reply_that_it_precedes(written, finish, thought, reply, then):
    row = parted({"request_id": "a", "text": written, "finish_reason": finish})
    assert row == {"request_id": "a", "thought": thought, "text": reply, "finish_reason": then}
