"""Finding one JSON object or one letter in what a model wrote."""

import json

import pytest

from drift.engines.answers import json_answer, letter_of
from drift.labelers import rubric
from drift.verdicts import json_object

SEVEN = '{"score": 7}'


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (SEVEN, "7"),
        (f"```json\n{SEVEN}\n```", "7"),
        (f"[{SEVEN}]", "7"),
        ('{"why": "a } b { c", "score": 7}', "7"),
        ('{"why": "he wrote \\"score\\": 9", "score": 7}', "7"),
        (f"{SEVEN}\n(I used {{curly}} braces.)", "7"),
        (f"Of {{x}} I say: {SEVEN}", "7"),
        (f"{SEVEN}\n{SEVEN}", "7"),
        ('{"why": "x"} {"score": 7}', "7"),
        (f'<think>The format is {{"score": 3}}.</think>\n{SEVEN}', "7"),
        (f'The format is {{"score": 3}}.</think>{SEVEN}', "7"),
        ('{"why": "it ends with </think>", "score": 7}', "7"),
        ('{"result": {"score": 7}}', "7"),
        ('{"score": 7, "why": "cut he', "7"),
        (f'{SEVEN}\nA perfect one would be {{"score": 10}}.', None),
        ('{"score": 3} no, {"score": 7}', None),
        ('{"score": [7]}', None),
        ('{"score": {"value": 7}}', None),
        ('{"why": "x"}', None),
        ("{" * 5_000, None),
        ('{"a":' * 5_000, None),
    ],
)
def test_one_object_counts_whatever_stands_around_it_and_two_that_disagree_do_not(text, score):
    assert json_object.field(text, "score") == score


def test_an_object_without_a_field_that_was_asked_for_is_no_answer():
    assert json_answer('{"score": 7, "why": "x"}', ["why", "score"]) == {"score": 7, "why": "x"}
    assert json_answer(SEVEN, ["why", "score"]) is None


@pytest.mark.parametrize(
    "around", ["{}", "```json\n{}\n```", "<think>The user writes {{name}}.</think>\n{}", "{}\n(With {{curly}} braces.)"]
)
@pytest.mark.parametrize("quote", ["is wrong", "if (x) {{ return y }} is wrong", "use {name} instead"])
def test_a_rubrics_quote_may_hold_braces(around, quote):
    answer = json.dumps({"category": "complaint", "quote": quote, "rightly_declined": False})
    label, evidence = rubric.parse(around.format(answer), f"no, {quote}, please")
    assert (label, evidence[0]) == ("DSAT", "rubric/complaint")


@pytest.mark.parametrize("written", ["A", " A", "A\n", "ĠA", "▁A", "(A", "[A]", "**A**", '"A"', "A.", "A:"])
def test_a_letter_is_one_with_what_stands_around_it(written):
    assert letter_of(written) == "A"


@pytest.mark.parametrize("written", ["a", "An", "A B", "AB", "<think>", ""])
def test_another_text_is_no_letter(written):
    assert letter_of(written) != "A"
