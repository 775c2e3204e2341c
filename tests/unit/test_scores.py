"""Scores of answers and log-probabilities whose right values are known, and of a whole run."""

import numpy as np
import polars as pl
import pytest

import scores
from drift import cli, tables
from drift.metrics import answer_metrics, comparisons, judge_metrics, pair_metrics, resampling
from tests.builders.judgments import frame, judgment, values
from tests.builders.run import stage
from tests.builders.scores import HELDOUT, build_run, score_arguments


def logps(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["pair_id", "chosen_logp", "rejected_logp"], orient="row")


def test_length_and_cut_answers():
    rows = [
        {"prompt_id": item, "sample": sample, "response": "", "finish_reason": reason, "completion_tokens": tokens}
        for item, sample, reason, tokens in (("a", 0, "stop", 10), ("a", 1, "length", 30), ("b", 0, "stop", 100))
    ]
    found = answer_metrics.response_statistics(frame(rows, tables.Responses))
    assert values(found) == {"response_tokens": 60.0, "cut_by_limit": 0.25}


def test_spread_is_between_the_samples_own_values():
    rows = [
        judgment(item, sample=sample, preference=p)
        for item, sample, p in (("a", 0, 1.0), ("a", 1, 0.5), ("b", 0, 0.5), ("b", 1, 0.0))
    ]
    statistic, samples = scores.by_sample(frame(rows), judge_metrics.verdict_statistics)["win_rate"]
    row = scores.summarise(comparisons.Scored(statistic, np.zeros(1)), 5, samples)
    assert (row["value"], row["n"], row["total"], row["samples"]) == (0.5, 2, 5, 2)
    assert row["spread"] == pytest.approx(np.std([0.75, 0.25], ddof=1))


def test_margin_is_measured_from_the_base_model():
    base = logps(("a", -10.0, -20.0), ("b", -10.0, -20.0))
    policy = logps(("a", -8.0, -25.0), ("b", -13.0, -21.0))
    found = values(pair_metrics.pair_statistics(policy, base, 0.1))
    expected = {"preference_accuracy": 0.5, "margin": 0.1 * (7 - 2) / 2, "likelihood_accuracy": 1.0}
    assert found == pytest.approx(expected | {"chosen_logp_change": -0.5, "rejected_logp_change": -3.0})


def test_no_items_give_no_value():
    row = scores.summarise(comparisons.Scored(resampling.mean([], []), np.array([])), 3, [np.nan])
    assert (row["value"], row["low"], row["high"], row["n"], row["total"]) == (None, None, None, 0, 3)


@pytest.mark.parametrize("policy_pairs", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_other_pairs_than_the_base_model_s_are_refused(policy_pairs):
    policy, base = (logps(*((pair, -1.0, -2.0) for pair in pairs)) for pairs in (policy_pairs, ["a", "b"]))
    with pytest.raises(cli.StageError, match="different splits"):
        pair_metrics.pair_statistics(policy, base, 0.1)


# ---------------------------------------------------------------------------------------------- run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run and its scores, in one folder."""
    root = build_run(tmp_path_factory.mktemp("run"))
    made = stage("scores.py", *score_arguments(root, HELDOUT, root / "eval"), cwd=root)
    assert made.returncode == 0, made.stderr
    return root


def test_every_policy_has_every_score(run):
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet")
    policies = {("m", "base", -1, 0), ("m", "warmup", 0, 0), ("m", "drift", 1, 42), ("m", "spin", 1, 42)}
    assert set(found.select("model", "method", "iteration", "seed").rows()) == policies
    by_judge = found.filter(pl.col("judge") == "tiny")["metric"].unique().sort().to_list()
    assert by_judge == ["parse_failure_rate", "position_flip_rate", "verdict_mass", "win_rate"]
    assert found.filter((pl.col("value") < pl.col("low")) | (pl.col("value") > pl.col("high"))).is_empty()
    assert set(found.select("judge", "judge_prompt").rows()) == {("tiny", "abc"), ("", None)}


def test_base_model_has_no_margin_over_itself(run):
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet")
    base = found.filter((pl.col("method") == "base") & (pl.col("benchmark") == "heldout-pairs"))
    assert base.drop_nulls("value")["metric"].to_list() == ["likelihood_accuracy"]


def test_policies_are_compared_by_headlines_alone(run):
    found = tables.read_table(tables.Comparisons, run / "eval/comparisons.parquet")
    assert set(found["metric"]) == {"win_rate", "margin"}
    pairs = {
        ("warmup", "base"),
        ("drift", "base"),
        ("spin", "base"),
        ("drift", "warmup"),
        ("spin", "warmup"),
        ("drift", "spin"),
    }
    assert set(found.select("method", "other_method").rows()) == pairs


def test_without_a_judge_the_other_scores_stay_the_same(run, tmp_path):
    benchmarks = {"heldout": {"kind": "heldout", "judges": {}}}
    made = stage("scores.py", *score_arguments(run, benchmarks, tmp_path), cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    unjudged = tables.read_table(tables.Scores, tmp_path / "scores.parquet")
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet")
    assert unjudged.equals(found.filter(pl.col("judge") == ""))


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--logps", "no Logps table of m/warmup: add --logps m/warmup PATH"),
        ("--judgments", "no Judgments table of m/warmup, heldout, tiny: add --judgments m/warmup heldout tiny PATH"),
        ("--policy", "no base model among the policies of 'm': add --policy NAME m base -1 0"),
    ],
)
def test_table_or_policy_that_was_not_named_is_named_in_the_error(run, tmp_path, option, error):
    named = "m/base" if option == "--policy" else "m/warmup"
    arguments = score_arguments(run, HELDOUT, tmp_path)
    (start,) = (at for at, word in enumerate(arguments) if word == option and arguments[at + 1] == named)
    end = next(at for at in range(start + 1, len(arguments)) if arguments[at].startswith("--"))
    made = stage("scores.py", *arguments[:start], *arguments[end:], cwd=tmp_path)
    assert made.returncode == 1
    assert f"error: {error}" in made.stderr


def test_iteration_that_is_not_a_number_is_refused():
    with pytest.raises(cli.StageError, match="--policy m/x m x one 1: the iteration and the seed must be whole numbers"):
        scores.named_policies([("m/x", "m", "x", "one", "1")])
