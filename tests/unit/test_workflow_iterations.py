"""What an iteration starts from, samples and is trained on, by the configuration alone."""

import json
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import load
from drift.settings.training import PolicyTraining, TrainingRun
from drift.workflow.iterations import Iterations

DATA = {
    "sources": {"chats": {"kind": "logs", "path": "logs.jsonl"}},
    "labelers": {"lexical": {"kind": "lexical"}},
    "labeler": "lexical",
}
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
        "data": DATA,
        "sampling": {"n": 2, "shards": 2},
        "evaluation": {
            "benchmarks": {"heldout": {"kind": "heldout"}},
            "judge": "judge",
            "judges": {"judge": {"path": "judge"}},
        },
    }
    return Iterations(load(config | changed), layout.paths("results/test"))


def job(trained: str, **others: str) -> SimpleNamespace:
    """The wildcards of a job."""
    return SimpleNamespace(model="tiny", trained=trained, **others)


def test_policies_come_in_the_order_of_their_making():
    trained = [f"{method}/seed42/iter{k}" for method in ("drift", "spin") for k in (1, 2)]
    made = iterations(iterations=2, methods=["drift", "spin"]).policies("tiny")
    assert made == [f"tiny/{name}" for name in ("base", "warmup", *trained)]
    repeated = iterations(iterations=1, methods=["drift", "spin"], seeds=[3, 1]).policies("tiny")
    seeds = [f"tiny/{method}/seed{seed}/iter1" for method in ("drift", "spin") for seed in (1, 3)]
    assert repeated == ["tiny/base", "tiny/warmup", *seeds], "one base model and one warm-up for all seeds"


@pytest.mark.parametrize(
    ("folder", "policy"),
    [("base", ("base", -1, 0)), ("warmup", ("warmup", 0, 0)), ("drift/seed7/iter12", ("drift", 12, 7))],
)
def test_the_folder_of_a_policy_says_which_it_is(folder, policy):
    name = layout.PolicyName.parse(folder)
    assert (name.method, name.iteration, name.seed) == policy
    assert str(name) == folder


@pytest.mark.parametrize("folder", ["drift/iter1", "drift/seed0/iter1", "drift/seed1/iter0", "m/drift/seed1/iter1", "eval"])
def test_a_folder_that_is_no_policys_is_refused(folder):
    with pytest.raises(ValueError, match=f"{folder} is neither base, warmup nor METHOD/seedS/iterK"):
        layout.PolicyName.parse(folder)


def test_a_seed_samples_and_trains_its_own_policies_and_the_warm_up_has_that_of_the_data():
    run = iterations(seeds=[1, 7], data=DATA | {"seed": 9})

    def seed(settings, trained: str) -> int:
        return json.loads(settings(job(trained)))["seed"]

    for settings in (run.requests_settings, run.train_settings):
        assert [seed(settings, f"drift/seed{s}/iter2") for s in (1, 7)] == [1, 7]
    assert seed(run.train_settings, "warmup") == 9, "whatever seeds there are"
    assert {seed(run.diagnostics_settings, f"drift/seed{s}/iter2") for s in (1, 7)} == {9}, "the same pairs for all"


def test_the_seeds_of_completions_do_not_depend_on_the_folder_of_a_seed():
    asked = json.loads(iterations(seeds=[42]).requests_settings(job("drift/seed42/iter1")))
    assert (asked["seed"], asked["unit"]) == (42, "drift/iter1")


@pytest.mark.parametrize(
    ("trained", "previous", "initial"),
    [
        ("warmup", "base", "base"),
        ("drift/seed42/iter1", "warmup", "warmup"),
        ("drift/seed42/iter3", "drift/seed42/iter2", "warmup"),
        ("spin/seed42/iter1", "base", "base"),
        ("spin/seed42/iter3", "spin/seed42/iter2", "base"),
        ("drift/seed7/iter2", "drift/seed7/iter1", "warmup"),
    ],
)
def test_an_iteration_starts_from_the_one_before_and_a_method_where_its_recipe_says(trained, previous, initial):
    run = iterations()
    assert run.ancestors(trained) == [trained, previous, initial]
    assert run.reference(trained) == previous
    assert run.start_policy(job(trained)) == f"results/test/tiny/{previous}/policy"
    assert iterations(training={"reference": "initial"}).reference(trained) == initial


def test_every_policy_but_the_base_model_hands_on_a_remainder():
    run = iterations(training={"reference": "initial"})
    folder = "results/test/tiny"
    assert run.start_remainder(job("drift/seed42/iter3")) == f"{folder}/drift/seed42/iter2/remainder"
    assert run.reference_remainder(job("drift/seed42/iter3")) == f"{folder}/warmup/remainder"
    assert (run.start_remainder(job("warmup")), run.reference_remainder(job("spin/seed42/iter3"))) == ([], [])
    assert run.measured_remainders(job("drift/seed42/iter1")) == [
        f"{folder}/drift/seed42/iter1/remainder",
        f"{folder}/warmup/remainder",
    ]
    assert run.measured_remainders(job("spin/seed42/iter1")) == [f"{folder}/spin/seed42/iter1/remainder"]


