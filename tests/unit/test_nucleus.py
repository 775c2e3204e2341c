"""Top-k and top-p without a sort keep what vLLM keeps."""

import pytest
import torch
from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p_pytorch

from drift.engines.cpu_sampling import keep_likeliest


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
