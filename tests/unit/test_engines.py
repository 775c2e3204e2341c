"""The engine for machines where vLLM cannot be installed, on the tiny model; vLLM itself runs in
the end-to-end tests."""

import json
import shutil
from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM

from drift import policies
from drift.chat import load_tokenizer, render
from drift.cli import StageError
from drift.config import Engine
from drift.engines import load_engine
from drift.settings.sampling import EngineRuntime
from drift.workflow.generation import generation_settings

GREEDY = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 24}
RUNTIME = EngineRuntime.of(Engine().model_dump(), endpoint=None)


def engine(folder, choices=None, **decoding):
    """An engine of the model in `folder`: greedy, except for what `decoding` changes."""
    return load_engine(
        folder,
        generation_settings("transformers", context=256, choices=choices, decoding=GREEDY | decoding),
        RUNTIME,
    )


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


@pytest.mark.parametrize(("able", "precision"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_without_bf16_runs_a_model_in_fp32(tiny_model, monkeypatch, able, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    assert engine(tiny_model).model.dtype == precision
    assert policies.device().endswith(" without bf16") == (not able)


def test_answers_carry_their_requests_id_whatever_the_batch(greedy, tokenizer):
    asked = requests(tokenizer, "Tell me about rivers and about the bridges over them.", "Tell me about salt.", "Rivers?")
    together = {row["request_id"]: row["text"] for row in greedy.generate(asked)}
    alone = {row["request_id"]: row["text"] for request in asked for row in greedy.generate([request])}
    assert together == alone


def test_a_reply_that_ends_its_turn_differs_from_one_that_was_cut(greedy, tiny_model, tokenizer):
    asked = requests(tokenizer, "Tell me about salt.")
    (whole,) = greedy.generate(asked)
    (cut,) = engine(tiny_model, max_tokens=1).generate(asked)
    assert (whole["finish_reason"], cut["finish_reason"]) == ("stop", "length")
    assert cut["completion_tokens"] == 1
    assert whole["prompt_tokens"] == len(asked[0]["prompt_token_ids"])
    assert tokenizer.eos_token not in whole["text"]


@pytest.fixture
def written(tiny_model, tokenizer, tmp_path):
    """Call with tokens to get the row of a model that writes them, and then the last one for ever.

    `closing` is what its chat template puts after a reply, `listed` what its generation_config.json
    names as ends.
    """

    def row(*words: str, closing: str = "<|im_end|>", listed: str | list[str] | None = None) -> dict:
        folder = shutil.copytree(tiny_model, tmp_path / "model")
        own = load_tokenizer(folder)
        own.chat_template = own.chat_template.replace("['content'] + '<|im_end|>'", f"['content'] + '{closing}'")
        own.save_pretrained(folder)
        ends = {"eos_token_id": own.convert_tokens_to_ids(listed)} if listed else {}
        (folder / "generation_config.json").write_text(json.dumps(ends))
        model, (asked,) = engine(folder, temperature=1.0, max_tokens=6), requests(own, "Tell me about salt.")
        tokens = own.convert_tokens_to_ids(list(words))

        def write(ids, scores):
            place = ids.shape[1] - len(asked["prompt_token_ids"])
            return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor(tokens[min(place, len(tokens) - 1)]), 0.0)

        model._draw = lambda decoding, seeds: [write]
        return model.generate([asked])[0]

    return row


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"closing": "<file_sep>"},
        {"listed": ["<|im_end|>", "<file_sep>"]},
        {"listed": "<file_sep>"},
    ],
    ids=["the tokenizer's end", "what the template closes a reply with", "one of several that are listed", "the one listed"],
)
def test_a_reply_ends_with_whatever_token_ends_a_turn_of_the_model(written, options):
    end = "<file_sep>" if options else "<|im_end|>"
    row = written("salt", end, "glass", **options)
    assert (row["text"], row["finish_reason"], row["completion_tokens"]) == ("salt", "stop", 2)


def test_a_control_token_within_a_reply_stays_to_be_seen(written):
    row = written("salt", "<|im_start|>", "user", "<|im_end|>")
    assert (row["text"], row["finish_reason"]) == ("salt<|im_start|>user", "stop")


