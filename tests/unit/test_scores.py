"""Scores of judgments, answers and log-probabilities whose right values are known; ledgers that do not add up are refused."""

import re

import polars as pl
import pytest

import ledger
import scores
from drift import cli, tables
from tests.unit.test_report import build_results, policies, python

BOOTSTRAP = scores.Bootstrap(100, 1)


def judged(*rows: tuple[str, str, float]) -> pl.DataFrame:
    made = [
        {"request_id": f"{item}#judge-{order}-{at}", "prompt_id": item, "order": order, "preference": preference, "mass": 0.5}
        for at, (item, order, preference) in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=tables.Judgments.create_empty().schema)


def logps(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["pair_id", "chosen_logp", "rejected_logp"], orient="row")


def values(rows: list[dict]) -> dict:
    return {row["metric"]: row["value"] for row in rows}


def test_win_rate_averages_the_orders_and_flips_are_counted():
    items = scores.by_item(
        judged(("a", "AB", 0.9), ("a", "BA", 0.2), ("b", "AB", 0.6), ("b", "BA", 0.7), ("c", "AB", 0.1), ("c", "BA", 0.3))
    )
    rows = scores.judged_scores(items, None, BOOTSTRAP, "tiny")
    assert values(rows) == pytest.approx(
        {"win_rate": (0.55 + 0.65 + 0.2) / 3, "position_flip_rate": 1 / 3, "verdict_mass": 0.5}
    )
    assert {row["judge"] for row in rows} == {"tiny"}
    assert {row["n"] for row in rows} == {3}


def test_judge_that_always_prefers_the_first_answer_is_worth_a_draw():
    items = scores.by_item(judged(*[(item, order, float(order == "AB")) for item in "abcd" for order in ("AB", "BA")]))
    found = values(scores.judged_scores(items, None, BOOTSTRAP, "tiny"))
    assert (found["win_rate"], found["position_flip_rate"]) == (0.5, 1.0)


def test_item_seen_in_one_order_does_not_count():
    assert scores.by_item(judged(("a", "AB", 1.0), ("b", "AB", 0.4), ("b", "BA", 0.4)))["prompt_id"].to_list() == ["b"]


def test_gain_is_measured_on_the_same_items():
    items = scores.by_item(judged(("a", "AB", 0.8), ("a", "BA", 0.8), ("b", "AB", 0.2), ("b", "BA", 0.2)))
    base = scores.by_item(judged(("a", "AB", 0.7), ("a", "BA", 0.7), ("c", "AB", 0.0), ("c", "BA", 0.0)))
    gain = scores.judged_scores(items, base, BOOTSTRAP, "tiny")[-1]
    assert (gain["metric"], gain["n"]) == ("win_rate_gain", 1)
    assert gain["value"] == pytest.approx(0.1)


def test_length_and_cut_answers():
    rows = [
        {"prompt_id": item, "sample": sample, "response": "", "finish_reason": reason, "completion_tokens": tokens}
        for item, sample, reason, tokens in (("a", 0, "stop", 10), ("a", 1, "length", 30), ("b", 0, "stop", 100))
    ]
    found = scores.response_scores(pl.DataFrame(rows, schema=tables.Responses.create_empty().schema), BOOTSTRAP)
    assert values(found) == {"response_tokens": 60.0, "cut_by_limit": 0.25}
    assert {row["judge"] for row in found} == {None}


def test_margin_is_measured_from_the_base_model():
    base = logps(("a", -10.0, -20.0), ("b", -10.0, -20.0))
    policy = logps(("a", -8.0, -25.0), ("b", -13.0, -21.0))
    found = values(scores.pair_scores(policy, base, 0.1, BOOTSTRAP))
    expected = {"preference_accuracy": 0.5, "margin": 0.1 * (7 - 2) / 2, "likelihood_accuracy": 1.0}
    assert found == pytest.approx(expected | {"chosen_logp_change": -0.5, "rejected_logp_change": -3.0})


def test_base_model_has_no_margin_but_a_likelihood():
    rows = scores.pair_scores(logps(("a", -10.0, -9.0), ("b", -3.0, -5.0)), None, 0.1, BOOTSTRAP)
    found = values(rows)
    assert found.pop("likelihood_accuracy") == 0.5
    assert set(found.values()) == {None}
    assert {row["n"] for row in rows} == {2}


def test_policy_that_has_not_moved_prefers_nothing():
    same = logps(("a", -10.0, -9.0))
    assert values(scores.pair_scores(same, same, 0.1, BOOTSTRAP))["preference_accuracy"] == 0.0


