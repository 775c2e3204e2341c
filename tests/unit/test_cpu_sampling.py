"""The penalty, top-k and top-p without passes over the vocabulary are what vLLM's are."""

import pytest
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.sample.ops.penalties import apply_all_penalties
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

from drift.engines.cpu_sampling import keep_likeliest, penalise_repetition, repetition_processor


@pytest.mark.parametrize("temperature", [0.1, 1.0, 50.0], ids=["peaked", "usual", "flat"])
@pytest.mark.parametrize(("top_k", "top_p"), [(20, 0.9), (20, 1.0), (0, 0.9), (0, 0.999), (1, 0.5), (5000, 0.5)])
def test_the_same_tokens_stay_with_the_same_logits(temperature, top_k, top_p):
    vocabulary = 3000
    logits = torch.randn(8, vocabulary, generator=torch.Generator().manual_seed(0)) * 5 / temperature
    k = torch.full((8,), min(top_k, vocabulary)) if top_k else None
    expected = apply_top_k_top_p_pytorch(logits.clone(), k, torch.full((8,), top_p))
    kept = keep_likeliest(logits.clone(), top_k, top_p)
    # A token at the very edge may fall either way by rounding of the sums.
    assert ((kept != expected).sum(-1) <= 1).all()
    assert torch.isfinite(kept).any(-1).all()


@pytest.mark.parametrize("penalty", [1.05, 0.9, 1.3])
def test_repeated_tokens_are_penalised_as_by_vllm(penalty):
    vocabulary = 3000
    logits = torch.randn(3, vocabulary, generator=torch.Generator().manual_seed(0)) * 5
    logits[0, 7] = -torch.inf
    prompts, replies = [[7, 7, 5], [2999], [1, 2]], [[5, 9, 9], [], [0]]
    prompt_rows = torch.tensor([[7, 7, 5], [2999, vocabulary, vocabulary], [1, 2, vocabulary]])
    none, penalties = torch.zeros(3), torch.full((3,), penalty)
    expected = apply_all_penalties(logits.clone(), prompt_rows, none, none, penalties, replies)
    occurred = [prompt + reply for prompt, reply in zip(prompts, replies, strict=True)]
    assert torch.equal(penalise_repetition(logits.clone(), occurred, penalty), expected)


def test_the_penalty_follows_requests_through_the_batch():
    """vLLM appends to the lists that it passed, and moves the last row to where one ended."""
    processor = repetition_processor(2.0)(None, None, None)
    replies = [[], [], []]
    added = [(row, None, [row], reply) for row, reply in enumerate(replies)]
    processor.update_state(BatchUpdate(batch_size=3, removed=[], added=added, moved=[]))
    for reply, token in zip(replies, [5, 6, 7], strict=True):
        reply.append(token)
    penalised = [[0, 5], [1, 6], [2, 7]]
    assert [row.nonzero().flatten().tolist() for row in processor.apply(torch.ones(3, 9)) != 1] == penalised
    ended = BatchUpdate(batch_size=2, removed=[0], added=[], moved=[(2, 0, MoveDirectionality.UNIDIRECTIONAL)])
    processor.update_state(ended)
    assert [row.nonzero().flatten().tolist() for row in processor.apply(torch.ones(2, 9)) != 1] == [[2, 7], [1, 6]]