def test_what_is_sampled_follows_from_the_recipe():
    run = iterations()
    assert run.samples("warmup") == {}
    assert run.sampled(job("warmup")) == {"requests": [], "completions": []}
    assert run.samples("drift/seed42/iter1") == {"previous": {"guided": 2}}
    ranked = {"previous": {"guided": 1, "plain": 2}}
    assert run.samples("ranked/seed42/iter1") == ranked, "the candidates, whatever sampling.n is"
    folder = "results/test/tiny/spin/seed42/iter2"
    assert run.sampled(job("spin/seed42/iter2")) == {
        "requests": [f"{folder}/requests.parquet"],
        "completions": [f"{folder}/completions/1-of-2.parquet", f"{folder}/completions/2-of-2.parquet"],
    }


def test_an_anchor_is_asked_of_the_policy_that_its_method_starts_from():
    anchored = {"prompts": "dsat", "chosen": "guided", "rejected": "plain@initial"}
    run = iterations(methods=["anchored"], recipes={"anchored": anchored})
    trained, folder = "anchored/seed42/iter2", "results/test/tiny/anchored/seed42/iter2"
    assert run.sampled(job(trained)) == {
        "requests": [f"{folder}/requests.parquet", f"{folder}/of/initial/requests.parquet"],
        "completions": [f"{folder}/{of}completions/{i}-of-2.parquet" for of in ("", "of/initial/") for i in (1, 2)],
    }
    assert run.requested(job(trained)) == {"guided": 2}
    assert run.asked_policy(job(trained)) == "results/test/tiny/anchored/seed42/iter1/policy"
    assert run.requested(job(trained, asked="initial")) == {"plain@initial": 2}
    assert run.asked_policy(job(trained, asked="initial")) == "results/test/tiny/warmup/policy"
    assert run.asked_manifest(job(trained, asked="initial")) == "results/test/tiny/warmup/policy.json"


def test_candidates_are_ranked_by_the_ranker_of_the_recipe_and_others_not_at_all():
    folder = "results/test/tiny/ranked/seed42/iter1/rank"
    run = iterations()
    assert run.ranks(job("drift/seed42/iter1")) == []
    assert run.ranks(job("ranked/seed42/iter1")) == [f"{folder}/scores.parquet"]
    rankers = {"rankers": {"rewards": {"kind": "classifier", "path": "model"}}}
    by_rewards = iterations(methods=["ranked"], recipes={"ranked": RANKED | {"rank": "rewards"}}, **rankers)
    assert by_rewards.ranks(job("ranked/seed42/iter1")) == [f"{folder}/rewards.parquet"]


def test_a_ranking_by_likelihood_asks_the_policy_and_those_before_it_down_to_the_base_model():
    run = iterations(methods=["cream"], recipes={"cream": RANKED | {"rank": "likelihood"}})
    folder = "results/test/tiny"
    first, third = job("cream/seed42/iter1"), job("cream/seed42/iter3")
    assert run.ranks(first) == [f"{folder}/cream/seed42/iter1/rank/implied.parquet"]
    assert run.agreement(first) == f"{folder}/cream/seed42/iter1/rank/agreement.parquet"
    assert run.ranking_policies(first) == [f"{folder}/warmup/policy", f"{folder}/base/policy"]
    assert run.ranking_remainders(first) == [f"{folder}/warmup/remainder"]
    before = [f"{folder}/{name}/policy" for name in ("cream/seed42/iter2", "cream/seed42/iter1", "warmup")]
    assert run.ranking_policies(third) == before


def test_a_writer_is_asked_once_by_the_first_iteration():
    written = {"prompts": "dsat", "chosen": "written", "rejected": "logged", "writer": "judge"}
    run = iterations(methods=["written"], recipes={"written": written})
    asked = ["results/test/tiny/written/seed42/iter1/of/writer/requests.parquet"]
    assert [run.requests(job(f"written/seed42/iter{k}")) for k in (1, 2, 3)] == 3 * [asked]


def test_rejected_replies_of_another_side_are_sampled_from_the_iteration_on_that_has_a_share_of_them():
    mix = {"side": "plain@initial", "shares": [0.0, 0.3]}
    run = iterations(
        methods=["mixed"], recipes={"mixed": {"prompts": "dsat", "chosen": "guided", "rejected": "logged", "mix": mix}}
    )
    first, second, third = (f"mixed/seed42/iter{k}" for k in (1, 2, 3))
    assert run.samples(first) == {"previous": {"guided": 2}}
    assert run.samples(second) == run.samples(third) == {"previous": {"guided": 2}, "initial": {"plain@initial": 2}}
    settings = [json.loads(run.pairs_settings(job(name)))["recipe"]["mix"] for name in (first, second, third)]
    assert settings == [None, *2 * [{"side": "plain@initial", "share": 0.3, "seed": 42}]]


