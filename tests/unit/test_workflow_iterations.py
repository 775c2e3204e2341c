"""What an iteration starts from, samples and is trained on, by the configuration alone."""

import json
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import load
from drift.settings.training import PolicyTraining, TrainingRun
from drift.workflow.iterations import Iterations, method_and_iteration

RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "guided", "plain"]}


def iterations(**changed) -> Iterations:
    """Three iterations of DRIFT, of SPIN that replays one, and of a method that ranks."""
    config = {
        "run": "test",
        "iterations": 3,
        "models": {"tiny": {"path": "model"}},
        "methods": ["drift", "spin", "ranked"],
        "recipes": {
            "drift": {"prompts": "dsat", "chosen": "guided", "rejected": "logged"},
            "spin": {"prompts": "sat", "chosen": "logged", "rejected": "plain", "start": "base", "replay": 1},
            "ranked": RANKED | {"rank": "self"},
        },
        "data": {
            "sources": {"chats": {"kind": "logs", "path": "logs.jsonl"}},
            "labelers": {"lexical": {"kind": "lexical"}},
            "labeler": "lexical",
        },
        "sampling": {"n": 2, "shards": 2},
        "evaluation": {
            "benchmarks": {"heldout": {"kind": "heldout"}},
            "judge": "judge",
            "judges": {"judge": {"path": "judge"}},
        },
    }
    return Iterations(load(config | changed), layout.paths("results/test"))


def job(trained: str) -> SimpleNamespace:
    """The wildcards of a job."""
    return SimpleNamespace(model="tiny", trained=trained)


def test_policies_come_in_the_order_of_their_making():
    made = iterations(iterations=2, methods=["drift", "spin"]).policies("tiny")
    assert made == [f"tiny/{name}" for name in ("base", "warmup", "drift/iter1", "drift/iter2", "spin/iter1", "spin/iter2")]
    numbers = [method_and_iteration(policy) for policy in made]
    assert numbers == [("base", -1), ("warmup", 0), ("drift", 1), ("drift", 2), ("spin", 1), ("spin", 2)]
    assert method_and_iteration("drift/iter12") == ("drift", 12), "without the model's name"


@pytest.mark.parametrize(
    ("trained", "previous", "initial"),
    [
        ("warmup", "base", "base"),
        ("drift/iter1", "warmup", "warmup"),
        ("drift/iter3", "drift/iter2", "warmup"),
        ("spin/iter1", "base", "base"),
        ("spin/iter3", "spin/iter2", "base"),
    ],
)
def test_an_iteration_starts_from_the_one_before_and_a_method_where_its_recipe_says(trained, previous, initial):
    run = iterations()
    assert run.ancestors(trained) == [trained, previous, initial]
    assert run.reference(trained) == previous
    assert run.start_policy(job(trained)) == f"results/test/tiny/{previous}/policy"
    assert iterations(training={"reference": "initial"}).reference(trained) == initial


def test_what_is_sampled_follows_from_the_recipe():
    run = iterations()
    assert run.samples("warmup") == {}
    assert run.sampled(job("warmup")) == {"requests": [], "completions": []}
    assert run.samples("drift/iter1") == {"guided": 2}
    assert run.samples("ranked/iter1") == {"guided": 1, "plain": 2}, "the candidates, whatever sampling.n is"
    folder = "results/test/tiny/spin/iter2"
    assert run.sampled(job("spin/iter2")) == {
        "requests": f"{folder}/requests.parquet",
        "completions": [f"{folder}/completions/1-of-2.parquet", f"{folder}/completions/2-of-2.parquet"],
    }


def test_candidates_are_ranked_by_the_ranker_of_the_recipe_and_others_not_at_all():
    folder = "results/test/tiny/ranked/iter1/rank"
    run = iterations()
    assert run.ranks(job("drift/iter1")) == []
    assert run.ranks(job("ranked/iter1")) == f"{folder}/scores.parquet"
    rankers = {"rankers": {"rewards": {"kind": "classifier", "path": "model"}}}
    by_rewards = iterations(methods=["ranked"], recipes={"ranked": RANKED | {"rank": "rewards"}}, **rankers)
    assert by_rewards.ranks(job("ranked/iter1")) == f"{folder}/rewards.parquet"


def test_pairs_of_earlier_iterations_are_replayed_the_nearest_first():
    recipe = {"prompts": "sat", "chosen": "logged", "rejected": "plain", "replay": 2}
    run = iterations(methods=["spin"], recipes={"spin": recipe}, iterations=4)
    for trained, earlier in {"warmup": [], "spin/iter1": [], "spin/iter2": [1], "spin/iter4": [3, 2]}.items():
        assert run.replay(job(trained)) == [f"results/test/tiny/spin/iter{k}/pairs.parquet" for k in earlier]


def test_the_gates_see_the_prompts_of_the_pairs_and_every_test_split():
    run = iterations()
    assert run.prompts(job("warmup")) == "results/test/tiny/prompts/corrections.parquet"
    tables = [f"results/test/tiny/prompts/{table}.parquet" for table in ("corrections", "dsat")]
    assert run.gate_prompts(job("drift/iter1")) == tables
    assert run.gate_prompts(job("spin/iter1")) == [*tables, "results/test/tiny/prompts/sat.parquet"]


def test_the_fingerprints_list_the_sides_that_are_used():
    run = iterations()
    assert [path.stem for path in run.sampled_sides(job("drift/iter1"))] == ["guided"]
    assert [path.stem for path in run.paired_sides(job("drift/iter1"))] == ["guided", "logged"]
    assert all(path.is_file() for path in run.paired_sides(job("ranked/iter1")))


def test_the_settings_of_a_training_are_what_shapes_the_policy_and_nothing_else():
    run = iterations(training={"lora": {"rank": 4}, "warmup_epochs": 5})
    settings = json.loads(run.train_settings(job("warmup")))
    assert (settings["epochs"], settings["name"]) == (5, "tiny/warmup")
    assert json.loads(run.train_settings(job("drift/iter1")))["epochs"] == 1
    assert settings["training"].keys() == PolicyTraining.model_fields.keys()
    assert not settings["training"].keys() & (TrainingRun.model_fields.keys() | {"reference", "diagnostics", "epochs"})
    assert settings["training"]["lora"]["rank"] == 4


def test_a_training_gets_the_gpus_and_the_time_of_its_job():
    run = json.loads(iterations(training={"launcher": "ddp"}).training_run(None, {"gpu": 4, "runtime": 60}))
    assert (run["processes"], run["deadline"]) == (4, 60.0)
    assert json.loads(iterations().training_run(None, {}))["processes"] is None
    with pytest.raises(ValueError, match="global_batch 32 is not a multiple of device_batch 4 x 3 devices"):
        iterations(training={"launcher": "ddp"}).training_run(None, {"gpu": 3})
