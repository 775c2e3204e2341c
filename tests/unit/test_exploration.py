"""Coverage of made-up clouds is known: among the vectors, and on maps."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import embedding_coverage
from drift import tables
from drift.cli import StageError
from drift.exploration import chance, landscape, neighbours, within_prompts
from drift.exploration.answers import gathered, read_policies
from drift.settings.exploration import EmbeddingCoverageSettings
from tests.builders.exploration import SAMPLES, WIDTH, WRITES, clouds, write_tables
from tests.builders.run import run_stage, stage

POLICIES = range(len(WRITES))
BASE, ALL, HALF, ONE, LIKE_BASE = POLICIES
CLOSE = 0.05
PROMPTS = 40


@pytest.fixture(scope="module")
def made():
    """Clouds that all policies write in, half of them, or one."""
    return clouds(PROMPTS)


@pytest.fixture(scope="module")
def covered(made):
    """What each policy covers among the vectors, with its interval and test."""
    return neighbours.coverage(made.answers, made.answers.directions(centred=True), 0.8, 200, 200, 1)


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    """A folder with the tables of both stages, made twice."""
    folder = tmp_path_factory.mktemp("exploration")
    options = write_tables(made.answers, folder)
    for again in ("once", "twice"):
        made_of = [*options, "--settings", '{"bootstrap": 100, "seed": 1}', "--coverage", folder / f"{again}/coverage.parquet"]
        run_stage("embedding_coverage.py", *made_of, cwd=folder)
        named = [
            part
            for name, file in (("coverage", "map_coverage"), ("maps", "maps"), ("landscape", "landscape"))
            for part in (f"--{name}", folder / f"{again}/{file}.parquet")
        ]
        run_stage("landscape.py", *options, "--settings", '{"neighbours": 15, "maps": 2, "seed": 1}', *named, cwd=folder)
    return folder


def test_coverage_among_vectors_is_what_is_known(made, covered):
    found = [row["value"] for row in covered]
    assert found == pytest.approx([made.truth(policy) for policy in POLICIES], abs=CLOSE)
    assert made.truth(HALF) < 0.7, "some clouds are not covered"
    assert made.truth(ONE) < 0.4


def test_intervals_hold_what_is_known_and_tests_tell_narrow_policies_from_the_base_model(made, covered):
    assert all(row["low"] <= made.truth(policy) <= row["high"] for policy, row in enumerate(covered))
    assert "p" not in covered[BASE]
    assert covered[HALF]["p"] < 0.01
    assert covered[ONE]["p"] < 0.01
    assert covered[ALL]["p"] > 0.05
    assert covered[LIKE_BASE]["p"] > 0.05


def test_vectors_as_they_are_show_what_prompts_are_about_and_hide_what_is_not_covered(made):
    raw = neighbours.coverage(made.answers, made.answers.directions(centred=False), 0.8, 0, 0, 1)
    assert raw[ONE]["value"] > made.truth(ONE) + 0.5


@pytest.mark.slow
def test_coverage_on_maps_is_what_is_known_and_varies_little_between_maps(made, run):
    found = tables.read_table(tables.Exploration, run / "once/map_coverage.parquet").filter(
        (pl.col("effects") == "removed") & (pl.col("quantile") == 0.8) & (pl.col("bandwidth") == 0.5)
    )
    for policy, method in enumerate(WRITES):
        of_method = {row["umap_seed"]: row for row in found.filter(method=method).iter_rows(named=True)}
        assert of_method.keys() == {0, 1, 2}
        assert of_method[0]["value"] == pytest.approx(made.truth(policy), abs=CLOSE)
        assert of_method[0]["value"] == pytest.approx((of_method[1]["value"] + of_method[2]["value"]) / 2)
        assert of_method[0]["low"] <= of_method[0]["value"] <= of_method[0]["high"]
        assert of_method[0]["spread"] < CLOSE
        assert of_method[1]["low"] is None
        assert (of_method[0]["p"] is None) == (method == "base")
    narrow = found.filter((pl.col("umap_seed") == 0) & pl.col("method").is_in(["half", "one"]))
    assert (narrow["p"] < 0.05).all()


@pytest.mark.slow
def test_two_runs_give_the_same_bytes(run):
    for name in ("coverage", "map_coverage", "maps", "landscape"):
        once, twice = (run / again / f"{name}.parquet" for again in ("once", "twice"))
        assert once.read_bytes() == twice.read_bytes(), name


@pytest.mark.slow
def test_every_variant_is_in_the_tables(run):
    space = tables.read_table(tables.Exploration, run / "once/coverage.parquet")
    coverage = space.filter(metric="coverage")
    assert set(coverage.select("part", "effects", "quantile").iter_rows()) == {
        (part, effects, quantile)
        for part in ("whole", "beginning")
        for effects in ("removed", "raw")
        for quantile in (0.7, 0.8, 0.9)
    }
    assert (coverage.filter(pl.col("quantile") != 0.8)["low"].is_null()).all()
    rewards = space.filter(metric="best_of_n")
    assert rewards["part"].unique().to_list() == ["whole"], "a reward is of the whole answer"
    maps = tables.read_table(tables.Exploration, run / "once/map_coverage.parquet").filter(umap_seed=0)
    assert maps.height == len(WRITES) * 2 * 3 * 4


@pytest.mark.slow
def test_the_landscape_outlines_a_region_that_the_narrow_policy_does_not_cover(run):
    grid = tables.read_table(tables.Landscape, run / "once/landscape.parquet")
    assert grid.height == len(WRITES) * landscape.GRID**2
    region = grid.filter("region").group_by("method").agg(pl.col("covered").mean(), pl.len())
    shares = dict(region.select("method", "covered").iter_rows())
    assert shares["one"] < 0.5 < 0.9 < shares["all"]
    assert grid["density"].max() == 1.0
    maps = tables.read_table(tables.Maps, run / "once/maps.parquet")
    assert maps.height == len(WRITES) * PROMPTS * SAMPLES * 2 * 2


def test_the_nearest_are_exact_and_an_answer_is_its_own_nearest():
    points = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    places, distances = landscape.nearest(points, 5)
    exact = np.argsort(1 - points @ points.T, axis=1, kind="stable")[:, :5]
    assert (places[:, 0] == np.arange(50)).all()
    assert (np.sort(places, axis=1) == np.sort(exact, axis=1)).all()
    assert (np.diff(distances, axis=1) >= 0).all()


def test_an_answer_like_all_others_to_its_prompt_has_no_direction(made):
    same = made.answers.vectors.copy()
    same[:, 0] = same[0, 0, 0]
    answers = type(made.answers)(**vars(made.answers) | {"vectors": same})
    directions = answers.directions(centred=True)
    assert (directions[:, 0] == 0).all()
    assert np.linalg.norm(directions[:, 1], axis=-1) == pytest.approx(1.0, abs=1e-4)


def test_answers_that_are_all_the_same_are_covered_by_every_policy():
    made = clouds(prompts=20)
    same = np.broadcast_to(made.answers.vectors[0, :1, :1], made.answers.vectors.shape).copy()
    answers = type(made.answers)(**vars(made.answers) | {"vectors": same})
    rows = neighbours.coverage(answers, answers.directions(centred=True), 0.8, 0, 0, 1)
    assert [row["value"] for row in rows] == [1.0] * len(WRITES)


def test_rewards_that_are_all_the_same_have_no_region(made):
    flat = type(made.answers)(**vars(made.answers) | {"rewards": np.ones_like(made.answers.rewards)})
    rows = neighbours.coverage(flat, flat.directions(centred=True), 0.8, 20, 20, 1)
    assert all(math.isnan(row["value"]) and row["low"] is None for row in rows)
    assert np.isnan(within_prompts.recall(flat, 0.8)).all()


def test_measures_within_a_prompt():
    """Of four answers: all the same; two and two; all different."""
    across = np.eye(4, dtype=np.float32)
    vectors = np.stack([across[[0, 0, 0, 0]], across[[0, 0, 1, 1]], across])[:, None]
    base = clouds(prompts=1).answers
    rewards = np.array([[[0, 0, 0, 1]], [[0, 0, 0, 2]], [[0, 0, 0, 3]]], dtype=float)
    answers = type(base)(**vars(base) | {"vectors": vectors, "rewards": rewards, "policies": base.policies[:3]})
    assert within_prompts.vendi(answers)[:, 0] == pytest.approx([1, 2, 4])
    assert within_prompts.distance(answers)[:, 0] == pytest.approx([0, 2 / 3, 1])
    assert within_prompts.best_of_n(answers)[:, 0] == pytest.approx([1, 2, 3])


def test_a_policy_that_repeats_itself_recalls_less_of_what_others_find_good(made):
    repeated = made.answers.vectors.copy()
    repeated[HALF] = repeated[HALF][:, -1:]
    answers = type(made.answers)(**vars(made.answers) | {"vectors": repeated})
    recall = np.nanmean(within_prompts.recall(answers, 0.8), axis=1)
    assert recall[HALF] < recall[BASE]


def test_recall_is_not_defined_by_so_few_answers_that_the_third_nearest_is_far(made):
    few = replace(made.answers, **{name: getattr(made.answers, name)[:2] for name in ("policies", "vectors", "rewards")})
    assert not np.isnan(within_prompts.recall(few, 0.8)).all()
    two = replace(few, vectors=few.vectors[:, :, :2], rewards=few.rewards[:, :, :2])
    assert np.isnan(within_prompts.recall(two, 0.8)).all(), "all four are as near as the third"
    settings = EmbeddingCoverageSettings(seed=1, bootstrap=20)
    rows = [row for row in embedding_coverage.within(two, settings) if row["metric"] == "recall"]
    assert [(row["low"], row["p"]) for row in rows] == [(None, None)] * 2


def test_the_spread_of_replicates_is_laid_around_the_value(made):
    replicates = np.random.default_rng(0).normal(0.8, 0.02, size=1000)
    low, high = chance.around(0.9, replicates, made.answers.clusters)
    assert (low, high) == (pytest.approx(0.86, abs=0.01), pytest.approx(0.94, abs=0.01))
    assert chance.around(0.99, replicates, made.answers.clusters)[1] == 1.0


def test_prompts_that_lack_an_answer_of_a_policy_or_its_reward_are_left_out_for_all(made, tmp_path):
    options = write_tables(made.answers, tmp_path)
    policies = read_policies([options[place + 1 : place + 6] for place, part in enumerate(options) if part == "--policy"])
    tasks = tables.read_table(tables.Tasks, tmp_path / "tasks.parquet")
    name, embeddings, rewards = policies[2]
    policies[2] = name, embeddings, rewards.remove((pl.col("prompt_id") == "p0003") & (pl.col("sample") == 1))
    answers = gathered(policies, tasks, "whole")
    assert "p0003" not in answers.prompts
    assert (len(answers.prompts), answers.total) == (PROMPTS - 1, PROMPTS)
    assert answers.vectors.shape == (len(WRITES), PROMPTS - 1, SAMPLES, WIDTH)
    assert np.allclose(answers.vectors, np.delete(made.answers.vectors, 3, axis=1))
    policies[0] = *policies[0][:2], rewards.clear()
    with pytest.raises(StageError, match=r"none of 40 prompts has an answer of every policy .* base: 0 answers"):
        gathered(policies, tasks, "whole")


def test_fewer_prompts_than_neighbours_are_refused_before_a_map_is_made(made, tmp_path):
    options = write_tables(made.answers, tmp_path)
    named = [part for name in ("coverage", "maps", "landscape") for part in (f"--{name}", tmp_path / f"{name}.parquet")]
    done = stage("landscape.py", *options, "--settings", '{"neighbours": 41, "maps": 1, "seed": 1}', *named, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "40 of 40 prompts have an answer of every policy with its reward, fewer than exploration.neighbours 41" in done.stderr
    )
    assert not (tmp_path / "maps.parquet").exists()


@pytest.mark.parametrize("reward", [1 / 3, 0.1, 0.7])
def test_answers_that_are_all_as_good_are_neither_above_nor_below_their_prompts_mean(made, reward):
    rewards = made.answers.rewards.copy()
    rewards[:, 3] = reward
    standardised = replace(made.answers, rewards=rewards).standardised
    assert not standardised[:, 3].any()
    assert np.array_equal(np.delete(standardised, 3, axis=1), np.delete(made.answers.standardised, 3, axis=1))
