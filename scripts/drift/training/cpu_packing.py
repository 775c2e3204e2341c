"""Pairs read in one go where there is no GPU: no padding, and the prompt once for both of its replies.

Prompt, chosen and rejected reply of every pair lie in one row; positions count on from the prompt in both replies, and the
rejected one does not see the chosen one. The hidden states are those of the two sequences apart, for a third fewer tokens where
prompts are as long as replies.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# Architectures whose layers attend to all that comes before, and whose tokens meet nowhere else.
_PLAIN = ("llama", "qwen2", "qwen3")

ATTENTION = "drift_pairs"


@dataclass
class Packed:
    """A batch of pairs as one row. `place` (sequences x length) tells where in the row a sequence's positions are."""

    inputs: dict[str, torch.Tensor]
    place: torch.Tensor


def prepare(model) -> bool:
    """Make `model` read what `pack` gives beside all else it reads. False where its architecture is not known for it."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windows = getattr(config, "sliding_window", None) is not None
    if config.model_type not in _PLAIN or kinds != {"full_attention"} or windows or config._attn_implementation != "sdpa":
        return False
    model.set_attn_implementation(ATTENTION)
    return True


def is_prepared(model) -> bool:
    """Whether `prepare` took `model`."""
    return model.config.get_text_config()._attn_implementation == ATTENTION


def hidden_states(base_model, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The hidden states that predict the replies' tokens, sequence by sequence (tokens x width), of a model that `prepare` took.
    The others as in `pack`."""
    packed = pack(input_ids, attention_mask, labels)
    hidden = base_model(**packed.inputs, use_cache=False).last_hidden_state[0]
    return hidden[packed.place[:, :-1][labels[:, 1:] != -100]]


def pack(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> Packed:
    """The trainer's batch (sequences x length: the chosen ones, then the rejected ones, padded on the right; labels of prompts
    and padding are -100) as one row. Raises ValueError where the two halves do not have the same prompts."""
    replies = (labels != -100).sum(1)
    prompts = attention_mask.sum(1) - replies
    pairs = len(input_ids) // 2
    ids, positions, runs, place, start = [], [], [], torch.zeros_like(input_ids), 0
    for one, other in zip(range(pairs), range(pairs, len(input_ids)), strict=True):
        prompt, chosen, rejected = int(prompts[one]), int(replies[one]), int(replies[other])
        if prompts[other] != prompt or not torch.equal(input_ids[one, :prompt], input_ids[other, :prompt]):
            raise ValueError("a chosen and a rejected sequence do not have the same prompt: this is no batch of pairs")
        ids += [input_ids[one, : prompt + chosen], input_ids[other, prompt : prompt + rejected]]
        places = torch.arange(prompt + chosen + rejected)
        positions += [places[: prompt + chosen], places[prompt : prompt + rejected]]
        place[one, : prompt + chosen] = start + places[: prompt + chosen]
        place[other, :prompt] = start + places[:prompt]
        place[other, prompt : prompt + rejected] = start + places[prompt + chosen :]
        runs.append([prompt, chosen, rejected])
        start += len(places)
    inputs = {
        "input_ids": torch.cat(ids)[None],
        "position_ids": torch.cat(positions)[None],
        # Four dimensions, since models hand such a mask on as it is.
        "attention_mask": torch.tensor(runs)[None, None],
    }
    return Packed(inputs, place)


def _attention(module, query, key, value, attention_mask, dropout: float = 0.0, scaling: float | None = None, **options):
    """transformers' attention, and that of `pack`: then `attention_mask` holds prompt, chosen and rejected lengths (1 x 1 x
    pairs x 3), the others are 1 x heads x tokens x width."""
    if attention_mask is None or attention_mask.dtype != torch.long:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    key, value = (repeat_kv(states, module.num_key_value_groups) for states in (key, value))
    attended, start = [], 0
    for prompt, chosen, rejected in attention_mask[0, 0].tolist():
        first, last = slice(start, start + prompt + chosen), slice(start + prompt + chosen, start + prompt + chosen + rejected)
        attended.append(
            scaled_dot_product_attention(
                query[:, :, first], key[:, :, first], value[:, :, first], dropout_p=dropout, scale=scaling, is_causal=True
            )
        )
        seen = torch.ones(rejected, prompt + rejected, dtype=torch.bool).tril(prompt)
        context = [torch.cat([states[:, :, start : start + prompt], states[:, :, last]], dim=2) for states in (key, value)]
        attended.append(
            scaled_dot_product_attention(query[:, :, last], *context, attn_mask=seen, dropout_p=dropout, scale=scaling)
        )
        start = last.stop
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
