"""What a judge is asked: every answer in the orders, against the opponents and as often as it has
to be."""

import json
import random
from collections import Counter

import pytest

from drift.judging import prompts
from tests.builders.judging import (
    CHOICE,
    LETTER,
    PUBLISHED,
    QUESTION,
    SCORE,
    ask,
    between,
    changed,
    needs_published,
    shown,
    talk,
    tasks_of,
)


@pytest.mark.parametrize("protocol", [LETTER, CHOICE], ids=lambda protocol: protocol.verdict)
def test_each_answer_is_shown_in_both_orders(tokenizer, protocol):
    requests, _ = ask(tokenizer, protocol, "The policy's reply.")
    assert [request["kind"] for request in requests] == ["pairwise-AB", "pairwise-BA"]
    for kind, first, second in (
        ("pairwise-AB", "The policy's reply.", "The logged reply."),
        ("pairwise-BA", "The logged reply.", "The policy's reply."),
    ):
        text = shown(requests, kind)
        assert (between(text, "reply_A"), between(text, "reply_B")) == (first, second)
        assert between(text, "conversation") == f"USER: {QUESTION}"
    assert tokenizer.decode(requests[0]["prompt_token_ids"]).endswith("<|im_start|>assistant\n")


def test_a_score_shows_one_answer_the_whole_conversation_and_the_checklist(tokenizer):
    requests, _ = ask(
        tokenizer, SCORE, "By rail.", tasks=tasks_of(talk("Plan it.", "How?", "By train."), checklist=["By train?", "A plan?"])
    )
    text = shown(requests, "score")
    assert between(text, "reply") == "By rail."
    assert between(text, "checklist") == "- By train?\n- A plan?"
    assert between(text, "conversation") == "USER: Plan it.\n\nASSISTANT: How?\n\nUSER: By train."
    assert "The logged reply." not in text


def test_the_coin_of_a_task_is_equal_for_all_policies_and_falls_on_both_sides(tokenizer):
    tasks = tasks_of(*[f"{QUESTION} {number}" for number in range(60)])
    one, other = (
        [request["kind"] for request in ask(tokenizer, changed(LETTER, order="random"), *[text] * 60, tasks=tasks)[0]]
        for text in ("Mine.", "Another policy's.")
    )
    assert one == other
    assert len(one) == 60
    assert 15 < one.count("pairwise-AB") < 45


@needs_published
def test_alpacaevals_published_order_is_kept_for_all_805_instructions():
    """The published rule, spelled out: switched means that the model's answer comes first, as m."""
    lines = (PUBLISHED / "prompts/alpacaeval_805.jsonl").read_text().splitlines()
    instructions = [json.loads(line)["instruction"] for line in lines]
    protocol = changed(LETTER, order="alpacaeval", letters=("m", "M"))
    requests, _ = ask(None, protocol, *["Mine."] * 805, tasks=tasks_of(*instructions))
    orders = {request["prompt_id"]: request["kind"] for request in requests}
    for number, instruction in enumerate(instructions):
        switched = random.Random("is_switched_outputs" + instruction + "0").choices([False, True], k=1)[0]
        assert orders[f"s:{number}/0"] == ("pairwise-AB" if switched else "pairwise-BA")
    assert between(shown(requests, "pairwise-AB"), "reply_m") == "Mine."
    assert between(shown(requests, "pairwise-BA"), "reply_M") == "Mine."
    assert shown(requests, "pairwise-AB").endswith("one letter: m or M.")


def test_every_reference_is_an_opponent_and_every_vote_a_request_with_a_seed_of_its_own(tokenizer):
    references = [{"model": "gpt", "response": "G."}, {"model": "llama", "response": "L."}]
    requests, _ = ask(tokenizer, changed(CHOICE, votes=2), "Mine.", tasks=tasks_of(QUESTION, references=references))
    assert len(requests) == 3 * 2 * 2, "baseline, gpt, llama; both orders; two votes"
    assert len({request["request_id"] for request in requests}) == len({request["seed"] for request in requests}) == 12
    seen = Counter(
        between(request["messages"][-1]["content"], "reply_B") for request in requests if request["kind"] == "pairwise-AB"
    )
    assert seen == {"The logged reply.": 2, "G.": 2, "L.": 2}


def test_the_same_text_twice_is_a_draw_that_nobody_judges(tokenizer):
    requests, counts = ask(tokenizer, LETTER, " The logged reply.\n", "Another.")
    assert {request["prompt_id"] for request in requests} == {"s:1/0"}
    assert counts["about two answers that are the same"] == 2


def test_a_task_without_an_answer_to_compare_with_is_counted(tokenizer):
    _, counts = ask(tokenizer, LETTER, "Mine.", tasks=tasks_of(QUESTION, baseline=None))
    assert +counts == {"without an answer to compare with": 1}


def test_an_empty_answer_is_shown_as_such(tokenizer):
    requests, _ = ask(tokenizer, SCORE, " \n ")
    assert between(shown(requests, "score"), "reply") == prompts.EMPTY
