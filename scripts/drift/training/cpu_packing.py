"""A batch of pairs as one row where there is no GPU: no padding, and each prompt once for both
replies.

The row holds prompt, chosen and rejected reply of the first pair, then those of the next:

    p p p c c c c r r | p p c c r r r          pair 0 | pair 1
    0 1 2 3 4 5 6 3 4 | 0 1 2 3 2 3 4          positions

Positions continue from the prompt in both replies, and the rejected one does not see the chosen
one, so that the hidden states are those of the two sequences apart: for a third fewer tokens where
prompts are as long as replies.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# Architectures whose layers attend to every earlier token, and mix tokens nowhere but in attention.
_PLAIN = ("llama", "qwen2", "qwen3")

ATTENTION = "drift_pairs"


@dataclass
class Packed:
    """A batch of pairs as one row."""

    inputs: dict[str, torch.Tensor]  # what the base model is called with
    index: torch.Tensor  # sequences x length: where in the row each position of a sequence is


def prepare(model) -> bool:
    """Enable `model` to read what `pack` returns, next to ordinary batches. False where its
    architecture is not supported."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windows = getattr(config, "sliding_window", None) is not None
    if config.model_type not in _PLAIN or kinds != {"full_attention"} or windows or config._attn_implementation != "sdpa":
        return False
    model.set_attn_implementation(ATTENTION)
    return True


def is_prepared(model) -> bool:
    """Whether `prepare` has enabled `model`."""
    return model.config.get_text_config()._attn_implementation == ATTENTION


def hidden_states(base_model, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The hidden states that predict the replies' tokens, sequence by sequence (tokens x width), of
    a model that `prepare` has enabled; the batch as in `pack`."""
    packed = pack(input_ids, attention_mask, labels)
    hidden = base_model(**packed.inputs, use_cache=False).last_hidden_state[0]  # row x width
    # Position t predicts token t+1, so a reply's first token is predicted by the prompt's last: for
    # both replies the same place in the row.
    return hidden[packed.index[:, :-1][labels[:, 1:] != -100]]


def pack(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> Packed:
    """The trainer's batch as one row: all three sequences x length, the chosen sequences and then
    the rejected ones, padded on the right; labels of prompts and padding are -100.

    Raises ValueError where the two halves do not have the same prompts.
    """
    replies = (labels != -100).sum(1)  # tokens of each sequence's reply
    prompts = attention_mask.sum(1) - replies
    pairs = len(input_ids) // 2
    ids, positions, lengths, start = [], [], [], 0
    index = torch.zeros_like(input_ids)
    for one, other in zip(range(pairs), range(pairs, len(input_ids)), strict=True):
        prompt, chosen, rejected = int(prompts[one]), int(replies[one]), int(replies[other])
        if prompts[other] != prompt or not torch.equal(input_ids[one, :prompt], input_ids[other, :prompt]):
            raise ValueError("a chosen and a rejected sequence do not have the same prompt: this is not a batch of pairs")
        # The whole chosen sequence, and of the rejected one what follows the prompt.
        ids += [input_ids[one, : prompt + chosen], input_ids[other, prompt : prompt + rejected]]
        count = torch.arange(prompt + chosen + rejected)
        positions += [count[: prompt + chosen], count[prompt : prompt + rejected]]
        # Where in the row each sequence's tokens are: the prompt's are shared.
        index[one, : prompt + chosen] = start + count[: prompt + chosen]
        index[other, :prompt] = start + count[:prompt]
        index[other, prompt : prompt + rejected] = start + count[prompt + chosen :]
        lengths.append([prompt, chosen, rejected])
        start += len(count)
    inputs = {
        "input_ids": torch.cat(ids)[None],  # 1 x row
        "position_ids": torch.cat(positions)[None],
        # 1 x 1 x pairs x 3, for `_attention`: models pass a mask of four dimensions on as it is.
        "attention_mask": torch.tensor(lengths)[None, None],
    }
    return Packed(inputs, index)


def _attention(module, query, key, value, attention_mask, dropout: float = 0.0, scaling: float | None = None, **options):
    """transformers' attention, and that of what `pack` returns: then `attention_mask` holds the
    lengths of prompt, chosen and rejected reply (1 x 1 x pairs x 3, integers). query: 1 x heads x
    row x width; key and value the same with fewer heads. Returns 1 x row x heads x width, and no
    weights."""
    if attention_mask is None or attention_mask.dtype != torch.long:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    # Grouped-query attention: each head of key and value serves several of the query's.
    key, value = (repeat_kv(states, module.num_key_value_groups) for states in (key, value))
    attended, start = [], 0
    for prompt, chosen, rejected in attention_mask[0, 0].tolist():
        # Prompt and chosen reply are an ordinary sequence.
        first, last = slice(start, start + prompt + chosen), slice(start + prompt + chosen, start + prompt + chosen + rejected)
        attended.append(
            scaled_dot_product_attention(
                query[:, :, first], key[:, :, first], value[:, :, first], dropout_p=dropout, scale=scaling, is_causal=True
            )
        )
        # The rejected reply sees the prompt and itself up to each token, and skips the chosen reply
        # between them: rejected x (prompt + rejected), the diagonal shifted by the prompt.
        seen = torch.ones(rejected, prompt + rejected, dtype=torch.bool).tril(prompt)
        context = [torch.cat([states[:, :, start : start + prompt], states[:, :, last]], dim=2) for states in (key, value)]
        attended.append(
            scaled_dot_product_attention(query[:, :, last], *context, attn_mask=seen, dropout_p=dropout, scale=scaling)
        )
        start = last.stop
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
