"""Without a GPU pairs are read and scored in another way than TRL's, to the same numbers."""

import copy

import pytest
import torch
from transformers import LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl.trainer.utils import add_fused_lm_head

from drift.training import cpu_lm_head, cpu_packing
from drift.training.logps import pair_logps
from tests.builders.training import SIZES, small_llama

PROMPT, REPLY = [1, 4, 9, 16], [25, 3, 7, 2]


def by_hand(model, prompt: list[int], reply: list[int]) -> float:
    """log pi(reply | prompt), token by token from all logits."""
    ids = prompt + reply
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(logps[position - 1, ids[position]].item() for position in range(len(prompt), len(ids)))


@pytest.mark.parametrize("read", ["one after the other", "in one go"])
@pytest.mark.parametrize("reply", [REPLY, REPLY[:1]], ids=["four tokens", "one token"])
def test_a_replys_log_probability_is_the_sum_over_its_tokens(reply, read):
    model = small_llama()
    row = {"prompt_ids": PROMPT, "chosen_ids": reply, "rejected_ids": REPLY[:2]}
    expected = by_hand(model, PROMPT, reply), by_hand(model, PROMPT, REPLY[:2])
    if read == "in one go":
        assert cpu_packing.prepare(model)
    chosen, rejected = pair_logps(model, row)
    assert (chosen.item(), rejected.item()) == pytest.approx(expected, abs=1e-4)


def batch() -> dict[str, torch.Tensor]:
    """Two pairs, padded, of which only the replies are scored: the chosen sequences, then the
    rejected ones."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 32, (4, 10), generator=generator)
    mask, labels = torch.ones_like(ids), ids.clone()
    for pair, prompt in enumerate((4, 2)):
        ids[2 + pair, :prompt] = ids[pair, :prompt]
        labels[[pair, 2 + pair], :prompt] = -100
    for row, length in ((1, 7), (2, 5)):
        mask[row, length:], labels[row, length:] = 0, -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def both_heads(monkeypatch, chunk: int, full: LlamaForCausalLM | None = None):
    """The same model (a Llama if not given) with TRL's head, and with the one that scores replies
    only."""
    monkeypatch.setattr(cpu_lm_head, "CHUNK", chunk)
    full = full or small_llama()
    short = copy.deepcopy(full)
    for model in (full, short):
        add_fused_lm_head(model, outputs=OUTPUTS)
    cpu_lm_head.score_replies_only(short)
    return full, short


def test_a_model_that_scales_or_biases_its_logits_keeps_the_trainers_head():
    for change in ("scale", "bias"):
        model = small_llama()
        if change == "scale":
            model.config.logit_scale = 0.5
        else:
            model.lm_head.bias = torch.nn.Parameter(torch.ones(model.config.vocab_size))
        add_fused_lm_head(model, outputs=OUTPUTS)
        head = model.forward
        cpu_lm_head.score_replies_only(model)
        assert model.forward == head, change


def test_a_mixture_of_experts_keeps_the_trainers_head_which_balances_the_experts():
    sizes = SIZES | {"head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes)).eval()
    add_fused_lm_head(model, outputs=OUTPUTS)
    cpu_lm_head.score_replies_only(model)
    assert model(**batch(), fused_lm_head=True, output_router_logits=True).aux_loss > 0


@pytest.mark.parametrize("chunk", [3, 512])
def test_the_short_head_gives_the_trainers_numbers(monkeypatch, chunk):
    full, short = both_heads(monkeypatch, chunk)
    expected, got = full(**batch(), fused_lm_head=True), short(**batch(), fused_lm_head=True)
    for name in (*OUTPUTS, "loss"):
        torch.testing.assert_close(got[name].float(), expected[name].float(), atol=1e-5, rtol=0, msg=name)
    assert torch.equal(got.label_mask, expected.label_mask)
    masked = batch()["labels"][:, 1:] == -100
    assert masked.any()
    assert (got.log_probs[masked] == 0).all()
    assert (got.log_probs[~masked] < 0).all()


@pytest.mark.parametrize("chunk", [3, 512])
def test_the_short_head_gives_the_trainers_gradients(monkeypatch, chunk):
    gradients = []
    for model in both_heads(monkeypatch, chunk):
        scores = model(**batch(), fused_lm_head=True).log_probs
        (scores.sum(1) * torch.tensor([1.0, -2.0, 0.5, 3.0])).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    full, short = gradients
    assert full.keys() == short.keys()
    assert all(gradient.abs().max() > 0 for gradient in full.values())
    for name in full:
        torch.testing.assert_close(short[name], full[name], atol=1e-5, rtol=1e-4, msg=name)


def test_prompts_are_read_once_for_both_replies_and_padding_never(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    read = []
    short.base_model.register_forward_pre_hook(lambda _, __, inputs: read.append(inputs["input_ids"]), with_kwargs=True)
    short(**batch(), fused_lm_head=True)
    assert [tuple(ids.shape) for ids in read] == [(1, (4 + 6 + 1) + (2 + 5 + 8))], "prompt, chosen and rejected of each pair"


def test_sequences_that_are_not_pairs_are_refused(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    foreign = batch()
    foreign["input_ids"][2, 1] += 1
    with pytest.raises(ValueError, match="do not have the same prompt"):
        short(**foreign, fused_lm_head=True)


def test_a_model_whose_attention_has_windows_is_read_sequence_by_sequence(monkeypatch):
    config = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=3, max_window_layers=0)
    torch.manual_seed(0)
    full, short = both_heads(monkeypatch, 512, Qwen2ForCausalLM(config))
    expected, got = full(**batch(), fused_lm_head=True), short(**batch(), fused_lm_head=True)
    torch.testing.assert_close(got.log_probs, expected.log_probs, atol=1e-5, rtol=0)


def test_a_batch_without_a_reply_scores_nothing(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    nothing = batch()
    nothing["labels"] = torch.full_like(nothing["labels"], -100)
    nothing["input_ids"][2:], nothing["attention_mask"][2:] = nothing["input_ids"][:2], nothing["attention_mask"][:2]
    output = short(**nothing, fused_lm_head=True)
    assert (output.log_probs == 0).all()
    assert output.loss == 0


def test_without_the_short_head_the_model_is_as_it_was(monkeypatch):
    _, short = both_heads(monkeypatch, 512)
    torch.testing.assert_close(short(batch()["input_ids"]).logits, small_llama()(batch()["input_ids"]).logits)