def test_no_items_give_no_value():
    row = scores.summarise("win_rate", pl.Series([], dtype=pl.Float64).to_numpy(), BOOTSTRAP)
    assert (row["value"], row["low"], row["high"], row["n"]) == (None, None, None, 0)


@pytest.mark.parametrize("of_policy", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_other_pairs_than_the_base_model_s_are_refused(of_policy):
    policy, base = (logps(*((pair, -1.0, -2.0) for pair in pairs)) for pairs in (of_policy, ["a", "b"]))
    with pytest.raises(cli.StageError, match="different splits"):
        scores.pair_scores(policy, base, 0.1, BOOTSTRAP)


def test_policy_without_its_base_model_is_refused(tmp_path):
    policy = scores.policy_argument("m", "drift", "1", str(tmp_path))
    with pytest.raises(cli.StageError, match="--policy m base -1"):
        scores.base_of(policy, [policy, scores.policy_argument("other", "base", "-1", str(tmp_path))])


def test_scores_of_a_run(tmp_path):
    root = build_results(tmp_path)
    found = tables.read_table(tables.Scores, root / "eval/scores.parquet")
    assert set(found.select("method", "iteration").rows()) == {(method, k) for method, k, _ in policies(root)}
    judged_metrics = found.filter(pl.col("judge").is_not_null())["metric"].unique().sort().to_list()
    assert judged_metrics == ["position_flip_rate", "verdict_mass", "win_rate", "win_rate_gain"]
    assert found.filter((pl.col("value") < pl.col("low")) | (pl.col("value") > pl.col("high"))).is_empty()
    named = [part for method, k, folder in policies(root) for part in ("--policy", "qwen-0.5b", method, k, folder)]
    settings = '{"beta": 0.1, "bootstrap": 200, "seed": 42, "benchmarks": ["heldout"]}'
    python("scores.py", *named, "--settings", settings, "--scores", tmp_path / "unjudged.parquet", cwd=tmp_path)
    unjudged = tables.read_table(tables.Scores, tmp_path / "unjudged.parquet")
    assert unjudged.equals(found.filter(pl.col("judge").is_null())), "without a judge the other scores stay the same"


def book(flow: str, *drops: int) -> pl.DataFrame:
    made = tables.LedgerBook(flow, "stage", "rows", 100)
    for number, dropped in enumerate(drops):
        made.drop(f"reason {number}", dropped)
    return made.table()


def test_flows_that_add_up_are_taken():
    ledger.check_flows(pl.concat([book("a", 10, 20, 0), book("b", 1)]))


def broken_book() -> pl.DataFrame:
    """A flow whose second step starts with ten rows less than the first one left."""
    second = pl.col("step") == 1
    return book("a", 10, 20).with_columns(
        pl.when(second).then(pl.col(name) - 10).otherwise(name) for name in ("rows_in", "rows_out")
    )


def test_step_that_starts_with_other_rows_is_refused(tmp_path):
    tables.write_table(broken_book(), tables.Ledger, tmp_path / "a.parquet")
    made = python("ledger.py", "--parts", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 1
    assert re.search(r"error: ledger of 'a': step 1 .* starts with 80 rows, but step 0 left 90 rows", made.stderr)
    assert not (tmp_path / "all.parquet").exists()


def test_step_in_another_unit_is_refused():
    changed = book("a", 10, 20).with_columns(unit_in=pl.when(pl.col("step") == 1).then(pl.lit("pairs")).otherwise("unit_in"))
    with pytest.raises(cli.StageError, match="starts with 90 pairs, but step 0 left 90 rows"):
        ledger.check_flows(changed)


def test_missing_step_is_refused():
    with pytest.raises(cli.StageError, match="step 1 is missing"):
        ledger.check_flows(book("a", 10, 20, 30).filter(pl.col("step") != 1))


def test_parts_become_one_ledger(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book(name, 10), tables.Ledger, tmp_path / f"{name}.parquet")
    made = python("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert tables.read_table(tables.Ledger, tmp_path / "all.parquet")["flow"].to_list() == ["a", "b"]


def test_flow_that_two_stages_claim_is_refused(tmp_path):
    for name in ("a", "b"):
        tables.write_table(book("same", 10), tables.Ledger, tmp_path / f"{name}.parquet")
    made = python("ledger.py", "--parts", "b.parquet", "a.parquet", "--ledger", "all.parquet", cwd=tmp_path)
    assert made.returncode == 1
    assert not (tmp_path / "all.parquet").exists()
