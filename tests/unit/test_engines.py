"""The engine for machines where vLLM cannot be installed, on the tiny model; vLLM itself runs in the end-to-end tests."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from drift.chat import render
from drift.cli import StageError
from drift.engines import load_engine

GREEDY = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 24}
HARDWARE = {"tensor_parallel": 1, "gpu_memory": 0.9, "cpu_cache_gib": 1}


def engine(folder, choices=None, **decoding):
    settings = {"backend": "transformers", "context": 256, "choices": choices, "schema": None, "decoding": GREEDY | decoding}
    return load_engine(folder, settings, HARDWARE)


@pytest.fixture(scope="module")
def greedy(tiny_model):
    return engine(tiny_model)


def requests(tokenizer, *questions: str) -> list[dict]:
    return [
        {
            "request_id": f"{number}#plain-0",
            "prompt_token_ids": render(tokenizer, [{"role": "user", "content": text}]),
            "seed": number,
        }
        for number, text in enumerate(questions)
    ]


def test_answers_carry_their_requests_id_whatever_the_batch(greedy, tokenizer):
    asked = requests(tokenizer, "Tell me about rivers and about the bridges over them.", "Tell me about salt.", "Rivers?")
    together = {row["request_id"]: row["text"] for row in greedy.generate(asked)}
    alone = {row["request_id"]: row["text"] for request in asked for row in greedy.generate([request])}
    assert together == alone


def test_a_reply_that_ends_its_turn_is_told_from_one_that_was_cut(greedy, tiny_model, tokenizer):
    asked = requests(tokenizer, "Tell me about salt.")
    (whole,) = greedy.generate(asked)
    (cut,) = engine(tiny_model, max_tokens=1).generate(asked)
    assert (whole["finish_reason"], cut["finish_reason"]) == ("stop", "length")
    assert cut["completion_tokens"] == 1
    assert whole["prompt_tokens"] == len(asked[0]["prompt_token_ids"])
    assert tokenizer.eos_token not in whole["text"]


def test_a_reply_ends_before_a_stop_string(tiny_model, tokenizer):
    asked = requests(tokenizer, "Tell me about salt.")
    (whole,) = engine(tiny_model).generate(asked)
    word = whole["text"].split()[1]
    (cut,) = engine(tiny_model, stop=[f" {word}"]).generate(asked)
    assert (cut["text"], cut["finish_reason"]) == (whole["text"].split(f" {word}")[0], "stop")


def test_the_same_seed_samples_the_same_reply(tiny_model, tokenizer):
    asked = requests(tokenizer, "Tell me about glass.")
    sampler = engine(tiny_model, temperature=1.0)
    first, second = (sampler.generate(asked)[0]["text"] for _ in range(2))
    assert first == second


def test_a_verdict_is_the_models_own_log_probability_of_each_letter(tiny_model, tokenizer):
    (asked,) = requests(tokenizer, "A or B?")
    (row,) = engine(tiny_model, choices=["A", "B"]).generate([asked])
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    logprobs = model(torch.tensor([asked["prompt_token_ids"]])).logits[0, -1].float().log_softmax(-1)
    for verdict in row["choice_logprobs"]:
        (token,) = tokenizer.encode(verdict["choice"], add_special_tokens=False)
        assert verdict["logprob"] == pytest.approx(logprobs[token].item(), abs=1e-3)


def test_a_request_longer_than_the_context_is_refused_by_name(greedy, tokenizer):
    with pytest.raises(StageError, match=r"request 0#plain-0 has .* fit the prompts first"):
        greedy.generate(requests(tokenizer, "river " * 300))


def test_a_request_that_was_written_for_an_endpoint_is_refused(greedy):
    with pytest.raises(StageError, match=r"0#plain-0 has no prompt_token_ids.*rebuild the requests"):
        greedy.generate([{"request_id": "0#plain-0", "prompt_token_ids": None, "seed": 0}])


def test_answers_that_are_no_single_token_are_refused(tiny_model):
    with pytest.raises(StageError, match="not single tokens"):
        engine(tiny_model, choices=["Alpha is better", "B"])
