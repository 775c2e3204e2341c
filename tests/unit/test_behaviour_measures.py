"""How a policy writes, measured: every measure by hand."""

import json
from collections import Counter
from itertools import combinations

import polars as pl
import pytest

from drift.metrics import behaviour
from drift.metrics.behaviour import distinct, identical, measures, on_prompt, repeated, same_script, script, word_pairs, words
from tests.builders.replies import table
from tests.conftest import REPOSITORY

IFEVAL = REPOSITORY.parent / "shared/golden/ifeval/input_response_data_gpt4_20231107_145030.jsonl"


def test_words_are_runs_of_letters_and_single_chinese_characters():
    assert words("It's FINE, 2x.") == ["it", "s", "fine", "2x"]
    assert words("你好 world") == ["你", "好", "world"]
    assert words("...") == []


def test_pairs_of_words_do_not_reach_from_one_reply_into_the_next():
    assert word_pairs(["a b a b", "b a"]) == Counter({("a", "b"): 2, ("b", "a"): 2})


def test_distinct_pairs_of_all_there_are_is_the_share_of_different_ones():
    assert distinct(Counter(x=3, y=1), 4) == pytest.approx(2 / 4)
    assert distinct(Counter(x=1, y=1), 2) == 1


def test_distinct_pairs_of_a_part_are_those_expected_of_a_draw():
    counts = Counter(x=3, y=2, z=1)
    places = list(counts.elements())
    for drawn in (1, 2, 4, 6):
        draws = [len(set(draw)) / drawn for draw in combinations(places, drawn)]
        assert distinct(counts, drawn) == pytest.approx(sum(draws) / len(draws))


def test_a_longer_text_of_the_same_kind_is_not_less_varied():
    short, long = Counter(dict.fromkeys(range(200), 2)), Counter(dict.fromkeys(range(200), 20))
    assert distinct(long, 4000) == pytest.approx(0.05)
    assert distinct(short, 400) == pytest.approx(0.5)
    assert distinct(long, 100) == pytest.approx(distinct(short, 100), abs=0.11)


def test_nothing_drawn_has_no_variety():
    assert distinct(Counter(), 0) is None


def test_a_reply_is_identical_where_another_prompt_got_it_too():
    assert identical(table(["Yes.", "Yes. ", "No.", "Maybe."])) == 0.5
    twice = table(["Yes.", "Yes."]).with_columns(prompt_id=pl.lit("s:0/0"), sample=pl.Series([0, 1], dtype=pl.Int32))
    assert identical(twice) == 0, "two samples of one prompt"
    assert identical(table(["", "", "Yes."])) == 0, "these are counted as empty"


def test_repetition_is_the_share_of_4_grams_that_a_reply_has_had():
    assert repeated("a b c d a b c d") == pytest.approx(1 - 4 / 5)  # abcd bcda cdab dabc abcd
    assert repeated("no no no no no no") == pytest.approx(2 / 3)
    assert repeated("a b c") == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [("Hello мир", "LATIN"), ("да, yes да", "CYRILLIC"), ("これは漢字です", "CJK"), ("漢字だけ", "CJK"), ("12 + 3 = 15", None)],
)
def test_the_script_of_a_text_is_that_of_most_letters(text, name):
    assert script(text) == name


def test_the_script_is_compared_with_that_of_the_base_models_reply_to_the_prompt():
    base = table(["Hello", "Привет", "Yes", "42"])
    assert same_script(base, base) == 1
    assert same_script(table(["Hi", "Hi", "", "Hi"]), base) == pytest.approx(1 / 3), "of the three that have letters"
    assert same_script(base, table(["1", "2", "3", "4"])) is None


def test_all_measures_of_a_few_replies():
    replies = table(["", "a b c d a b c d", "a b c d a b c d", "one two"])
    prompts = dict(zip(replies["prompt_id"], ["What?", "abcd?", "a b c?", "Say one two."], strict=True))
    found = measures(replies, replies, word_pairs(replies["response"].to_list()).total(), prompts)
    assert list(found) == list(behaviour.MEASURES)
    assert found == pytest.approx(
        {
            "tokens_p25": 2.5,  # of 1, 3, 9, 9
            "tokens_median": 6,
            "tokens_p75": 9,
            "empty": 1 / 4,
            "identical": 2 / 4,
            "ended": 1,
            "distinct_2": 5 / 15,  # ab bc cd da, and one two; of 7 + 7 + 1
            "repeated_4": (2 * 1 / 5) / 4,
            "script": 1,
            "on_prompt": 2 / 4,  # the last two
        }
    )


def test_replies_that_the_limit_cut_did_not_end():
    prompts = {"s:00/0": "a", "s:01/0": "a"}
    assert measures(table(["a " * 200, "a"]), table(["a", "a"]), 1, prompts)["ended"] == 0.5


def test_no_replies_have_no_measures():
    assert set(measures(table([]), table([]), 0, {}).values()) == {None}


ASKED = ["Why are cliffs steep?", "Tell me about owls.", "What do bakers do?", "你知道竹子吗", "Расскажи про мосты."]


def answered(texts: list[str], prompts: list[str]) -> float | None:
    """on_prompt of these replies to the first of these prompts."""
    return on_prompt(table(texts), {f"s:{number:02d}/0": text for number, text in enumerate(prompts)})


def test_a_reply_is_on_its_prompt_where_it_takes_up_its_words_in_any_form():
    assert answered(["A cliff stays.", "An owl hunts.", "Baking is early.", "竹子很高。", "Мосты стоят."], ASKED) == 1
    assert answered(["An owl hunts.", "A cliff stays.", "мосты", "Yes.", ""], ASKED) == 0


def test_what_all_prompts_say_puts_no_reply_on_its_prompt():
    prompts = [f"Please answer in a few sentences: why is {letter}old rare?" for letter in "abcdefghijklmnopqrstuvwxy"]
    assert answered(["Please answer in a few sentences: why is it so?"], prompts) == 0
    assert answered(["In a few sentences, aold is rare."], prompts) == 1


def test_prompts_without_a_word_tell_nothing():
    assert answered(["Yes.", "No."], ["?!", " "]) is None


@pytest.mark.skipif(not IFEVAL.exists(), reason="GPT-4's answers to IFEval are not there")
def test_gpt_4s_answers_are_on_their_prompts_and_on_others_by_chance():
    rows = [json.loads(line) for line in IFEVAL.read_text().splitlines()]
    replies, prompts = [row["response"] for row in rows], [row["prompt"] for row in rows]
    assert answered(replies, prompts) > 0.8
    assert answered(replies[7:] + replies[:7], prompts) < 0.1
