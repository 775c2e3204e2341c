"""The rules: single follow-ups, and how often they are right on labelled ones."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.labelers import lexical, lexical_rules

PROSE = "The capital of Australia is Sydney."
CODE = "Try this:\n```python\nprint(x)\n```"
QUESTION = "Shall I add more examples?"


def judge(feedback: str, response: str = PROSE, user: str = "A question that nobody repeats") -> dict:
    frame = pl.DataFrame({"user": [user], "response": [response], "feedback": [feedback]})
    return lexical.labels(frame).row(0, named=True)


@pytest.mark.parametrize(
    ("feedback", "response"),
    [
        ("No, it is Canberra.", PROSE),
        ("That's wrong", PROSE),
        ("that isn\u2019t correct", PROSE),
        ("You forgot the second half of my question", PROSE),
        ("That's not what I asked for.", PROSE),
        ("I said five items, not three", PROSE),
        ("are you sure?", PROSE),
        ("It doesn't work", CODE),
        ("still getting the same error", CODE),
        ("Traceback (most recent call last):\n File x", CODE),
        ("NameError: name 'x' is not defined", CODE),
        ("You made a mistake in line 3", CODE),
        ("I don't like it", PROSE),
        ("but Sydney is not the capital", PROSE),
        ("Thanks, but that is incorrect", PROSE),
    ],
)
def test_complaints_are_dsat(feedback, response):
    verdict = judge(feedback, response)
    assert verdict["label"] == "DSAT", verdict["evidence"]
    assert any(rule.startswith("strict/") for rule in verdict["evidence"])


@pytest.mark.parametrize(
    "feedback", ["Thank you!", "Perfect, now do the same for France", "great job", "that worked", "Exactly."]
)
def test_thanks_and_praise_are_sat(feedback):
    assert judge(feedback)["label"] == "SAT"


@pytest.mark.parametrize(
    "feedback",
    [
        "continue",
        "What is the capital of France?",
        "That is correct.\nNow list the rivers",
        "How do I return an error if the input is not valid?",
        "No, thank you",
        "Good, but it is for software",
        "Could you include one about an island",
    ],
)
def test_the_rest_is_not_dsat(feedback):
    assert judge(feedback)["label"] != "DSAT"


def test_a_wish_for_a_change_is_kept_as_evidence_but_is_no_dsat():
    verdict = judge("Make it shorter and more formal")
    assert verdict["label"] == "NEUTRAL"
    assert verdict["evidence"] == ["revision/make_it"]


def test_no_answers_a_question():
    assert judge("No")["label"] == "DSAT"
    assert judge("No", QUESTION)["label"] == "NEUTRAL"


def test_error_messages_count_only_after_code():
    error = "TypeError: x is not a function"
    assert judge(error, CODE)["evidence"] == ["strict/error_trace"]
    assert judge(error, PROSE)["evidence"] == []


def test_a_long_message_is_judged_by_its_start():
    filler = "The story goes on for some time. " * 10
    assert judge(f"That is wrong. {filler}")["label"] == "DSAT"
    assert judge(f"{filler} That is wrong.")["label"] == "NEUTRAL"
    assert judge(f"I don't like it. {filler}")["label"] == "NEUTRAL"


def test_only_an_exact_repeat_of_some_length_is_a_repeat():
    prompt = "Which city is the capital of Australia?"
    assert judge(f" {prompt.upper()}\n", user=prompt)["evidence"] == ["strict/repeat"]
    assert judge("Which city is the capital of Austria?", user=prompt)["evidence"] == []
    assert judge("Next one", user="Next one")["evidence"] == []
    assert judge("Please continue the list above", user="Please continue the list above")["evidence"] == []


def test_a_long_prompt_that_comes_again_word_for_word_is_a_repeat():
    prompt = "Summarise the following text. " + "It tells of the next river and of another one. " * 40
    assert judge(prompt, user=prompt)["evidence"] == ["strict/repeat"]


@pytest.mark.parametrize(
    "feedback",
    [
        "None of these links work",
        "No go back to the second version",
        "Zora is not a sibling of Kael.",
        "I already told you the name",
        "im getting an error here",
        "You're missing the imports",
        "the current\\_tab doesnt exist",  # as pages that were copied escape underscores
    ],
)
def test_complaints_in_other_words(feedback):
    assert judge(feedback)["label"] == "DSAT"


@pytest.mark.parametrize(
    ("rule", "feedback", "response"),
    [
        ("unfinished", "The table is incomplete", PROSE),
        ("unfinished", "You stopped abruptly, could you please continue?", PROSE),
        ("unfinished", "why do you never finish?", CODE),
        ("thought", "I thought we were using the metric system", PROSE),
        ("still_so", "there is still a gap between the two", CODE),
        ("still_so", "still persists", PROSE),
        ("error_message", "Msg 207, Level 16, State 1, Line 3\nInvalid column name 'is_primary_key'.", CODE),
        ("error_message", "su: Authentication failure", CODE),
    ],
)
def test_rules_from_the_development_half(rule, feedback, response):
    verdict = judge(feedback, response)
    assert (verdict["label"], verdict["evidence"]) == ("DSAT", [f"strict/{rule}"])


@pytest.mark.parametrize(
    ("feedback", "response"),
    [
        ("Continue from where you stopped", PROSE),
        ("Write the scene where it stopped raining", PROSE),
        ("I thought of another one: a tale about a fox", PROSE),
        ("I thought so", QUESTION),
        ("can I still use the old one if it is still there", PROSE),
        ("How should I handle an invalid token?", CODE),
        ("invalid column name", PROSE),
    ],
)
def test_what_only_looks_like_their_words_is_neutral(feedback, response):
    assert judge(feedback, response)["label"] == "NEUTRAL"


@pytest.mark.parametrize("rule", [rule for rule in lexical_rules.RULES if rule.needs], ids=lambda rule: rule.id)
@given(data=st.data())
def test_what_a_rule_needs_is_in_every_match(rule, data):
    assert re.search(rule.needs, data.draw(st.from_regex(rule.pattern)))


@given(text=st.text(alphabet=" \t\n\r\u00a0\u2003ab'\u2019\\"))
def test_texts_are_compared_with_single_spaces_and_straight_quotes(text):
    plain = re.sub(r"\s+", " ", text.replace("\u2019", "'").replace("\\", "")).strip()
    assert lexical._normalised(pl.Series([text])).to_list() == [plain]


def test_the_tier_is_that_of_the_surest_rule_of_the_label():
    assert judge("That is wrong")["tier"] == "high"
    assert judge("Please check again")["tier"] == "medium"
    assert judge("No, that is wrong")["tier"] == "high"
    assert judge("Now list the rivers")["tier"] == "low"
    assert judge("That is wrong")["score"] > judge("Please check again")["score"]


def test_ids_of_rules_are_unique_and_name_a_kind():
    ids = [rule.id for rule in lexical_rules.RULES]
    assert len(ids) == len(set(ids))
    assert {name.split("/")[0] for name in ids} == {"strict", "revision", "sat"}
