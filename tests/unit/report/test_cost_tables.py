"""Tokens, time and memory as the page shows them."""

import pytest

from drift.report import metric_labels
from drift.report.cost_tables import CostTable, cost_table, policy_costs
from drift.report.timings import read_timings
from tests.builders.run import CONFIG


def test_cost_allows_for_what_snakemake_could_not_measure(home):
    cost = cost_table(read_timings(home / "results/demo/timings"))
    assert [(row.rule, row.jobs, row.memory) for row in cost.rules] == [("generate", 1, None), ("train", 1, 2048.0)]
    assert (cost.total.seconds, cost.total.cpu) == (3712.5, 30.0)
    assert cost_table([]) == CostTable([], None)


def test_tokens_of_a_policy(catalog):
    costs = {(cost.policy.method, cost.policy.iteration): cost for cost in policy_costs(catalog, CONFIG)}
    drift = costs["drift", 1]
    assert (drift.read, drift.written) == (18 * 120, 18 * 80)
    assert drift.evaluated == 6 * 3 * 107, "an answer and two verdicts for each of six tasks"
    assert drift.trained == drift.pairs * (2 * 3 + 40 + 50)
    assert (drift.steps_done, drift.seconds) == (4, 300.0)
    assert costs["base", -1].pairs is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"), (90061, "25 h 01 min")]
)
def test_durations(seconds, text):
    assert metric_labels.duration(seconds) == text