def test_a_pace_is_that_of_the_iteration_and_the_warm_up_has_none():
    run = iterations(training={"pacing": {"order": "hard", "shares": [0.3, 0.6]}}, data=DATA | {"seed": 9})
    paces = [
        json.loads(run.train_settings(job(name)))["pace"] for name in ("warmup", *(f"drift/seed42/iter{k}" for k in (1, 2, 3)))
    ]
    assert paces == [None, *({"order": "hard", "share": share, "seed": 9} for share in (0.3, 0.6, 0.6))]


def test_a_policy_of_the_future_is_trained_on_the_other_candidates_and_asked_for_more():
    temporal = RANKED | {"candidates": ["plain", "plain@initial", "plain@future"], "rank": "self"}
    run = iterations(methods=["temporal"], recipes={"temporal": temporal})
    assert run.future_methods == ["temporal.future"]
    assert "tiny/temporal.future/seed42/iter1" not in run.policies("tiny"), "it is asked, and answers no benchmark"
    trained, future = "temporal/seed42/iter2", "temporal.future/seed42/iter2"
    assert run.previous(future) == run.previous(trained) == "temporal/seed42/iter1"
    assert run.initial(future) == "warmup"
    assert run.samples(future) == {"previous": {"plain": 1}, "initial": {"plain@initial": 1}}
    assert run.samples(trained) == {"future": {"plain@future": 1}}, "the others are sampled once"
    folder = "results/test/tiny"
    assert run.asked_policy(job(trained, asked="future")) == f"{folder}/{future}/policy"
    made = [f"{folder}/{future}/requests.parquet", f"{folder}/{future}/of/initial/requests.parquet"]
    assert run.paired(job(future))["requests"] == made
    assert run.paired(job(trained))["requests"] == [*made, f"{folder}/{trained}/of/future/requests.parquet"]
    assert run.requests(job(trained)) == [f"{folder}/{trained}/of/future/requests.parquet"], "what is ranked anew"
    assert run.ranks(job(trained)) == [f"{folder}/{name}/rank/scores.parquet" for name in (future, trained)]


def test_pairs_of_earlier_iterations_are_replayed_the_nearest_first():
    recipe = {"prompts": "sat", "chosen": "logged", "rejected": "plain", "replay": 2}
    run = iterations(methods=["spin"], recipes={"spin": recipe}, iterations=4)
    for trained, earlier in {
        "warmup": [],
        "spin/seed42/iter1": [],
        "spin/seed42/iter2": [1],
        "spin/seed42/iter4": [3, 2],
    }.items():
        assert run.replay(job(trained)) == [f"results/test/tiny/spin/seed42/iter{k}/pairs.parquet" for k in earlier]


def test_the_gates_see_the_prompts_of_the_pairs_and_every_test_split():
    run = iterations()
    assert run.prompts(job("warmup")) == "results/test/tiny/prompts/corrections.parquet"
    tables = [f"results/test/tiny/prompts/{table}.parquet" for table in ("corrections", "dsat")]
    assert run.gate_prompts(job("drift/seed42/iter1")) == tables
    assert run.gate_prompts(job("spin/seed42/iter1")) == [*tables, "results/test/tiny/prompts/sat.parquet"]


def test_the_fingerprints_list_the_sides_that_are_used():
    run = iterations()
    assert [path.stem for path in run.sampled_sides(job("drift/seed42/iter1"))] == ["guided"]
    assert [path.stem for path in run.paired_sides(job("drift/seed42/iter1"))] == ["guided", "logged"]
    assert all(path.is_file() for path in run.paired_sides(job("ranked/seed42/iter1")))


def test_the_settings_of_a_training_are_what_shapes_the_policy_and_nothing_else():
    run = iterations(training={"lora": {"rank": 4}, "warmup_epochs": 5})
    settings = json.loads(run.train_settings(job("warmup")))
    assert (settings["epochs"], settings["name"]) == (5, "tiny/warmup")
    assert json.loads(run.train_settings(job("drift/seed42/iter1")))["epochs"] == 1
    assert settings["training"].keys() == PolicyTraining.model_fields.keys()
    assert not settings["training"].keys() & (TrainingRun.model_fields.keys() | {"reference", "diagnostics", "epochs"})
    assert settings["training"]["lora"]["rank"] == 4


def test_a_training_gets_the_gpus_and_the_time_of_its_job():
    run = json.loads(
        iterations(training={"launcher": "ddp"}).training_run(job("drift/seed42/iter1"), {"gpu": 4, "runtime": 60})
    )
    assert (run["processes"], run["deadline"]) == (4, 60.0)
    assert json.loads(iterations().training_run(job("drift/seed42/iter1"), {}))["processes"] is None
    with pytest.raises(ValueError, match="global_batch 32 is not a multiple of device_batch 4 x 3 devices"):
        iterations(training={"launcher": "ddp"}).training_run(job("drift/seed42/iter1"), {"gpu": 3})
