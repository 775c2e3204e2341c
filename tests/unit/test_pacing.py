"""Which pairs an iteration is trained on, from easy to hard."""

import pytest

from drift.settings.training import PaceSettings
from drift.training.gates import Gates
from drift.training.pacing import paced
from tests.builders.configurations import minimal, refusal

# Of ten pairs: log pi(y+) and log pi(y-) of the reference, whose replies have 10 and 20 tokens. The
# mean log-probabilities are 0.0, 0.1, ... 0.9 apart, on either side.
ROWS = [{"pair_id": f"p{n}", "prompt_ids": [1], "chosen_ids": [1] * 10, "rejected_ids": [1] * 20} for n in range(10)]
LOGPS = {f"p{n}": (-10.0 + n * (-1) ** n, -20.0) for n in range(10)}


def kept(order: str, share: float, seed: int = 1) -> list[str]:
    return [row["pair_id"] for row in paced(Gates(), ROWS, LOGPS, PaceSettings(order=order, share=share, seed=seed))]


def test_easy_pairs_are_those_that_the_reference_tells_apart_and_hard_ones_the_others():
    assert kept("easy", 0.3) == ["p7", "p8", "p9"]
    assert kept("hard", 0.3) == ["p0", "p1", "p2"]
    assert kept("easy", 1.0) == kept("hard", 1.0) == [row["pair_id"] for row in ROWS], "the order of training is another matter"
    assert kept("hard", 0.01) == ["p0"], "never none"


def test_the_control_takes_as_many_at_random_and_a_larger_share_adds_to_a_smaller_one():
    some, more = kept("random", 0.4), kept("random", 0.7)
    assert len(some) == len(kept("easy", 0.4)) == 4
    assert set(some) < set(more)
    assert some not in (kept("easy", 0.4), kept("hard", 0.4))
    assert kept("random", 0.4, seed=2) != some


def test_without_a_pace_all_pairs_are_trained_on_and_with_one_the_gates_say_how_many():
    assert paced(Gates(), ROWS, LOGPS, None) == ROWS
    gates = Gates()
    paced(gates, ROWS, LOGPS, PaceSettings(order="easy", share=0.5, seed=1))
    assert [(row["gate"], row["detail"]) for row in gates.results] == [("pace", "5 of 10 pairs, easy")]


@pytest.mark.parametrize("shares", [[], [0.0], [1.5]])
def test_a_pace_without_pairs_is_refused(shares):
    assert "training.pacing.shares" in refusal(minimal(training={"pacing": {"order": "easy", "shares": shares}}))
