"""Candidates ranked by likelihoods, and how far two rankings agree."""

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

import implied_rewards
import likelihoods
import pairs
from drift import tables
from tests.builders.judgments import frame
from tests.builders.pairs import answered, fitted_prompts, requests

# log pi of four candidates under the policy that wrote them and the two before it.
LOGPS = {1: [-10.0, -20.0, -30.0, -40.0], 2: [-11.0, -22.0, -31.5, -38.0], 3: [-11.0, -21.0, -32.0, -39.0]}
TOKENS = [5, 40, 10, 10]


def scored(*backs: int) -> pl.DataFrame:
    rows = [
        {"request_id": f"p#plain-{number}", "back": back, "logp": logp, "tokens": TOKENS[number]}
        for back in backs
        for number, logp in enumerate(LOGPS[back])
    ]
    return frame(rows, tables.Likelihoods)


ASKED = pl.DataFrame({"request_id": [f"p#plain-{n}" for n in range(4)], "prompt_id": "p"})


def ranking(likelihoods: pl.DataFrame, back: int) -> list[float]:
    return implied_rewards.rewards(likelihoods, back).sort("request_id")["score"].to_list()


def test_a_candidate_is_worth_what_it_gained_on_the_policy_before():
    assert ranking(scored(1, 2, 3), 1) == [1.0, 2.0, 1.5, -2.0]
    assert ranking(scored(1, 2, 3), 2) == [0.0, -1.0, 0.5, 1.0]


def test_of_a_base_model_it_is_the_mean_over_tokens():
    assert ranking(scored(1, 2), 2) == pytest.approx([-11 / 5, -22 / 40, -31.5 / 10, -38 / 10])


def test_agreement_is_kendalls_tau_by_prompt_and_consistency_its_mean_on_0_to_1():
    likelihoods = scored(1, 2, 3)
    ranks, earlier = implied_rewards.rewards(likelihoods, 1), implied_rewards.rewards(likelihoods, 2)
    found = implied_rewards.agreement(ASKED.reverse(), ranks.sample(fraction=1.0, shuffle=True, seed=1), earlier)
    # Of the six pairs of candidates 0-2 is in the same order, and no other: tau is (1 - 5) / 6.
    assert found.rows() == [("p", pytest.approx((1 - 5) / 6), 4)]
    assert pl.select(pairs.consistency(found)).item() == pytest.approx((1 + (1 - 5) / 6) / 2)


def test_without_a_second_policy_there_is_no_consistency():
    alone = implied_rewards.agreement(ASKED, implied_rewards.rewards(scored(1), 1), implied_rewards.rewards(scored(1), 2))
    assert alone.is_empty()
    assert pl.select(pairs.consistency(alone)).item() is None


@pytest.mark.slow
def test_the_likelihood_of_a_candidate_is_that_of_the_tokens_that_are_trained_on(tiny_model, tokenizer):
    fitted = fitted_prompts(tokenizer, 2)
    asked = requests(fitted, "plain", samples=2)
    completions = answered(asked, ["It is so.", "It goes on and"])
    cut = pl.col("request_id").str.ends_with("-1")
    completions = completions.with_columns(finish_reason=pl.when(cut).then(pl.lit("length")).otherwise("finish_reason"))
    rows = likelihoods.candidates(fitted, asked, completions, tokenizer, "prefix")
    assert len(rows) == 4
    assert [row[0] for row in likelihoods.candidates(fitted, asked, completions, tokenizer, "drop")] == [rows[0][0], rows[2][0]]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    found = likelihoods.likelihoods(rows, [tiny_model, tiny_model], []).sort("back", "request_id")
    for (request_id, prompt, reply), row in zip(rows, found.filter(back=1).iter_rows(named=True), strict=True):
        assert (tokenizer.eos_token_id in reply) == request_id.endswith("-0"), "a reply that was cut has no end"
        ids = prompt + reply
        table = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        expected = sum(table[position - 1, ids[position]].item() for position in range(len(prompt), len(ids)))
        assert (row["request_id"], row["tokens"]) == (request_id, len(reply))
        assert row["logp"] == pytest.approx(expected, abs=1e-3)
    assert found.filter(back=2)["logp"].to_list() == found.filter(back=1)["logp"].to_list()


def test_half_a_character_at_the_token_limit_is_no_part_of_a_candidates_likelihood(tokenizer):
    fitted = fitted_prompts(tokenizer, 1)
    asked = requests(fitted, "plain", samples=2)
    whole = answered(asked, ["It is so\ufffd\ufffd", "It is so"]).with_columns(finish_reason=pl.lit("length"))
    cut, plain = (row[2] for row in likelihoods.candidates(fitted, asked, whole, tokenizer, "prefix"))
    assert cut == plain
    nothing = answered(asked, ["\ufffd", "It is so"]).with_columns(finish_reason=pl.lit("length"))
    assert len(likelihoods.candidates(fitted, asked, nothing, tokenizer, "prefix")) == 1
