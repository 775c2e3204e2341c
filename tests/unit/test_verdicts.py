"""A verdict is the policy's, whichever answer was shown first, and the judge's own words, or
none."""

import json
import math

import pytest

from drift.verdicts import choice, json_object
from tests.builders.judging import CHOICE, LETTER, SCORE, by_order, changed, judged, letters


def test_a_judge_that_prefers_the_policy_does_so_in_both_orders():
    rows = judged(LETTER, lambda request: letters(0.8, 0.0) if request["kind"] == "pairwise-AB" else letters(0.0, 0.8))
    assert [row["preference"] for row in rows] == [1.0] * 6
    assert [row["mass"] for row in rows] == pytest.approx([0.8] * 6)
    assert {(row["opponent"], row["policy_chars"], row["opponent_chars"]) for row in rows} == {("baseline", 9, 17)}


def test_a_judge_that_always_says_a_has_no_preference_over_both_orders():
    assert by_order(judged(LETTER, lambda _: letters(0.9, 0.0)), "preference") == {"AB": [1.0] * 3, "BA": [0.0] * 3}


def test_a_preference_is_the_share_of_the_mass_on_both_letters():
    found = by_order(judged(LETTER, lambda _: letters(0.3, 0.1), "One."), "preference")
    assert found["AB"] == pytest.approx([0.75])
    assert found["BA"] == pytest.approx([0.25])


def test_m_and_capital_m_are_two_letters():
    protocol = changed(LETTER, letters=("m", "M"))
    found = by_order(judged(protocol, lambda _: letters(0.6, 0.2, "mM"), "One."), "preference")
    assert found["AB"] == pytest.approx([0.75])
    assert found["BA"] == pytest.approx([0.25])


def test_a_letter_that_was_not_reported_counts_nothing():
    (row, _) = judged(LETTER, lambda _: {"choice_logprobs": [{"choice": "A", "logprob": -1.0}]}, "One.")
    assert (row["preference"], row["mass"]) == (1.0, pytest.approx(math.exp(-1)))


def test_a_judge_that_says_neither_letter_gives_no_verdict():
    rows = judged(LETTER, lambda _: letters(0.0, 0.0))
    assert {row["error"] for row in rows} == {"the judge gives both letters together less than 5% of its first token"}
    assert {row["preference"] for row in rows} == {None}


def test_below_a_least_mass_there_is_no_verdict_and_the_first_token_is_named():
    rows = judged(LETTER, lambda _: letters(1e-13, 7e-13) | {"text": "<think>"})
    assert {row["error"] for row in rows} == {
        "the judge gives both letters together less than 5% of its first token; its reply begins with '<think>'"
    }
    assert {(row["preference"], row["mass"]) for row in rows} == {(None, None)}


def test_of_a_judge_without_probabilities_the_written_letter_counts():
    rows = judged(LETTER, lambda request: {"text": " A" if request["kind"] == "pairwise-AB" else "B"})
    assert {(row["preference"], row["mass"]) for row in rows} == {(1.0, None)}
    rows = judged(LETTER, lambda request: {"text": "A" if request["prompt_id"] == "s:0/0" else "Well"}, "One.", "Two.")
    assert by_order(rows[:2], "preference") == {"AB": [1.0], "BA": [0.0]}
    assert {row["error"] for row in rows[2:]} == {"the reply has no probabilities and is not a letter"}


def test_a_written_letter_among_probabilities_is_no_verdict():
    """0 and 1 from letters are another measure than probabilities, so the two are not mixed."""
    rows = judged(LETTER, lambda request: letters(0.3, 0.1) if request["kind"] == "pairwise-AB" else {"text": "A"}, "One.")
    assert [(row["order"], row["preference"], row["error"]) for row in rows] == [
        ("AB", pytest.approx(0.75), None),
        ("BA", None, "the reply has no probabilities"),
    ]


@pytest.mark.parametrize(("level", "of_a"), list(zip(choice.LEVELS, (2, 1, 0, -1, -2), strict=True)))
def test_a_choice_in_five_levels_is_turned_to_the_policys_side(level, of_a):
    rows = judged(CHOICE, lambda _: {"text": json.dumps({"of_a": "fine", "choice": level})}, "One.")
    assert by_order(rows, "outcome") == {"AB": [of_a], "BA": [-of_a]}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"strengths": "", "weaknesses": "", "score": 7}', 7.0),
        ('{"score": "10"}', 10.0),
        ('Sure!\n```json\n{"score": 6.5}\n```', 6.5),
        ('{"strengths": "says "hi" to all", "score": "4"}', 4.0),
        (r'{"strengths": "it says \"score\": \"10\" itself", "weaknesses": "cut he', None),
        ('{"strengths": "x", "score": 0}', None),
        ('{"score": 11}', None),
        ('{"score": "high"}', None),
        ('{"score": true}', None),
        ('{"score": null}', None),
        ('{"score": NaN}', None),
        ("9", None),
        ("", None),
    ],
)
def test_a_score_is_read_from_the_judges_own_words_or_is_an_error(text, score):
    (row,) = judged(SCORE, lambda _: {"text": text}, "One.")
    assert row["score"] == score
    assert (row["error"] is None) == (score is not None)


def test_a_reply_that_the_token_limit_cut_says_so():
    (row,) = judged(SCORE, lambda _: {"text": '{"strengths": "a', "finish_reason": "length"}, "One.")
    assert row["error"] == "no score in the reply, which the token limit cut"


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        (SCORE, '{"strengths": "good", "weaknesses": "none", "score": 1'),
        (SCORE, '{"strengths": "its \\"score\\": 3", "weaknesses": "none", "score": "1'),
        (CHOICE, '{"of_a": "good", "of_b": "bad", "comparison": "A", "choice": "A+'),
    ],
)
def test_a_value_that_the_token_limit_may_have_cut_is_no_verdict(protocol, text):
    """The judge may have been about to write 10, or A++."""
    rows = judged(protocol, lambda _: {"text": text, "finish_reason": "length"}, "One.")
    assert {row["score"] for row in rows} == {row["outcome"] for row in rows} == {None}
    assert all(row["error"].endswith("in the reply, which the token limit cut") for row in rows)


def test_a_value_before_what_the_token_limit_cut_is_a_verdict():
    (row,) = judged(SCORE, lambda _: {"text": '{"strengths": "good", "score": 10, "wea', "finish_reason": "length"}, "One.")
    assert row["score"] == 10
    (row,) = judged(SCORE, lambda _: {"text": '{"strengths": "good", "score": 10'}, "One.")
    assert row["score"] == 10, "the judge forgot to close the object"


@pytest.mark.parametrize(("protocol", "draw"), [(LETTER, {"preference": 0.5}), (CHOICE, {"outcome": 0})])
def test_the_same_text_twice_is_a_draw_in_the_table(protocol, draw):
    rows = judged(protocol, lambda _: pytest.fail("nobody is asked"), "The logged reply.")
    assert len(rows) == 2
    assert all(row[name] == value for row in rows for name, value in draw.items())


def test_the_last_value_counts_where_a_reply_is_no_json():
    assert json_object.field('first I thought "choice": "A++", but "choice": "B+"', "choice") == "B+"
    assert json_object.field("{" * 100_000, "choice") is None
