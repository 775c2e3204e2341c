"""Losses of our own against their formulas, written out, in fp64."""

import math

import pytest
import torch

from drift import plugins
from drift.config import ConfigError, load
from tests.builders.configurations import minimal, refusal

BETA, SMOOTHING = 0.3, 0.2
CONSISTENCY = [0.0, 0.25, 0.9, 1.0]
RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "plain"]}


def log_probabilities() -> list[torch.Tensor]:
    """log pi(y+), log pi(y-), and the same of the reference: four pairs, in fp64."""
    torch.manual_seed(3)
    return [(10 * torch.randn(4, dtype=torch.float64)).requires_grad_() for _ in range(4)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("name", "weights"), [("cream", [1 - c for c in CONSISTENCY]), ("conservative", [SMOOTHING] * 4)])
def test_loss_and_gradient_are_those_of_dpo_in_both_directions(name, weights):
    """CREAM: C l(s) + (1 - C) l(-s); conservative DPO: (1 - e) l(s) + e l(-s); l is -log sigma."""
    chosen, rejected, ref_chosen, ref_rejected = log_probabilities()
    margins = BETA * ((chosen - ref_chosen) - (rejected - ref_rejected))
    columns = {"consistency": torch.tensor(CONSISTENCY, dtype=torch.float64)}
    losses = plugins.load(plugins.LOSSES, name).losses(margins, columns, SMOOTHING)
    losses.sum().backward()
    for pair, opposite in enumerate(weights):
        s = BETA * ((chosen[pair] - ref_chosen[pair]) - (rejected[pair] - ref_rejected[pair])).item()
        expected = -(1 - opposite) * math.log(sigmoid(s)) - opposite * math.log(sigmoid(-s))
        assert losses[pair].item() == pytest.approx(expected, abs=1e-6)
        # d l(s) / d s = -sigma(-s), and s grows by beta with log pi(y+).
        slope = BETA * (-(1 - opposite) * sigmoid(-s) + opposite * sigmoid(s))
        assert chosen.grad[pair].item() == pytest.approx(slope, abs=1e-6)
        assert rejected.grad[pair].item() == pytest.approx(-slope, abs=1e-6)


def test_cream_without_a_second_ranking_is_dpo_and_large_margins_overflow_nothing():
    margins = torch.tensor([-1e4, -2.0, 0.0, 2.0, 1e4], dtype=torch.float64)
    nobody = {"consistency": torch.full((5,), math.nan, dtype=torch.float64)}
    losses = plugins.load(plugins.LOSSES, "cream").losses(margins, nobody, 0.0)
    assert losses.tolist() == pytest.approx([1e4, math.log1p(math.exp(2)), math.log(2), math.log1p(math.exp(-2)), 0.0])


def test_cream_weighs_pairs_that_two_rankings_were_compared_for():
    cream = {"training": {"losses": {"cream": 1.0}}}
    load(minimal(methods=["m"], recipes={"m": RANKED | {"rank": "likelihood"} | cream}))
    said = refusal(minimal(methods=["m"], recipes={"m": RANKED | {"rank": "self"} | cream}))
    assert "recipes.m.training.losses: cream weighs pairs by how far two rankings agree, which rank: likelihood alone" in said
    assert "training.losses: cream weighs pairs" in refusal(minimal(training={"losses": {"cream": 1.0}}))


def test_a_conservative_loss_says_how_many_labels_it_doubts():
    assert "conservative needs label_smoothing above 0" in refusal(minimal(training={"losses": {"conservative": 1.0}}))
    load(minimal(training={"losses": {"conservative": 1.0}, "label_smoothing": 0.1}))


def test_a_loss_that_nobody_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="there is no 'crem', did you mean 'cream'"):
        load(minimal(training={"losses": {"crem": 1.0}}))
