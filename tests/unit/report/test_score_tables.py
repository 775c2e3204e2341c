"""Scores and comparisons as the page shows them."""

from drift import tables
from drift.metrics import display
from drift.report import metric_labels
from drift.report.comparison_tables import comparison_tables, primary_table
from drift.report.score_tables import score_cell, score_tables
from tests.builders.run import CONFIG, evaluation
from tests.unit.report.rows import compared, score


def test_every_judge_has_columns_of_its_own():
    both = evaluation(
        judges={"huge": {"path": "hf:x/z@z"}},
        benchmarks={"heldout": {"kind": "heldout", "judge": ["tiny", "huge"]}},
    )
    rows = [score("huge", value=0.7), score("tiny"), score("", "response_tokens", value=100)]
    (table,) = score_tables(rows, CONFIG.model_copy(update={"evaluation": both}), {})
    assert [group.title for group in table.groups] == ["judged by tiny", "judged by huge", "answers"]
    assert [cell.text for cell in table.rows[0].cells] == ["50.0%", "5 of 6", "70.0%", "5 of 6", "100"]


def test_spread_of_several_samples_is_shown():
    (table,) = score_tables([score("tiny", samples=3, spread=0.02)], CONFIG, {})
    assert table.rows[0].cells[0].spread == "± 2.0% in 3 samples"
    margin = metric_labels.metric_named("margin")
    assert score_cell(score("tiny", "margin", samples=3, spread=0.02), margin, []).spread == "± 0.020 in 3 samples"


def test_score_that_is_not_defined_is_not_shown():
    (table,) = score_tables([score("tiny", value=None)], CONFIG, {})
    assert table.rows[0].cells[0] is None


def test_groups_and_references_are_details():
    rows = [score("tiny", "wb_score_task_macro", value=-3.14), score("tiny", "wb_score:Math & Data Analysis", value=20)]
    (table,) = score_tables(rows, CONFIG, {})
    assert [metric.label for metric in table.groups[0].metrics] == ["WB-Score, task-weighted"]
    assert table.rows[0].cells[0].text == display.minus("-3.1")
    assert [metric.label for metric in table.details.groups[0].metrics] == ["WB-Score: Math & Data Analysis"]
    assert [cell.text for cell in table.details.rows[0].cells] == ["20.0"], "details count no judged items"


def test_comparison_is_coloured_only_if_significant_after_the_correction():
    (table,) = comparison_tables([compared(), compared(p=0.02, p_fdr=0.2)], CONFIG)
    assert [(shown.difference, shown.direction, shown.p) for shown in table.rows] == [
        (display.minus("-3.1"), "bad", "< 0.001"),
        (display.minus("-3.1"), "", "0.020"),
    ]
    assert (table.significant, table.rows[0].interval) == (1, display.minus("-5.0 to -1.0"))


def declared(**columns) -> dict:
    row = {"method": "drift", "other_method": "spin", "other_iteration": 2, "iteration": 2, "against": "method"}
    return compared(**row | {"family": "primary", "p_fdr": None, "p_holm": 0.01} | columns)


def test_declared_comparison_says_who_is_better_or_that_nothing_can_be_claimed():
    rows = [
        declared(),
        declared(difference=0.031, low=0.01, high=0.05),
        declared(p_holm=0.06),
        declared(low=-0.05, high=0.001),
        declared(difference=None, low=None, high=None, p=None, p_holm=None),
    ]
    table = primary_table(rows, CONFIG)
    assert [row.claim for row in table.rows] == ["drift is worse", "drift is better", *["no difference can be claimed"] * 3]
    assert table.claimed == 2


def test_declared_comparisons_are_in_no_other_table_and_unmeasured_ones_are_named():
    assert comparison_tables([declared()], CONFIG) == []
    assert primary_table([declared()], CONFIG).missing == [
        "late: win_rate or length_controlled_win_rate or written_win_rate or judge_score"
    ]


def test_every_seed_s_score_is_below_their_mean():
    rows = [score("tiny", method="drift", iteration=1, seed=seed, value=0.5 + seed / 100) for seed in (0, 1, 2)]
    (table,) = score_tables(rows, CONFIG, {})
    ((cell, _),) = [row.cells for row in table.rows]
    assert (cell.text, cell.seeds) == ("50.0%", "seeds: 51.0%, 52.0%")


def test_every_metric_of_the_scores_has_a_name_in_the_report(home):
    scores = tables.read_table(tables.Scores, home / "results/demo/eval/scores.parquet")
    assert {metric.name for metric in metric_labels.in_order(set(scores["metric"]))} == set(scores["metric"])
    assert set(scores["metric"]) <= metric_labels.known().keys(), "each has a label"
