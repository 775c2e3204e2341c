"""Personal data is masked where a source asks for it, and other numbers and texts stay."""

import polars as pl
import pytest

from drift.sources import conversations, exchanges, masking


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@mail.example.co.uk, please", "write to [EMAIL], please"),
        ("<x_y@example.com>", "<[EMAIL]>"),
        ("call +49 30 901820 or (415) 555-2671", "call [PHONE] or [PHONE]"),
        ("Tel.: +91 98765 43210.", "Tel.: [PHONE]."),
        ("sk-proj-abcdefghijklmnopqrstuvwxyz0123", "[KEY]"),
        ("export T=ghp_abcdefghijklmnopqrstuvwxyz0123456789", "export T=[KEY]"),
        ("AKIAIOSFODNN7EXAMPLE", "[KEY]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nok", "[KEY]\nok"),
        ("version 1.2.3.4 of 2023-11-14 22:13 costs 1,234,567.00", "version 1.2.3.4 of 2023-11-14 22:13 costs 1,234,567.00"),
        ("pi is 3.14159265358979, 2**40 is 1099511627776", "pi is 3.14159265358979, 2**40 is 1099511627776"),
        ("@mention, sk-learn, a@b", "@mention, sk-learn, a@b"),
    ],
)
def test_what_is_masked(text, masked):
    messages = pl.DataFrame({"content": [text], "comment": [None], "flags": [[]]}, schema_overrides={"comment": pl.String})
    messages = messages.with_columns(pl.col("flags").cast(pl.List(pl.String)))
    done = masking.masked(messages).to_dicts()[0]
    assert done == {"content": masked, "comment": None, "flags": ["masked"] if masked != text else []}


def test_messages_comments_and_system_prompts_are_masked_and_flagged():
    said = [
        {"role": "system", "content": "You answer for help@example.com"},
        {"role": "user", "content": "I am jo@example.com"},
        {"role": "assistant", "content": "Hello", "comment": "write to me at jo@example.com"},
        {"role": "user", "content": "ok"},
    ]
    (frame,) = conversations.frames([{"id": "1", "messages": said}])
    rows, _ = exchanges.exchanges(frame, mask=True)
    assert "example.com" not in repr(rows.to_dicts())
    assert rows["system"].to_list() == ["You answer for [EMAIL]", None]
    assert rows["feedback"].to_list() == ["write to me at [EMAIL]", None]
    assert rows["flags"].to_list() == [["masked"], []]
    assert "example.com" in repr(exchanges.exchanges(frame)[0].to_dicts())
