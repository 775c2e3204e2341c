"""Ratings find the strengths that votes were drawn from, and say how many votes they are of."""

import numpy as np
import pytest

from drift.metrics import elo, resampling
from tests.builders.judgments import frame, score_of, tasks


def test_higher_score_wins_by_a_margin_and_a_far_longer_answer_draws():
    scores = np.array([[8.0, 6.0], [7.0, 6.0], [8.0, 2.0], [8.0, 2.0], [8.0, np.nan]])
    lengths = np.array([[10, 10], [10, 10], [2000, 10], [10, 0], [10, 10]])
    earned = elo.votes(scores, lengths)[:, 0, 1]
    assert earned[:3].tolist() == [1.0, 0.5, 0.5]
    assert np.isnan(earned[3:]).all(), "neither an empty answer nor one without a verdict has a vote"


def test_ratings_find_the_strengths_that_votes_were_drawn_from():
    random, strengths = np.random.default_rng(0), np.array([900.0, 1000.0, 1100.0])
    chance = 1 / (1 + 10 ** ((strengths - strengths[:, None]) / 400))
    earned = np.full((4000, 3, 3), np.nan)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        earned[:, a, b] = random.random(4000) < chance[a, b]
        earned[:, b, a] = 1 - earned[:, a, b]
    exact = elo.bradley_terry(earned, np.ones((1, 4000)))[0]
    assert exact == pytest.approx(strengths, abs=12)
    assert elo.sequential(earned, 1).mean(axis=0) == pytest.approx(strengths, abs=25)
    low, high = np.percentile(elo.bradley_terry(earned, resampling.resampled(4000, 200, 1))[:, 0], [2.5, 97.5])
    assert low < exact[0] < high
    assert 8 < high - low < 20


def test_policy_that_only_loses_keeps_a_finite_rating():
    earned = np.full((20, 2, 2), np.nan)
    earned[:, 0, 1], earned[:, 1, 0] = 1.0, 0.0
    ratings = elo.bradley_terry(earned, np.ones((1, 20)))[0]
    assert ratings[0] - ratings[1] == pytest.approx(400 * np.log10(20.5 / 0.5))


def test_policies_are_rated_by_the_tasks_that_both_were_scored_on():
    """Three tasks of which one policy has no score on the last: two votes, both won by the other
    one."""
    strong = frame([score_of(item, 9.0) for item in "abc"])
    weak = frame([score_of(item, 2.0) for item in "ab"])
    first, second = elo.ratings([strong, weak], tasks("a", "b", "c"), 50, 1)
    assert first["elo_bradley_terry"].n == second["elo_bradley_terry"].n == 2
    assert first["elo"].value > 1000 > second["elo"].value
    rating = first["elo_bradley_terry"]
    assert np.nanmin(rating.replicates) <= rating.value <= np.nanmax(rating.replicates)
    assert len(rating.replicates) == 50
    assert first["elo"].replicates is None, "its spread would be that of the order"


def test_run_without_two_scores_of_a_task_has_no_ratings():
    nothing = frame([score_of("a", 9.0)]), frame([score_of("b", 2.0)])
    assert elo.ratings(nothing, tasks("a", "b"), 50, 1) == [{}, {}]
