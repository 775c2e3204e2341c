"""The trainer's LM head where there is no GPU: only the replies' tokens are scored.

TRL's head projects every position, prompt and padding included, onto the whole vocabulary on devices without Triton, and
multiplies its gradients in fp32. On a CPU that costs more than the rest of the model. The figures are the same: the positions
left out are the ones that the trainer masks. What is scored is read without padding, and each prompt once for both of its
replies, where drift.training.cpu_packing knows how.
"""

import functools
import types

import torch

from drift.training import cpu_packing

# What some models do to their logits. Theirs is left to TRL's head, which knows how.
_SPECIAL = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")

# Positions at once: bounds the logits, of positions x vocabulary, in memory. They are made again in the backward pass.
CHUNK = 256


def score_replies_only(model) -> None:
    """Replace the head that the trainer gave `model`: `model(..., labels=..., fused_lm_head=True)`, for batches of pairs.

    Models that bias, scale or cap their logits keep it.
    """
    # Only here: it takes a second to import, and single pairs are scored without it.
    from trl.trainer.utils import FusedCausalLMOutput

    config = model.config.get_text_config()
    if model.get_output_embeddings().bias is not None or any(getattr(config, name, None) is not None for name in _SPECIAL):
        return
    with_full_head = model.forward
    packs = cpu_packing.prepare(model)

    @functools.wraps(type(model).forward)
    def forward(self, *args, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **options):
        if not fused_lm_head:
            return with_full_head(*args, labels=labels, **options)
        targets = labels[:, 1:]
        scored = targets != -100
        if packs:
            hidden = cpu_packing.hidden_states(self.base_model, options["input_ids"], options["attention_mask"], labels)
        else:
            hidden = self.base_model(*args, **options | {"use_cache": False}).last_hidden_state[:, :-1][scored]
        scores = TokenScores.apply(hidden, self.get_output_embeddings().weight, targets[scored])
        log_probs, entropy, mean_logits, is_top1 = (
            part.new_zeros(targets.shape).masked_scatter(scored, part) for part in scores
        )
        return FusedCausalLMOutput(
            loss=-log_probs.sum() / scored.sum().clamp(min=1),
            log_probs=log_probs,
            entropy=entropy,
            mean_logits=mean_logits,
            is_top1=is_top1,
            label_mask=scored,
        )

    model.forward = types.MethodType(forward, model)


class TokenScores(torch.autograd.Function):
    """Log-probability of each target, and what the trainer logs without gradient: entropy, mean logit, whether the target is
    the argmax. hidden (tokens x width), weight (vocabulary x width), targets (tokens).

    Written out, as the gradient of a log-probability needs the probabilities alone, and not what they were made of: a third of
    the passes over the logits.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        ctx.dtypes = hidden.dtype, weight.dtype
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        parts = [_scores(*chunk, weight) for chunk in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)]
        log_probs, normaliser, entropy, mean_logits, is_top1 = (torch.cat(part) for part in zip(*parts, strict=True))
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx, gradient, *_):
        hidden, weight, targets, normaliser = ctx.saved_tensors
        of_hidden, of_weight = [], torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        for part, aims, norm, slope in zip(
            *(whole.split(CHUNK) for whole in (hidden, targets, normaliser, gradient)), strict=True
        ):
            # d log p(target) / d logits = onehot(target) - p
            logits = torch.nn.functional.linear(part, weight).float()
            of_logits = logits.sub_(norm[:, None]).exp_().mul_(-slope[:, None])
            of_logits.scatter_add_(1, aims[:, None], slope[:, None].float())
            of_logits = of_logits.to(weight.dtype)
            of_hidden.append(of_logits @ weight)
            of_weight += of_logits.t() @ part
        hidden_dtype, weight_dtype = ctx.dtypes
        return torch.cat(of_hidden).to(hidden_dtype), of_weight.to(weight_dtype), None


def _scores(hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of each token: log-probability of its target, the logarithm that normalises its logits, entropy, mean logit, whether the
    target is the argmax."""
    logits = torch.nn.functional.linear(hidden, weight)
    aim = logits.gather(1, targets[:, None]).float()
    is_top1 = logits.argmax(1) == targets
    table = logits.float().log_softmax(1)
    log_prob = table.gather(1, targets[:, None])
    normaliser = aim - log_prob
    mean_logits = table.mean(1) + normaliser[:, 0]
    entropy = -torch.linalg.vecdot(table.exp(), table)
    return log_prob[:, 0], normaliser[:, 0], entropy, mean_logits, is_top1
