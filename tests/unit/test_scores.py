"""Scores of answers and log-probabilities whose right values are known, and of a whole run."""

import numpy as np
import polars as pl
import pytest

import scores
from drift import cli, tables
from drift.metrics import answer_metrics, judge_metrics, pair_metrics, resampling
from tests.builders.judgments import frame, judgment, values
from tests.builders.run import stage
from tests.builders.scores import HELDOUT, POLICIES, START, build_run, score_arguments


def logps(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["pair_id", "chosen_logp", "rejected_logp"], orient="row")


def measured(statistic: resampling.Statistic, samples: list[float]) -> scores.Measured:
    n = len(statistic.keys)
    replicates = resampling.bootstrap(statistic, 200, 1)
    return scores.Measured(statistic, statistic.value() if n else np.nan, replicates, n, samples)


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
    row = scores.summarise([measured(statistic, samples)], 5, 2.0)
    assert (row["value"], row["n"], row["total"], row["samples"]) == (0.5, 2, 5, 2)
    assert row["spread"] == pytest.approx(np.std([0.75, 0.25], ddof=1))


def test_where_a_sample_has_no_value_of_its_own_there_is_no_spread_and_a_table_all_the_same():
    """As of a small benchmark that has none of a group's tasks, or of a judge whose replies to one
    sample cannot be read."""
    rows = [judgment("a", sample=sample, preference=p, error=e) for sample, p, e in ((0, 1.0, None), (1, None, "no letter"))]
    statistic, samples = scores.by_sample(frame(rows), judge_metrics.verdict_statistics)["win_rate"]
    row = scores.summarise([measured(statistic, samples)], 1, 2.0)
    assert (row["value"], row["spread"], row["samples"]) == (1.0, None, 2)
    named = {"model": "m", "method": "drift", "iteration": 1, "seed": 1, "benchmark": "b", "judge": "j", "metric": "win_rate"}
    tables.Scores.validate(frame([named | row], tables.Scores))


def test_margin_is_measured_from_the_base_model():
    base = logps(("a", -10.0, -20.0), ("b", -10.0, -20.0))
    policy = logps(("a", -8.0, -25.0), ("b", -13.0, -21.0))
    found = values(pair_metrics.pair_statistics(policy, base, 0.1))
    expected = {"preference_accuracy": 0.5, "margin": 0.1 * (7 - 2) / 2, "likelihood_accuracy": 1.0}
    assert found == pytest.approx(expected | {"chosen_logp_change": -0.5, "rejected_logp_change": -3.0})


