"""A policy that lost its words is named before any score, marked in the scores, and drawn."""

import shutil

import pytest

from drift import tables
from drift.config import Config
from drift.report.curves import behaviour_charts
from drift.report.metric_labels import LENGTH, VARIETY
from drift.report.policy_behaviour import (
    COLUMNS,
    behaviour_rows,
    behaviour_table,
    length_points,
    marked,
    notices,
    on_prompt_points,
    variety_points,
)
from tests.builders.policies import behaviour
from tests.builders.run import CONFIG, build_catalog, render_page
from tests.builders.texts import write

FAILED = {"passed": False, "stops": True}


def row(measure: str = "tokens_median", value: float = 30.0, **columns) -> dict:
    """A row of the view."""
    policy = {"model": "qwen-0.5b", "method": "drift", "iteration": 2, "seed": 42}
    return policy | {"high": None} | behaviour(measure, value, **columns)


def said(*rows: dict, config: Config = CONFIG) -> list[tuple[str, str]]:
    return [(notice.kind, notice.text) for notice in notices(list(rows), config)]


def test_policies_within_their_limits_are_a_line(catalog):
    assert said(*behaviour_rows(catalog, CONFIG)) == [
        ("fine", "All 5 trained policies write within the limits of training.behaviour.")
    ]
    assert said() == [], "nothing was compared"


def test_a_policy_that_lost_its_words_is_named_with_both_lengths():
    short = row(value=6.0, base=55.0, low=24.75, **FAILED)
    assert said(row("empty"), short) == [
        (
            "failure",
            "drift iteration 2 writes 6 tokens where the base model writes 55 (median; limit: at least 24.8): do not use it.",
        )
    ]
    ((_, text),) = said(short, row("tokens_p25", **FAILED), row("ended", **FAILED))
    assert text.endswith("at least 24.8), and is outside 2 other limits: do not use it.")
    ((_, long),) = said(row(value=90.0, base=30.0, low=15.0, high=60.0, **FAILED))
    assert "writes 90 tokens where the base model writes 30 (median; limit: at most 60)" in long


def test_another_fault_is_told_by_its_measure_and_a_warm_up_by_its_name():
    warmup = {"method": "warmup", "iteration": 0, "seed": 0}
    assert said(row("identical", **FAILED) | warmup) == [
        ("failure", "the warm-up is outside a limit: identical: 30.0: do not use it.")
    ]


def test_the_seed_is_named_where_there_are_several():
    several = CONFIG.model_copy(update={"seeds": [1, 42]})
    ((_, text),) = said(row(low=40.0, **FAILED), config=several)
    assert text.startswith("drift iteration 2 (seed 42) writes 30 tokens")


def test_too_few_answers_are_a_line_with_their_number():
    ((kind, text),) = said(row(passed=None, n=8))
    assert (kind, text) == (
        "note",
        "8 answers are too few to say whether a policy collapsed (training.behaviour.min_replies: 30).",
    )


def test_a_policy_is_marked_in_the_scores_whichever_seed_failed():
    assert marked([row(), row("ended", seed=7, **FAILED) | {"seed": 7}]) == {("qwen-0.5b", "drift", 2)}


def test_the_table_shows_each_measure_with_those_of_the_others_and_the_lengths_of_the_pairs(catalog):
    shown = behaviour_table(behaviour_rows(catalog, CONFIG), catalog)
    assert [(one.policy.method, one.policy.iteration) for one in shown][:2] == [("warmup", 0), ("drift", 1)]
    cells = dict(zip([column.measure for column in COLUMNS], shown[0].cells, strict=True))
    assert (cells["ended"].value, cells["ended"].others, cells["ended"].failed) == ("50.0%", "50.0%, 100.0%", False)
    assert shown[0].longer == "\N{MINUS SIGN}10.0"


def test_lengths_begin_at_the_base_model_and_variety_is_a_share_of_its(catalog):
    points = {(one["method"], one["iteration"], one["seed"]): one for one in length_points(catalog, CONFIG)}
    assert points["base", -1, 0]["value"] == 1.0
    assert (points["drift", 2, 0]["value"], points["drift", 2, 42]["low"]) == (0.5, 0.5)
    assert {one["value"] for one in variety_points(catalog, CONFIG)} == {0.5}
    on_prompt = {(one["method"], one["iteration"]): one["value"] for one in on_prompt_points(catalog, CONFIG)}
    assert (on_prompt["base", -1], on_prompt["drift", 2]) == (1.0, 0.5)
    measured = [(LENGTH, list(points.values())), (VARIETY, variety_points(catalog, CONFIG))]
    charts = behaviour_charts("qwen-0.5b", measured, CONFIG, {})
    assert [chart.title for chart in charts] == ["Length of answers", "Variety of words"]


@pytest.fixture
def collapsed_page(home, tmp_path):
    """The page of a run whose last policy of spin writes two tokens."""
    shutil.copytree(home / "results", tmp_path / "results")
    rows = [behaviour("tokens_median", 2.0, base=55.0, low=24.75, **FAILED)]
    rows += [behaviour(column.measure, 0.5) for column in COLUMNS if column.measure != "tokens_median"]
    write(rows, tables.Behaviour, tmp_path / "results/demo/qwen-0.5b/spin/seed42/iter2/behaviour.parquet")
    build_catalog(tmp_path)
    return " ".join(render_page(tmp_path).split())


def test_the_page_of_a_run_whose_last_policy_collapsed_says_so_before_any_number(collapsed_page, page):
    notice = (
        '<li class="notice failure"><strong>Fault · Behaviour.</strong> spin iteration 2 writes 2 tokens where the base model'
    )
    assert collapsed_page.index(notice) < collapsed_page.index('id="scores"')
    scores = collapsed_page[collapsed_page.index('id="scores"') : collapsed_page.index('id="judges"')]
    assert 'spin <span class="muted">iteration 2</span> <a class="bad" href="#behaviour">outside limits</a>' in scores
    assert "iteration 1</span> <a" not in scores
    assert '<strong class="bad">2</strong>' in collapsed_page
    assert "outside limits</a>" not in page
