"""The first screen: what the last policy is against the base model, and whether to believe it."""

import pytest

from drift.report.forest import Scale
from drift.report.verdict import verdicts
from tests.builders.run import CONFIG
from tests.unit.report.rows import compared, score

BETTER = {"difference": 0.1, "low": 0.05, "high": 0.15}


def found(*rows: dict, void=frozenset(), scores=()) -> list:
    return verdicts(list(scores), list(rows), CONFIG, void)


def test_a_policy_that_is_better_is_said_to_be_with_its_values():
    scores = [score("tiny", value=0.5), score("tiny", method="drift", iteration=2, value=0.6)]
    (verdict,) = found(compared(iteration=1), compared(iteration=2, **BETTER), scores=scores)
    assert verdict.sentence == "The last policy, drift iteration 2, is better than the base model on heldout (win rate +10.0)."
    (finding,) = verdict.findings
    assert (finding.base, finding.last, finding.result, finding.comparison.direction) == ("50.0%", "60.0%", "better", "good")
    assert not finding.declared


def test_what_was_lost_stands_beside_what_was_gained():
    worse = compared(iteration=2, benchmark="late")
    open_one = compared(iteration=2, metric="judge_score", p_fdr=0.5)
    (verdict,) = found(compared(iteration=2, **BETTER), worse, open_one)
    assert verdict.sentence == (
        "The last policy, drift iteration 2, is better than the base model on heldout (win rate +10.0) and worse than the base "
        "model on late (win rate \N{MINUS SIGN}3.1); on 1 other measure no difference can be claimed."
    )


def test_without_a_claim_the_page_says_that_none_can_be_made():
    (verdict,) = found(compared(iteration=2, p_fdr=0.2))
    assert verdict.sentence == "No difference can be claimed between the base model and drift iteration 2 on heldout."


def test_nothing_is_claimed_from_a_judge_whose_verdicts_mean_nothing():
    (verdict,) = found(compared(iteration=2, **BETTER), void={("heldout", "tiny")})
    assert verdict.sentence.endswith("cannot be judged: the verdicts of its judges mean nothing here.")
    assert (verdict.findings[0].result, verdict.findings[0].comparison.direction) == (
        "nothing: its judge's verdicts mean nothing here",
        "",
    )


@pytest.mark.parametrize(
    ("metric", "difference", "colour"),
    [
        ("win_rate", 0.1, "good"),
        ("rejected_logp_change", -0.1, "good"),
        ("cut_by_limit", 0.1, "bad"),
        ("response_tokens", 0.1, ""),
    ],
)
def test_the_colour_of_a_claimed_difference_is_that_of_what_is_better(metric, difference, colour):
    (verdict,) = found(
        compared(iteration=2, metric=metric, difference=difference, low=difference - 0.01, high=difference + 0.01)
    )
    assert verdict.findings[0].comparison.direction == colour
    assert verdict.findings[0].comparison.claimed


def test_the_warm_up_is_no_method_of_its_own():
    assert found(compared(method="warmup", iteration=0)) == []


def test_marks_of_a_scale_stand_in_proportion_around_zero():
    rows = [compared(difference=0.2, low=0.1, high=0.3), compared(difference=-0.1, low=-0.1, high=-0.1)]
    one, other = (Scale.of(rows).mark(row) for row in rows)
    assert other.low < one.zero == other.zero < one.low < one.middle < one.low + one.width
    assert one.width == pytest.approx(2 * (one.middle - one.low))
    assert (one.middle - one.zero) == pytest.approx(2 * (one.zero - other.middle))
    assert Scale.of(rows).mark(compared(difference=None)) is None