def test_a_model_without_a_pad_token_that_it_can_read_answers_in_batches(tiny_model, tokenizer, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    own = load_tokenizer(folder)
    own.add_special_tokens({"pad_token": "[PAD]"})
    own.save_pretrained(folder)
    assert own.pad_token_id == len(tokenizer), "one more than there are embeddings"
    asked = requests(tokenizer, "Tell me about salt.", "Tell me about rivers and about the bridges over them.")
    answers = [[row["text"] for row in engine(one).generate(asked)] for one in (folder, tiny_model)]
    assert answers[0] == answers[1]


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


def test_a_sampled_reply_depends_on_its_seed_and_not_on_its_batch(tiny_model, tokenizer):
    (asked,) = requests(tokenizer, "Tell me about glass.")
    sampler = engine(tiny_model, temperature=1.0)
    batch = [asked | {"request_id": f"{seed}#plain-0", "seed": seed} for seed in range(8)]
    together = {row["request_id"]: row["text"] for row in sampler.generate(batch)}
    assert len(set(together.values())) > 3, "seeds draw apart"
    alone = {row["request_id"]: row["text"] for request in batch for row in sampler.generate([request])}
    assert together == alone


def test_samples_are_distributed_as_temperature_and_top_k_say(tiny_model, tokenizer):
    """First tokens of many draws against the model's own probabilities."""
    (asked,) = requests(tokenizer, "Tell me about glass.")
    sampler = engine(tiny_model, temperature=2.0, top_k=5, max_tokens=1)
    draws = 200
    rows = sampler.generate([asked | {"request_id": str(seed), "seed": seed} for seed in range(draws)])
    drawn = Counter(row["text"] for row in rows)
    with torch.no_grad():
        logits = sampler.model(torch.tensor([asked["prompt_token_ids"]])).logits[0, -1].float()
    top = logits.topk(5)
    expected = Counter()  # by text: tokens that end a reply are no part of it
    for token, share in zip(top.indices.tolist(), (top.values / 2.0).softmax(-1).tolist(), strict=True):
        expected["" if token in sampler.stops else tokenizer.decode([token])] += share
    assert set(drawn) <= set(expected), "nothing beyond top_k"
    for text, share in expected.items():
        assert drawn[text] / draws == pytest.approx(share, abs=0.12)


def test_a_verdict_is_the_models_own_log_probability_of_each_letter(tiny_model, tokenizer):
    (asked,) = requests(tokenizer, "A or B?")
    judge = engine(tiny_model, choices=["A", "B"])
    (row,) = judge.generate([asked])
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=judge.model.dtype)
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


def test_answers_that_are_not_single_tokens_are_refused(tiny_model):
    with pytest.raises(StageError, match="not single tokens"):
        engine(tiny_model, choices=["Alpha is better", "B"])


def test_no_value_of_a_models_generation_config_shapes_a_reply(tiny_model, greedy, tokenizer, tmp_path):
    asked = requests(tokenizer, "Tell me about salt.")
    (plain,) = greedy.generate(asked)
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    banned = tokenizer.encode(plain["text"], add_special_tokens=False)[:1]
    own = {"suppress_tokens": banned, "min_new_tokens": 20, "repetition_penalty": 3.0}
    (folder / "generation_config.json").write_text(json.dumps(own))
    assert engine(folder).generate(asked) == [plain]


def test_a_repetition_penalty_counts_the_tokens_of_a_prompt_and_not_its_padding(tiny_model, greedy, tokenizer, tmp_path):
    short, long = requests(tokenizer, "Tell me about salt.", "Tell me about rivers and about the bridges over them.")
    (plain,) = greedy.generate([short])
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    own = load_tokenizer(folder)
    # What pads is a token that the model writes, and its prompt does not hold.
    own.pad_token = own.convert_ids_to_tokens(own.encode(plain["text"], add_special_tokens=False)[0])
    own.save_pretrained(folder)
    assert own.pad_token_id not in short["prompt_token_ids"]
    penalised = engine(folder, repetition_penalty=20.0)
    (alone,), together = penalised.generate([short]), penalised.generate([long, short])
    assert [row for row in together if row["request_id"] == short["request_id"]] == [alone]
