"""Top-k and top-p on a CPU without sorting the vocabulary.

vLLM sorts every row of logits for top-p; on a CPU that takes as long as the model itself where the
model is small. The likeliest tokens are all that is needed, and a partial sort gives them. What is
kept is the same.
"""

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor

# Tokens to look at first where top_k is off; a flat distribution needs more.
FEW = 256


def keep_likeliest(logits: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Logits (rows x vocabulary, fp32) with all but the likeliest tokens of each row at -inf.

    The `top_k` likeliest stay (0: all), and of these the fewest whose probabilities reach `top_p`
    (Holtzman et al. 2020, arXiv 1904.09751): a token goes when those above it reach `top_p` without
    it.
    """
    size = logits.shape[-1]
    count = min(top_k or FEW, size)
    while True:
        likeliest, tokens = logits.topk(count)  # rows x count, the likeliest first
        # Probabilities are of what top_k leaves, as top_p applies after it.
        left = likeliest if top_k else logits
        probabilities = (likeliest - left.logsumexp(-1, keepdim=True)).exp()
        # The probability of all tokens that are likelier than a token, without its own.
        above = probabilities.cumsum(-1) - probabilities
        # Enough tokens were looked at where the last one of every row falls outside top_p.
        if top_k or count == size or bool((above[:, -1] >= top_p).all()):
            break
        count = min(8 * count, size)
    if top_p < 1:
        likeliest = likeliest.masked_fill(above >= top_p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter_(-1, tokens, likeliest)


def processor(top_k: int, top_p: float) -> type[LogitsProcessor]:
    """A class for vLLM's `logits_processors`; vLLM applies it after the temperature."""

    class Nucleus(LogitsProcessor):
        def __init__(self, vllm_config, device, is_pin_memory):
            pass

        def is_argmax_invariant(self) -> bool:
            return True

        def update_state(self, batch_update) -> None:
            pass

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            return keep_likeliest(logits, top_k, top_p)

    return Nucleus
