"""Repetition penalty, top-k and top-p on a CPU without passes over the vocabulary.

vLLM counts every token of the vocabulary for the penalty of those that occurred, and sorts every
row of logits for top-p; on a CPU that takes as long as the model itself where the model is small.
The tokens that occurred are few, and the likeliest, which a partial sort gives, are all that top-p
needs. The logits that come out are the same.
"""

import torch
from torch.nn.utils.rnn import pad_sequence
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

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


def penalise_repetition(logits: torch.Tensor, occurred: list[list[int]], penalty: float) -> torch.Tensor:
    """Logits (rows x vocabulary, fp32), changed in place: those of the tokens that `occurred` in a
    row (at least one) are divided by `penalty` if positive, else multiplied by it (Keskar et al.
    2019, arXiv 1909.05858; negative ones as transformers and vLLM do)."""
    rows = pad_sequence([torch.tensor(tokens) for tokens in occurred], batch_first=True, padding_value=-1)
    # What is written twice is the same value: so a row may be filled up with its first token.
    rows = torch.where(rows < 0, rows[:, :1], rows)
    values = logits.gather(-1, rows)
    # In fp32 and as a product, to round as vLLM does.
    factor = torch.tensor(penalty)
    return logits.scatter_(-1, rows, values * torch.where(values > 0, 1.0 / factor, factor))


def repetition_processor(penalty: float) -> type[LogitsProcessor]:
    """A class for vLLM's `logits_processors`; vLLM applies it before the temperature."""

    class Repetition(LogitsProcessor):
        def __init__(self, vllm_config, device, is_pin_memory):
            # By row of the batch: the prompt's tokens, and the list that vLLM adds the reply's to.
            self.requests: dict[int, tuple[list[int], list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            return False

        def update_state(self, batch_update) -> None:
            process_dict_updates(self.requests, batch_update, lambda params, prompt, reply: (prompt, reply))

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            occurred = [[*prompt, *reply] for _, (prompt, reply) in sorted(self.requests.items())]
            return penalise_repetition(logits, occurred, penalty)

    return Repetition


def nucleus_processor(top_k: int, top_p: float) -> type[LogitsProcessor]:
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
