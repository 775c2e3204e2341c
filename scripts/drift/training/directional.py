"""How fast replies become likelier as the weights of a policy move in a direction: the products of
the gradients of their log-probabilities with it.

The direction is kept in the weights' `.grad`, so that it takes the memory of one model beside the
policy itself, and each reply one backward pass.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from drift.progress import Progress
from drift.training.logps import PairTokens, load, pair_logps, reply_logp


def towards_policy(model, folder: Path, remainder_folder: Path | None) -> None:
    """Let `.grad` of a policy be the way from it to another one, stored in `folder` with its
    remainder: the update that makes the latter of the former."""
    other = load(folder, remainder_folder, number=1)
    for parameter, moved in zip(model.parameters(), other.parameters(), strict=True):
        # In place: the direction takes the memory of the other policy.
        parameter.grad = moved.detach().to(parameter.device).sub_(parameter.detach())


def towards_pairs(model, rows: list[PairTokens]) -> None:
    """Let `.grad` of a policy be the mean over pairs of d = grad log pi(y+|x) - grad log pi(y-|x):
    where a small step on their margins goes."""
    model.zero_grad(set_to_none=True)
    for row in Progress(rows, desc="gradients", unit="pair"):
        chosen, rejected = pair_logps(model, row)
        ((chosen - rejected) / len(rows)).backward()


def derivatives(model, replies: list[tuple[list[int], list[int]]], temperature: float) -> list[float]:
    """Of each reply the derivative of log pi(reply|prompt) along `.grad`, which stays as it is; pi
    is the policy sampled at `temperature`. `replies`: the token ids of prompt and reply."""
    found: list[torch.Tensor] = []

    def multiply(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        found.append((gradient * parameter.grad).float().sum(dtype=torch.float64))
        return torch.zeros_like(gradient)  # .grad stays the direction

    hooks = [parameter.register_hook(partial(multiply, parameter)) for parameter in _moving(model)]
    products = []
    for prompt, reply in Progress(replies, desc="derivatives", unit="reply"):
        found.clear()
        reply_logp(model, prompt, reply, temperature).backward()
        products.append(torch.stack(found).sum().item())
    for handle in hooks:
        handle.remove()
    return products


def _moving(model) -> Iterator[torch.nn.Parameter]:
    """The weights that the direction moves."""
    return (parameter for parameter in model.parameters() if parameter.grad is not None)
