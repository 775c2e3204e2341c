"""Log-probabilities of replies under a policy, one sequence at a time."""

from collections.abc import Iterable

import torch


@torch.no_grad()
def reply_logp(model, prompt: list[int], reply: list[int]) -> float:
    """log pi(reply | prompt): the sum over the reply's tokens of their log-probabilities (natural logarithm).

    Sequences go through alone: nothing is padded, so a figure does not depend on what it was batched with. Logits are made
    for the reply's positions only and summed in fp32.
    """
    ids = torch.tensor([prompt + reply], device=model.device)
    # The logits at position t predict token t+1: the last prompt token's and all of the reply's but its last.
    logits = model(ids, logits_to_keep=len(reply) + 1).logits[0, :-1].float()
    targets = ids[0, -len(reply) :]
    return (logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)).sum().item()


def pair_logps(model, rows: Iterable[dict]) -> list[tuple[float, float]]:
    """(log pi(chosen | prompt), log pi(rejected | prompt)) of each row of `prompt_ids`, `chosen_ids`, `rejected_ids`."""
    model.eval()
    return [
        (reply_logp(model, row["prompt_ids"], row["chosen_ids"]), reply_logp(model, row["prompt_ids"], row["rejected_ids"]))
        for row in rows
    ]
