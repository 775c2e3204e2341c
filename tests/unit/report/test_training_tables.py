"""Quality of the pairs, and what each iteration did."""

from drift.config import Config
from drift.report.curves import quality_charts
from drift.report.notices import quality_notices
from drift.report.reading import Policy
from drift.report.training_tables import cautions, diagnostics_table, pair_quality, quality_table
from tests.builders.run import CONFIG, evaluation

TRUSTED = CONFIG.model_copy(update={"evaluation": evaluation(trusted=True)})


def rated(**columns) -> dict:
    """A row of the view of pair qualities."""
    policy = {"model": "qwen-0.5b", "method": "drift", "iteration": 1, "seed": 1, "rater": "tiny"}
    return policy | {"value": 0.4, "low": 0.3, "high": 0.48, "ties": 0.0, "n": 64, "total": 64} | columns


def test_the_quality_of_the_pairs_is_a_row_a_policy_with_its_interval(catalog):
    rows = quality_table(pair_quality(catalog, CONFIG))
    assert [(row.policy.method, row.policy.iteration) for row in rows] == [
        ("warmup", 0),
        ("drift", 1),
        ("drift", 2),
        ("spin", 1),
        ("spin", 2),
    ]
    assert {(row.rater, row.value, row.interval, row.ties) for row in rows} == {("tiny", "62.5%", "50.0 to 75.0", "12.5%")}
    assert all(row.total == row.n + 1 for row in rows)


def test_a_rater_of_an_earlier_configuration_is_not_shown(catalog):
    values = CONFIG.model_dump(mode="json")
    values["training"]["pair_quality"]["pairs"] = 0
    assert pair_quality(catalog, Config.model_validate(values)) == []


def test_pairs_that_teach_the_worse_reply_are_warned_of():
    (notice,) = quality_notices([rated()], TRUSTED)
    assert notice.kind == "warning"
    assert notice.text.startswith(
        "tiny finds y+ better than y- in only 40.0% of the pairs of drift iteration 1 (95% interval 30.0 to 48.0, 64"
    )
    assert quality_notices([rated(high=0.52)], TRUSTED) == [], "it may be chance"
    assert quality_notices([rated(value=None, low=None, high=None, n=0)], TRUSTED) == []
    assert quality_notices([rated()], CONFIG) == [], "the judge is not trusted"


def test_every_rater_has_a_curve_of_its_own():
    charts = quality_charts([rated(), rated(iteration=2), rated(rater="rewards")], CONFIG, {})
    assert [chart.title for chart in charts] == ["y+ beats y\N{MINUS SIGN} · tiny", "y+ beats y\N{MINUS SIGN} · rewards"]


def test_the_common_gradient_is_shown_with_its_interval_and_may_be_below_zero(catalog):
    table = diagnostics_table(catalog, CONFIG)
    place = [column.metric for column in table.columns].index("mean_gradient_norm_squared")
    assert {(cells[place].text, cells[place].interval) for _, cells in table.rows} == {
        ("\N{MINUS SIGN}0.004", "\N{MINUS SIGN}0.01 to 0.002")
    }
    assert len(table.rows) == 5
    (caution,) = table.cautions
    assert caution.startswith("Gradients were measured on as few as 2 pairs. Below 32")


def test_gradients_of_different_numbers_of_pairs_are_pointed_out():
    policies = [Policy("m", "drift", 1, 1), Policy("m", "spin", 1, 1)]
    (caution,) = cautions(dict(zip(policies, (64, 40), strict=True)), CONFIG)
    assert "different numbers of pairs (drift iteration 1: 64, spin iteration 1: 40)" in caution
    assert cautions(dict.fromkeys(policies, 32), CONFIG) == cautions({}, CONFIG) == []


def test_the_page_says_what_lemma_1_shows(page):
    text = " ".join(page.split())
    assert "the bound at 0.5 equals that norm, whatever the method is" in text
    assert "62.5%" in page