def test_no_items_give_no_value():
    row = scores.summarise([measured(resampling.mean([], []), [np.nan])], 3, 0.0)
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


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A run without a judge and without held-out corrections: code checks all answers."""
    root = build_run(tmp_path_factory.mktemp("checked"))
    (root / "data/benchmarks/heldout.parquet").rename(root / "data/benchmarks/wishes.parquet")
    for number, policy in enumerate(POLICIES):
        evaluated = root / policy / "eval"
        (evaluated / "heldout").rename(evaluated / "wishes")
        (evaluated / "heldout-pairs/logps.parquet").unlink()
        answers = tables.read_table(tables.Responses, evaluated / "wishes/responses.parquet")
        rows = [
            {"prompt_id": item, "sample": 0, "check": "words(at_most=9)", "direction": "shorter", "passed": place % 4 < number}
            for place, item in enumerate(answers["prompt_id"])
        ]
        tables.write_table(frame(rows, tables.Checks), tables.Checks, evaluated / "wishes/checks.parquet")
    wishes = {"wishes": {"kind": "checks", "judges": {}}}
    arguments = score_arguments(root, wishes, root / "eval", heldout_pairs=False, metric="pass_rate")
    made = stage("scores.py", *arguments, cwd=root)
    assert made.returncode == 0, made.stderr
    return root


def test_answers_that_code_checks_need_no_judge(checked):
    found = tables.read_table(tables.Scores, checked / "eval/scores.parquet")
    assert set(found["benchmark"]) == {"wishes"}, "there are no held-out corrections"
    assert set(found["judge"]) == {""}
    metrics = {"pass_rate", "pass_rate:shorter", "pass_rate:words(at_most=9)", "all_passed"}
    assert set(found["metric"]) == metrics | {"pass_rate_beyond_length", "response_tokens", "cut_by_limit"}
    rates = dict(found.filter(metric="pass_rate", seed=0).select("method", "value").iter_rows())
    assert (rates["base"], rates["warmup"]) == (0, 0.25)
    compared = tables.read_table(tables.Comparisons, checked / "eval/comparisons.parquet")
    assert set(compared["metric"]) == {"pass_rate"}
    assert set(compared.filter(family="primary").select("method", "other_method").rows()) == {("drift", "spin")}


def test_every_policy_has_every_score(run):
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet")
    policies = {("base", -1, 0), ("warmup", 0, 0), *((method, 1, seed) for method in ("drift", "spin") for seed in (0, 42))}
    assert set(found.select("method", "iteration", "seed").rows()) == policies
    by_judge = found.filter(pl.col("judge") == "tiny")["metric"].unique().sort().to_list()
    assert by_judge == [
        "length_controlled_win_rate",
        "parse_failure_rate",
        "position_flip_rate",
        "verdict_mass",
        "win_rate",
    ]
    assert found.filter((pl.col("value") < pl.col("low")) | (pl.col("value") > pl.col("high"))).is_empty()
    assert set(found.select("judge", "judge_prompt").rows()) == {("tiny", "abc"), ("", None)}


def test_base_model_has_no_margin_over_itself(run):
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet")
    base = found.filter((pl.col("method") == "base") & (pl.col("benchmark") == "heldout-pairs"))
    assert base.drop_nulls("value")["metric"].to_list() == ["likelihood_accuracy"]


def test_policies_are_compared_by_headlines_alone(run):
    found = tables.read_table(tables.Comparisons, run / "eval/comparisons.parquet")
    assert set(found["metric"]) == {"win_rate", "length_controlled_win_rate", "preference_accuracy"}
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
    ("table", "error"),
    [
        ("heldout-pairs/logps.parquet", "there is no Logps table of m/warmup: "),
        ("heldout/judge/tiny/judgments.parquet", "there is no Judgments table of m/warmup, heldout, tiny: "),
    ],
)
def test_table_that_is_not_there_is_named_in_the_error(tmp_path, table, error):
    root = build_run(tmp_path)
    missing = root / "m/warmup/eval" / table
    missing.unlink()
    made = stage("scores.py", *score_arguments(root, HELDOUT, tmp_path), cwd=tmp_path)
    assert made.returncode == 1
    assert f"error: {error}{missing}" in made.stderr


def test_policies_without_their_base_model_are_refused(run, tmp_path):
    made = stage("scores.py", *score_arguments(run, HELDOUT, tmp_path, ["m/warmup"]), cwd=tmp_path)
    assert made.returncode == 1
    assert "error: no base model among the policies of 'm': add --policy NAME m base -1 0" in made.stderr


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (("m/x", "m", "x", "one", "1"), "--policy m/x m x one 1: the iteration and the seed must be whole numbers"),
        (("m/x", "m", "x", "1", "0"), "the policies of a method have 1 or more"),
        (("m/base", "m", "base", "-1", "3"), "base and warmup, which all seeds share, have seed 0"),
    ],
)
def test_policy_without_a_sound_iteration_and_seed_is_refused(policy, error):
    with pytest.raises(cli.StageError, match=error):
        scores.named_policies([policy])


# -------------------------------------------------------------------------------------------- seeds

SEEDS = (1, 2, 3)
SEEDED = (*START, *(f"m/{method}/seed{seed}/iter1" for method in ("drift", "spin") for seed in SEEDS))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """Scores and comparisons of a run of three seeds."""
    root = build_run(tmp_path_factory.mktemp("seeded"), SEEDED)
    made = stage("scores.py", *score_arguments(root, HELDOUT, root / "eval", SEEDED), cwd=root)
    assert made.returncode == 0, made.stderr
    return [
        tables.read_table(getattr(tables, name), root / f"eval/{name.lower()}.parquet") for name in ("Scores", "Comparisons")
    ]


def test_seed_0_is_the_mean_over_the_seeds_and_each_seed_has_its_own_score(seeded):
    found = seeded[0].filter(pl.col("method") == "drift", pl.col("metric") == "win_rate").sort("seed")
    assert found["seed"].to_list() == [0, *SEEDS]
    mean, *each = found["value"]
    assert mean == pytest.approx(np.mean(each))
    assert found["seeds"].to_list() == [3, 1, 1, 1]
    assert found["seed_spread"].to_list() == [pytest.approx(np.std(each, ddof=1)), None, None, None]
    shared = seeded[0].filter(pl.col("method").is_in(["base", "warmup"]))
    assert set(shared.select("seed", "seeds").rows()) == {(0, 1)}, "all seeds share them"


def test_interval_over_seeds_is_wider_than_that_of_a_seed_where_seeds_differ(seeded):
    """The builder's policies gain 10 points each, so that seeds differ by more than tasks do."""
    found = seeded[0].filter(pl.col("method") == "spin", pl.col("metric") == "win_rate").sort("seed")
    width = (found["high"] - found["low"]).to_list()
    assert width[0] > max(width[1:])


def test_mean_of_one_seed_is_that_seed_s_score(run):
    found = tables.read_table(tables.Scores, run / "eval/scores.parquet").filter(pl.col("method") == "drift")
    assert found.filter(seed=0).drop("seed").equals(found.filter(seed=42).drop("seed"))


def test_comparisons_are_of_means_over_seeds(seeded):
    scores_, compared = seeded
    means = {
        method: scores_.filter(method=method, seed=0, metric="win_rate")["value"].item() for method in ("drift", "spin", "base")
    }
    rows = {(row["method"], row["other_method"]): row for row in compared.filter(metric="win_rate").to_dicts()}
    assert rows["drift", "spin"]["difference"] == pytest.approx(means["drift"] - means["spin"])
    assert rows["drift", "base"]["difference"] == pytest.approx(means["drift"] - means["base"])
    assert (rows["drift", "base"]["seeds"], rows["warmup", "base"]["seeds"]) == (3, 1)
    assert rows["drift", "spin"]["p_seeds"] is None, "three seeds cannot tell"


def test_declared_comparisons_are_a_family_of_their_own(seeded):
    declared = seeded[1].filter(family="primary")
    assert declared.select("method", "other_method", "metric", "against").rows() == [("drift", "spin", "win_rate", "method")]
    assert declared["p_holm"].to_list() == declared["p"].to_list(), "one test needs no correction"
    others = seeded[1].filter(family="exploratory")
    assert others["p_holm"].null_count() == others.height
    assert (others["p_fdr"] >= others["p"]).all()
