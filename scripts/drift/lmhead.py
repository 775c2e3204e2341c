"""The trainer's LM head where there is no GPU: only the replies' tokens are scored.

TRL's head projects every position, prompt and padding included, onto the whole vocabulary on devices without Triton, and
multiplies its gradients in fp32. On a CPU that costs more than the rest of the model. The figures are the same: the positions
left out are the ones that the trainer masks.
"""

import functools
import types

import torch
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

# What some models do to their logits. Theirs is left to TRL's head, which knows how.
_SPECIAL = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")

# Positions at once: bounds the logits, of positions x vocabulary, in memory. They are made again in the backward pass.
CHUNK = 512


def score_replies_only(model) -> None:
    """Replace the head that the trainer gave `model`: `model(..., labels=..., fused_lm_head=True)`.

    Models that bias, scale or cap their logits keep it.
    """
    config = model.config.get_text_config()
    if model.get_output_embeddings().bias is not None or any(getattr(config, name, None) is not None for name in _SPECIAL):
        return
    with_full_head = model.forward

    @functools.wraps(type(model).forward)
    def forward(self, *args, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **options):
        if not fused_lm_head:
            return with_full_head(*args, labels=labels, **options)
        hidden = self.base_model(*args, **options | {"use_cache": False}).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        scored = targets != -100
        weight = self.get_output_embeddings().weight
        chunks = [
            checkpoint(_token_scores, *chunk, weight, use_reentrant=False)
            for chunk in zip(hidden[scored].split(CHUNK), targets[scored].split(CHUNK), strict=True)
        ]
        spread = [
            part.new_zeros(targets.shape).masked_scatter(scored, part)
            for part in (torch.cat(parts) for parts in zip(*chunks, strict=True))
        ]
        log_probs, entropy, mean_logits, is_top1 = spread
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / scored.sum().clamp(min=1),
            log_probs=log_probs,
            entropy=entropy,
            mean_logits=mean_logits,
            is_top1=is_top1,
            label_mask=scored,
        )

    model.forward = types.MethodType(forward, model)


def _token_scores(hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Log-probability of each target, and what the trainer logs: entropy, mean logit, whether the target is the argmax."""
    logits = torch.nn.functional.linear(hidden, weight).float()
    log_probs = logits.log_softmax(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        mean_logits = logits.mean(-1)
        is_top1 = logits.argmax(-1) == targets
    return log_probs.gather(1, targets[:, None])[:, 0], entropy, mean_logits, is_top1
