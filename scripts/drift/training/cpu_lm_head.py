"""The trainer's LM head where there is no GPU: only the replies' tokens are scored.

TRL's head projects every position, prompt and padding included, onto the whole vocabulary on
devices without Triton, and multiplies its gradients in fp32. On a CPU that costs more than the rest
of the model. The results are the same: the positions left out are those that the trainer masks.
Where drift.training.cpu_packing supports the model, it also reads the batch without padding, and
each prompt once for both of its replies.
"""

import functools
import types

import torch

from drift.training import cpu_packing

# Settings of models that transform their logits. These keep TRL's head, which applies them.
_SPECIAL = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")

# Positions at once: bounds the logits in memory, positions x vocabulary (256 x 49,152 in fp32: 50
# MB). They are recomputed in the backward pass.
CHUNK = 256


def score_replies_only(model, *, pairs: bool = True) -> None:
    """Replace the head that the trainer gave `model`, which is called as
    `model(..., labels=..., fused_lm_head=True)` on batches of pairs, or without `pairs` on any
    others. Models that bias, scale or cap their logits keep it, and mixtures of experts, whose loss
    it balances.
    """
    # Imported here as it takes a second, and single pairs are scored without it.
    from trl.trainer.utils import FusedCausalLMOutput

    config = model.config.get_text_config()
    if model.get_output_embeddings().bias is not None or any(getattr(config, name, None) is not None for name in _SPECIAL):
        return
    if hasattr(config, "output_router_logits"):  # as TRL tells them
        return
    with_full_head = model.forward
    packs = pairs and cpu_packing.prepare(model)

    @functools.wraps(type(model).forward)
    def forward(self, *args, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **options):
        if not fused_lm_head:
            return with_full_head(*args, labels=labels, **options)
        # Position t predicts token t+1: targets and `scored` are sequences x (length - 1).
        targets = labels[:, 1:]
        scored = targets != -100
        # Hidden states of the positions that predict a reply's token, sequence by sequence: tokens
        # x width.
        if packs:
            hidden = cpu_packing.hidden_states(self.base_model, options["input_ids"], options["attention_mask"], labels)
        else:
            hidden = self.base_model(*args, **options | {"use_cache": False}).last_hidden_state[:, :-1][scored]
        scores = TokenScores.apply(hidden, self.get_output_embeddings().weight, targets[scored])
        # Back into sequences x (length - 1), zero where nothing is scored. masked_scatter fills row
        # by row, which is the order of the tokens above.
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
    """Log-probability of each target, and what the trainer logs without gradient: entropy, mean
    logit, whether the target is the argmax. hidden: tokens x width, weight: vocabulary x width,
    targets: tokens.

    The gradient is written out, as that of a log-probability needs the probabilities alone:
    autograd would keep the logits and pass over them three times as often.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        ctx.dtypes = hidden.dtype, weight.dtype
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
            # The backward pass runs without autocast: cast once here, it recomputes the same
            # logits.
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        parts = [_scores(*chunk, weight) for chunk in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)]
        log_probs, normaliser, entropy, mean_logits, is_top1 = (torch.cat(part) for part in zip(*parts, strict=True))
        # One number a token instead of a row of logits: enough to recompute the probabilities.
        ctx.save_for_backward(hidden, weight, targets, normaliser)
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx, gradient, *_):
        hidden, weight, targets, normaliser = ctx.saved_tensors
        # fp32, as the parts of all chunks are added up in it.
        hidden_gradients, weight_gradient = [], torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        chunks = zip(*(whole.split(CHUNK) for whole in (hidden, targets, normaliser, gradient)), strict=True)
        for part, target, log_sum, slope in chunks:
            # d log p(target) / d logits = onehot(target) - p, times the slope of the loss in log
            # p(target). In place, as it is chunk x vocabulary: logits, then p, then -slope p, then
            # the onehot's entry.
            logits = torch.nn.functional.linear(part, weight).float()
            logit_gradient = logits.sub_(log_sum[:, None]).exp_().mul_(-slope[:, None])
            logit_gradient.scatter_add_(1, target[:, None], slope[:, None].float())
            logit_gradient = logit_gradient.to(weight.dtype)
            hidden_gradients.append(logit_gradient @ weight)  # chunk x width
            weight_gradient += logit_gradient.t() @ part  # vocabulary x width
        hidden_dtype, weight_dtype = ctx.dtypes
        return torch.cat(hidden_gradients).to(hidden_dtype), weight_gradient.to(weight_dtype), None


def _scores(hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of each token: log-probability of its target, the log-sum-exp of its logits, entropy, mean
    logit, whether the target is the argmax. Shapes as in TokenScores, results: tokens."""
    logits = torch.nn.functional.linear(hidden, weight)  # tokens x vocabulary
    target_logit = logits.gather(1, targets[:, None]).float()
    is_top1 = logits.argmax(1) == targets
    log_p = logits.float().log_softmax(1)
    log_prob = log_p.gather(1, targets[:, None])
    # log p = logit - log-sum-exp, so that one is known from the other two; likewise the mean logit.
    normaliser = target_logit - log_prob
    mean_logits = log_p.mean(1) + normaliser[:, 0]
    entropy = -torch.linalg.vecdot(log_p.exp(), log_p)
    return log_prob[:, 0], normaliser[:, 0], entropy, mean_logits, is_top1
