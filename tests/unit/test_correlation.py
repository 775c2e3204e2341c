"""Measures of agreement are their definitions, on small figures and on published ones."""

import itertools
import math
import tracemalloc

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.metrics import correlation
from tests.builders.judging import PUBLISHED

GOLDEN = PUBLISHED / "golden/wildbench"

figures = st.lists(st.integers(1, 10), min_size=2, max_size=12)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_kappa_is_its_definition_over_the_table_of_both_raters(data):
    x = np.array(data.draw(figures))
    y = np.array(data.draw(st.lists(st.integers(1, 10), min_size=len(x), max_size=len(x))))
    levels = range(1, 11)
    for quadratic in (False, True):
        observed = expected = 0.0
        for a, b in itertools.product(levels, levels):
            weight = (a - b) ** 2 if quadratic else float(a != b)
            observed += weight * np.mean((x == a) & (y == b))
            expected += weight * np.mean(x == a) * np.mean(y == b)
        kappa = correlation.kappa(x, y, quadratic=quadratic)
        assert math.isnan(kappa) if expected == 0 else kappa == pytest.approx(1 - observed / expected)


@pytest.mark.parametrize("quadratic", [False, True])
def test_kappa_of_many_items_takes_no_more_memory_than_their_classes_need(quadratic):
    """It is computed once a resample: a table of all items against all took hours and gigabytes."""
    x, y = np.random.default_rng(0).integers(1, 11, size=(2, 4000)).astype(np.float64)
    tracemalloc.start()
    correlation.kappa(x, y, quadratic=quadratic)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * x.nbytes


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_kendalls_tau_counts_pairs_of_pairs(data):
    x = data.draw(figures)
    y = data.draw(st.lists(st.integers(1, 10), min_size=len(x), max_size=len(x)))
    concordant = discordant = untied_x = untied_y = 0
    for (a, b), (c, d) in itertools.combinations(zip(x, y, strict=True), 2):
        product = (a - c) * (b - d)
        concordant, discordant = concordant + (product > 0), discordant + (product < 0)
        untied_x, untied_y = untied_x + (a != c), untied_y + (b != d)
    tau = correlation.kendall(np.array(x, dtype=float), np.array(y, dtype=float))
    if untied_x and untied_y:
        assert tau == pytest.approx((concordant - discordant) / math.sqrt(untied_x * untied_y))
    else:
        assert math.isnan(tau)


def test_ranks_ignore_the_scale_and_share_ties():
    x = np.array([1.0, 2.0, 2.0, 10.0])
    assert correlation.spearman(x, np.exp(x)) == pytest.approx(1.0)
    assert correlation.spearman(x, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.9486833)
    assert math.isnan(correlation.pearson(x, np.ones(4)))


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published WildBench scores are not on this machine")
def test_two_published_judges_agree_as_far_as_was_measured_of_them():
    """gpt-4o and gpt-4-turbo on the same WildBench answers: Pearson 0.76 to 0.89, quadratic kappa
    0.69 to 0.85."""
    rows = pl.read_csv(GOLDEN / "scores.csv.gz").filter(version="v2.0522").drop_nulls("score")
    both = rows.filter(pl.col("judge").str.starts_with("gpt-4o")).join(
        rows.filter(pl.col("judge").str.starts_with("gpt-4-turbo")), on=["model", "session_id"]
    )
    models = both["model"].unique().to_list()
    assert len(models) >= 2
    for model in models:
        rows_of_model = both.filter(model=model)
        x, y = (rows_of_model[name].to_numpy().astype(float) for name in ("score", "score_right"))
        assert len(x) > 1000
        assert 0.755 < correlation.pearson(x, y) < 0.895, model
        assert 0.685 < correlation.kappa(x, y, quadratic=True) < 0.855, model
