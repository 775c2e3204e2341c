"""Scores of judgments, answers and log-probabilities whose right values are known."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scores
from drift import cli, tables
from drift.metrics import comparisons, elo, judge_metrics, length_control, resampling, wildbench
from tests.builders.run import build_results, policies, score_arguments, stage

GOLDEN = Path(__file__).resolve().parents[2].parent / "shared/golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the published figures are not on this machine")


def judgment(item: str, order: str | None = "AB", at: int = 0, **columns) -> dict:
    """A row of Judgments; a comparison with the baseline unless `columns` say otherwise."""
    shared = {"request_id": f"{item}#{order}-{at}-{columns}", "prompt_id": item, "sample": 0, "kind": "pairwise", "vote": 0}
    shared |= {"opponent": "baseline", "order": order, "policy_chars": 10, "opponent_chars": 10}
    return shared | ({"mass": 0.9} if columns.get("preference") is not None else {}) | columns


def compared(*rows: tuple[str, str, float | None]) -> pl.DataFrame:
    verdict = ({"mass": 0.5, "preference": p} if p is not None else {"error": "the reply is neither letter"} for *_, p in rows)
    return frame(
        [judgment(item, order, at, **found) for at, ((item, order, _), found) in enumerate(zip(rows, verdict, strict=True))]
    )


def frame(rows: list[dict], schema=tables.Judgments) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema.create_empty().schema)


def tasks(*items: str, **columns) -> pl.DataFrame:
    return frame(
        [{"prompt_id": item} | {name: of[at] for name, of in columns.items()} for at, item in enumerate(items)], tables.Tasks
    )


def logps(*rows: tuple[str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["pair_id", "chosen_logp", "rejected_logp"], orient="row")


def values(figures: dict) -> dict:
    return {name: figure.value() for name, figure in figures.items()}


def figures(judgments: pl.DataFrame, kind: str = "heldout", known: pl.DataFrame | None = None) -> dict:
    known = tasks(*judgments["prompt_id"].unique().sort()) if known is None else known
    return judge_metrics.figures(kind, judgments, known, None)


def test_win_rate_averages_the_orders_and_flips_are_counted():
    found = figures(
        compared(("a", "AB", 0.9), ("a", "BA", 0.2), ("b", "AB", 0.6), ("b", "BA", 0.7), ("c", "AB", 0.1), ("c", "BA", 0.3))
    )
    expected = {"win_rate": (0.55 + 0.65 + 0.2) / 3, "position_flip_rate": 1 / 3, "verdict_mass": 0.5, "parse_failure_rate": 0}
    assert values(found) == pytest.approx(expected)
    assert {len(figure.keys) for figure in found.values()} == {3}


def test_judge_that_always_prefers_the_first_answer_is_worth_a_draw():
    found = values(figures(compared(*[(item, order, float(order == "AB")) for item in "abcd" for order in ("AB", "BA")])))
    assert (found["win_rate"], found["position_flip_rate"]) == (0.5, 1.0)


def test_item_of_which_one_order_has_no_verdict_does_not_count():
    found = figures(compared(("a", "AB", 1.0), ("a", "BA", None), ("b", "AB", 0.4), ("b", "BA", 0.4)))
    assert (found["win_rate"].value(), found["win_rate"].keys.tolist()) == (0.4, ["b"])
    assert found["parse_failure_rate"].value() == 0.25


def test_item_asked_in_one_order_counts_and_cannot_flip():
    found = values(figures(compared(("a", "AB", 1.0), ("b", "BA", 0.5))))
    assert found["win_rate"] == 0.75
    assert "position_flip_rate" not in found


def test_written_letters_have_a_name_of_their_own_and_no_length_control():
    """Of a judge without probabilities; a draw that nobody judged has no mass either."""
    draw = judgment("same", preference=0.5, mass=None)
    rows = [judgment(str(n), preference=float(n % 3 == 0), mass=None) for n in range(9)] + [draw]
    found = values(figures(frame(rows), "alpacaeval"))
    assert found == {"written_win_rate": 0.35, "parse_failure_rate": 0.0}
    assert "win_rate" in values(figures(frame([draw]), "alpacaeval"))


def test_verdicts_in_five_levels_are_wins_draws_and_losses():
    outcomes = [judgment(item, outcome=outcome) for item, outcome in zip("abcd", (2, 1, 0, -2), strict=True)]
    assert values(figures(frame(outcomes), "arena-hard"))["win_rate"] == (1 + 1 + 0.5 + 0) / 4


def test_votes_are_averaged_and_a_failed_vote_is_not_a_failed_item():
    rows = [
        judgment("a", vote=vote, **found)
        for vote, found in enumerate(({"preference": 1.0}, {"preference": 0.5}, {"error": "cut"}))
    ]
    found = values(figures(frame(rows)))
    assert (found["win_rate"], found["parse_failure_rate"]) == (0.75, pytest.approx(1 / 3))


def test_every_opponent_has_a_win_rate_of_its_own():
    rows = [judgment("a", preference=1.0), judgment("a", opponent="gpt", preference=0.25)]
    found = values(figures(frame(rows), "prompts"))
    assert (found["win_rate"], found["win_rate:gpt"]) == (1.0, 0.25)


def test_wildbench_has_scores_of_one_judge_and_rewards_of_another():
    known = tasks("a", "b", categories=[[wildbench.MATH], [wildbench.CODING]])
    alone = {"kind": "score", "opponent": None, "order": None, "opponent_chars": None}
    scored = values(figures(frame([judgment("a", **alone, score=7.0), judgment("b", **alone, score=4.0)]), "wildbench", known))
    assert (scored["wb_score"], scored["wb_score_raw"]) == (10.0, 5.5)
    assert scored["wb_score_task_macro"] == pytest.approx((1 * 40 - 1.25 * 20) / 2.25)
    rows = [judgment("a", opponent=name, outcome=outcome) for name, outcome in (("gpt", 2), ("haiku", -1))]
    rows.append(judgment("b", opponent="gpt", outcome=1, policy_chars=1000))
    rows.append(judgment("b", opponent="haiku", error="no choice in the reply"))
    rewarded = values(figures(frame(rows), "wildbench", known))
    assert rewarded["wb_reward:gpt"] == 75.0
    assert rewarded["wb_reward"] == pytest.approx(100 * (0.75 - 0.5) / 2)
    assert rewarded["wb_reward_k500:gpt"] == 50.0, "a slight win by far more characters is a draw"
    assert not any(name.startswith("wb_score") for name in rewarded)


def test_alpacaeval_with_few_verdicts_has_no_length_control():
    rows = [judgment(str(at), preference=0.25 * at) for at in range(4)]
    found = values(figures(frame(rows), "alpacaeval"))
    assert (found["win_rate"], found["discrete_win_rate"]) == (0.375, 0.375)
    assert found["standard_error"] == pytest.approx(np.std([0, 0.25, 0.5, 0.75], ddof=1) / 2)
    assert "length_controlled_win_rate" not in found


def test_prompts_of_one_s_own_are_length_controlled_without_difficulty():
    random = np.random.default_rng(0)
    rows = [
        judgment(f"{at:02}", preference=float(random.random()), policy_chars=int(random.integers(1, 99))) for at in range(40)
    ]
    found = figures(frame(rows), "alpacaeval", tasks(*(f"{at:02}" for at in range(40)), difficulty=[0.1] * 39 + [None]))
    assert found["length_controlled_win_rate"].samples[0].difficulty is None
    assert 0 < found["length_controlled_win_rate"].value() < 1


def test_length_and_cut_answers():
    rows = [
        {"prompt_id": item, "sample": sample, "response": "", "finish_reason": reason, "completion_tokens": tokens}
        for item, sample, reason, tokens in (("a", 0, "stop", 10), ("a", 1, "length", 30), ("b", 0, "stop", 100))
    ]
    found = scores.response_figures(frame(rows, tables.Responses))
    assert values(found) == {"response_tokens": 60.0, "cut_by_limit": 0.25}


def test_spread_is_between_the_samples_own_values():
    rows = [
        judgment(item, sample=sample, preference=p)
        for item, sample, p in (("a", 0, 1.0), ("a", 1, 0.5), ("b", 0, 0.5), ("b", 1, 0.0))
    ]
    figure, samples = scores.by_sample(frame(rows), figures)["win_rate"]
    row = scores.summarise(comparisons.Scored(figure, np.zeros(1)), 5, samples)
    assert (row["value"], row["n"], row["total"], row["samples"]) == (0.5, 2, 5, 2)
    assert row["spread"] == pytest.approx(np.std([0.75, 0.25], ddof=1))


def test_margin_is_measured_from_the_base_model():
    base = logps(("a", -10.0, -20.0), ("b", -10.0, -20.0))
    policy = logps(("a", -8.0, -25.0), ("b", -13.0, -21.0))
    found = values(scores.pair_figures(policy, base, 0.1))
    expected = {"preference_accuracy": 0.5, "margin": 0.1 * (7 - 2) / 2, "likelihood_accuracy": 1.0}
    assert found == pytest.approx(expected | {"chosen_logp_change": -0.5, "rejected_logp_change": -3.0})


def test_no_items_give_no_value():
    row = scores.summarise(comparisons.Scored(resampling.mean([], []), np.array([])), 3, [np.nan])
    assert (row["value"], row["low"], row["high"], row["n"], row["total"]) == (None, None, None, 0, 3)


@pytest.mark.parametrize("of_policy", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_other_pairs_than_the_base_model_s_are_refused(of_policy):
    policy, base = (logps(*((pair, -1.0, -2.0) for pair in pairs)) for pairs in (of_policy, ["a", "b"]))
    with pytest.raises(cli.StageError, match="different splits"):
        scores.pair_figures(policy, base, 0.1)


def test_policy_without_its_base_model_is_refused(tmp_path):
    policy = scores.policy_argument("m", "drift", "1", str(tmp_path))
    with pytest.raises(cli.StageError, match="--policy m base -1"):
        scores.base_of(policy, [policy, scores.policy_argument("other", "base", "-1", str(tmp_path))])


def test_scores_of_a_run(tmp_path):
    root = build_results(tmp_path)
    found = tables.read_table(tables.Scores, root / "eval/scores.parquet")
    assert set(found.select("method", "iteration").rows()) == {(method, k) for method, k, _ in policies(root)}
    of_judge = found.filter(pl.col("judge") == "tiny")["metric"].unique().sort().to_list()
    assert of_judge == ["parse_failure_rate", "position_flip_rate", "verdict_mass", "win_rate"]
    assert found.filter((pl.col("value") < pl.col("low")) | (pl.col("value") > pl.col("high"))).is_empty()
    assert set(found.select("judge", "judge_prompt").rows()) == {("tiny", "abc"), ("", None)}
    base = found.filter((pl.col("method") == "base") & (pl.col("benchmark") == "heldout-pairs"))
    assert base.drop_nulls("value")["metric"].to_list() == ["likelihood_accuracy"], "the base model has no margin over itself"
    arguments = score_arguments(root, {"heldout": {"kind": "heldout", "judges": {}}}, tmp_path)
    made = stage("scores.py", *arguments, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    unjudged = tables.read_table(tables.Scores, tmp_path / "scores.parquet")
    assert unjudged.equals(found.filter(pl.col("judge") == "")), "without a judge the other scores stay the same"


# --------------------------------------------------------------------------------------------------------- comparisons


def policy(method: str, iteration: int, model: str = "m") -> comparisons.Policy:
    return comparisons.Policy(model, method, iteration, None)


def scored(values: list[float], keys: str = "abcdefghij") -> comparisons.Scored:
    figure = resampling.mean(list(keys), values)
    return comparisons.Scored(figure, resampling.bootstrap(figure, 200, 1))


def test_policies_are_compared_with_base_predecessor_and_the_other_methods():
    found = list(
        comparisons.pairs(
            [policy("base", -1), policy("warmup", 0)] + [policy(method, k) for method in ("drift", "spin") for k in (1, 2)]
        )
    )
    named = {(against, a.method, a.iteration, b.method, b.iteration) for against, a, b in found}
    assert named == {
        *(
            ("base", method, k, "base", -1)
            for method, k in (("warmup", 0), ("drift", 1), ("drift", 2), ("spin", 1), ("spin", 2))
        ),
        *(("previous", method, 1, "warmup", 0) for method in ("drift", "spin")),
        *(("previous", method, 2, method, 1) for method in ("drift", "spin")),
        *(("method", "drift", k, "spin", k) for k in (1, 2)),
    }
    assert len(found) == len(named)


def test_comparison_is_over_the_items_that_both_have():
    found = comparisons.contrast(scored([1.0, 0.0], "ab"), scored([0.25, 9.0], "ac"), 200, 1)
    assert (found["n"], found["difference"]) == (1, 0.75)
    nothing = comparisons.contrast(scored([1.0], "a"), scored([1.0], "b"), 200, 1)
    assert (nothing["n"], nothing["difference"], nothing["p"]) == (0, None, None)


def test_comparisons_are_corrected_for_their_number_and_never_mix_judges():
    policies = [policy("base", -1), policy("warmup", 0), policy("drift", 1)]
    better = [0.5] * 10
    found = comparisons.contrasts(
        policies,
        {
            (policies[0], "heldout", "one", "win_rate"): scored([0.0] * 10),
            (policies[1], "heldout", "two", "win_rate"): scored(better),
            (policies[2], "heldout", "one", "win_rate"): scored(better),
            (policies[2], "heldout", "two", "win_rate"): scored(better),
            (policies[0], "heldout", "one", "verdict_mass"): scored(better),
            (policies[2], "heldout", "one", "verdict_mass"): scored(better),
        },
        200,
        1,
    )
    assert [(row["judge"], row["against"], row["difference"]) for row in found] == [
        ("one", "base", 0.5),
        ("two", "previous", 0.0),
    ]
    assert found[0]["p"] == pytest.approx(2 / 2**10, abs=1e-3)
    assert (found[0]["p_holm"], found[1]["p_holm"]) == (2 * found[0]["p"], 1.0)


# ------------------------------------------------------------------------------------------------------------- ratings


def test_higher_score_wins_by_a_margin_and_a_far_longer_answer_draws():
    ratings = np.array([[8.0, 6.0], [7.0, 6.0], [8.0, 2.0], [8.0, 2.0], [8.0, np.nan]])
    lengths = np.array([[10, 10], [10, 10], [2000, 10], [10, 0], [10, 10]])
    earned = elo.votes(ratings, lengths)[:, 0, 1]
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
    found = elo.bradley_terry(earned, np.ones((1, 20)))[0]
    assert found[0] - found[1] == pytest.approx(400 * np.log10(20.5 / 0.5))


# --------------------------------------------------------------------------------------------------- published figures


@needs_golden
@pytest.mark.parametrize("model", ["FuseChat-Gemma-2-9B-Instruct", "claude-2.1", "vicuna-7b-v1.5"])
def test_stage_meets_published_alpacaeval_figures(model):
    """From judgments, as the pipeline has them, to the leaderboard's row."""
    folder = GOLDEN / "alpacaeval"
    rows = pl.read_csv(folder / "items.csv.gz").filter(model=model).sort("row").to_dicts()
    (board,) = (row for row in pl.read_csv(folder / "leaderboard.csv").to_dicts() if row[""] == model)
    difficulty = length_control.read_difficulty(folder / "instruction_difficulty_recovered.csv")
    names = [f"{row['row']:03}" for row in rows]
    judgments = [
        judgment(name, preference=row["preference"] - 1)
        | {"policy_chars": row["len_output_2_model"], "opponent_chars": row["len_output_1_baseline"]}
        for name, row in zip(names, rows, strict=True)
    ]
    gamed = length_control.read_gamed(folder / "df_gamed_surrogate.csv")
    found = values(judge_metrics.figures("alpacaeval", frame(judgments), tasks(*names, difficulty=difficulty.tolist()), gamed))
    for metric in ("win_rate", "discrete_win_rate", "standard_error"):
        assert 100 * found[metric] == pytest.approx(board[metric], abs=1e-6)
    assert 100 * found["length_controlled_win_rate"] == pytest.approx(board["length_controlled_winrate"], abs=0.2)


@needs_golden
@pytest.mark.parametrize("model", ["gemma-2b-it", "gpt-3.5-turbo-0125", "reka-edge"])
def test_stage_meets_published_wildbench_figures(model):
    items = pl.read_csv(GOLDEN / "wildbench/scores.csv.gz").filter(version="v2.0625", model=model).drop_nulls("score")
    published = json.loads((GOLDEN / "wildbench/score.json").read_text())[model]
    rows = [
        judgment(row["session_id"], None, kind="score", opponent=None, opponent_chars=None, score=row["score"])
        | {"policy_chars": row["model_output_len"]}
        for row in items.to_dicts()
    ]
    found = figures(frame(rows), "wildbench")
    assert found["wb_score_raw"].value() == pytest.approx(published["score"], abs=1e-6)
    assert found["wb_score_adjusted"].value() == pytest.approx(published["adjusted_score"], abs=1e-6)
    assert found["wb_score"].value() == pytest.approx(10 * published["adjusted_score"], abs=1e-6)
    assert len(found["wb_score"].keys) == published["total"]
