"""What a method, a benchmark, a judge or a training lacks is refused before anything runs."""

import pytest

from drift.config import load
from tests.builders.configurations import ENDPOINT, minimal, refusal


@pytest.mark.parametrize(
    ("prompts", "chosen", "rejected", "why"),
    [
        ("sat", "plain", "logged", "sat has no logged reply that is rejected"),
        ("dsat", "logged", "plain", "dsat has no logged reply that is chosen"),
        ("dsat", "plain", "plain", "carry no preference"),
        ("sat", "logged", "guided", "use plain"),
    ],
)
def test_a_recipe_whose_sides_do_not_exist_or_differ_is_refused(prompts, chosen, rejected, why):
    message = refusal(minimal(methods=["mine"], recipes={"mine": {"prompts": prompts, "chosen": chosen, "rejected": rejected}}))
    assert "recipes.mine" in message
    assert why in message


PLAIN = {"prompts": "dsat", "chosen": "best", "rejected": "logged", "rank": "rm", "candidates": ["plain", "plain"]}


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"rankers": {"rm": {"path": "m", "wrong": 0.3}}}, "rankers.rm: wrong: kind classifier does not read it; leave it out"),
        ({"rankers": {"rm": {"kind": "checks", "path": "m", "max_length": 99}}}, "max_length: kind checks does not read it"),
        (
            {"data": minimal()["data"] | {"labelers": {"lexical": {"kind": "lexical", "max_replies": 5}}}},
            "a lexical labeler asks no model: leave out max_replies",
        ),
        (
            {
                "rankers": {"rm": {"path": "m"}},
                "recipes": {"mine": PLAIN},
                "methods": ["mine"],
                "sampling": {"temperature": 0.0},
            },
            "recipes.mine.candidates: several of one kind are the same reply at sampling.temperature 0",
        ),
    ],
)
def test_a_key_without_effect_is_refused(sections, why):
    assert why in refusal(minimal(**sections))


def test_seed_corrections_may_be_logged_on_both_sides():
    row = {"prompts": "corrections", "chosen": "logged", "rejected": "logged"}
    assert load(minimal(methods=["mine"], recipes={"mine": row}))["recipes"]["mine"]["start"] == "warmup"


def test_a_global_batch_that_devices_cannot_share_is_refused():
    assert "global_batch 30 is not a multiple of device_batch 4" in refusal(
        minimal(training={"global_batch": 30, "device_batch": 4})
    )


@pytest.mark.parametrize("row", [{}, {"path": "/models/judge", "endpoint": ENDPOINT}], ids=["neither", "both"])
def test_a_judge_runs_here_or_is_behind_an_endpoint(row):
    message = refusal(minimal(evaluation={"judge": "j", "judges": {"j": row}}))
    assert "evaluation.judges.j" in message
    assert "give either path" in message


def test_an_endpoint_says_what_it_does_not_know():
    row = {"endpoint": ENDPOINT | {"concurency": 8}}
    message = refusal(minimal(evaluation={"judge": "j", "judges": {"j": row}}))
    assert "evaluation.judges.j.endpoint.concurency: unknown key" in message
    assert "did you mean 'concurrency'?" in message


def test_a_benchmark_stays_greedy_where_only_its_length_is_given():
    evaluation = minimal()["evaluation"] | {"benchmarks": {"heldout": {"kind": "heldout", "decoding": {"max_tokens": 100}}}}
    decoding = load(minimal(evaluation=evaluation))["evaluation"]["benchmarks"]["heldout"]["decoding"]
    assert (decoding["temperature"], decoding["top_p"], decoding["max_tokens"]) == (0.0, 1.0, 100)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"sampling": {"max_tokens": 512, "context": 512}}, "sampling.max_tokens 512"),
        ({"training": {"max_length": 400}}, "training.max_length 400"),
        ({"sampling": {"context": 1024}}, "decoding.max_tokens 2048"),
    ],
)
def test_lengths_that_leave_no_room_for_a_prompt_are_refused(sections, key):
    assert key in refusal(minimal(**sections))


@pytest.mark.parametrize("training", [{"losses": {"sigmiod": 1.0}}, {"schedule": "liner"}, {"optimizer": "rmspro"}])
def test_a_mistyped_name_of_the_trainers_is_refused_before_a_gpu_is_asked_for(training):
    (key,) = training
    assert f"training.{key}" in refusal(minimal(training=training))


def evaluated(benchmark: dict, **changes) -> dict:
    """A configuration with one benchmark, and an evaluation that is changed."""
    judges = {"here": {"path": "m"}, "there": {"endpoint": {"url": "http://x/v1", "model": "y"}}}
    return minimal(evaluation={"benchmarks": {"b": benchmark}, "judge": "here", "judges": judges} | changes)


@pytest.mark.parametrize(
    ("benchmark", "answer"),
    [
        ({"kind": "wildbench"}, "path: where are the tasks?"),
        ({"kind": "heldout", "path": "x"}, "kind heldout takes no path; remove it, or use kind wildbench or alpacaeval or"),
        ({"kind": "heldout", "references": {"gpt": "x"}}, "kind heldout takes no references; remove it, or use kind wildbench"),
        ({"kind": "prompts", "path": "x", "gamed": "y"}, "kind prompts takes no gamed; remove it, or use kind alpacaeval"),
        ({"kind": "prompts", "path": "x", "references": {"baseline": "y"}}, "choose another name"),
        ({"kind": "prompts", "path": "x", "samples": 3}, "samples 3 at temperature 0 are 3 times the same"),
        ({"kind": "prompts", "path": "x", "judge": "her"}, "there is no 'her', did you mean 'here'?"),
        ({"kind": "prompts", "path": "x", "judge": ["there", "where"]}, "there is no 'where'"),
        (
            {"kind": "prompts", "path": "x", "context": 64},
            "max_tokens 2048 leaves no room for a prompt in evaluation.benchmarks.b.context",
        ),
        ({"kind": "alpaca", "path": "x"}, "alpacaeval"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused_with_the_cure(benchmark, answer):
    assert answer in refusal(evaluated(benchmark))


def test_more_pairs_than_a_pool_may_have_are_refused_with_the_method():
    data = minimal()["data"] | {"max_dsat": 9}
    assert load(minimal(data=data, training={"pairs": 9}))["training"]["pairs"] == 9
    said = refusal(minimal(data=data, training={"pairs": 10}))
    assert "training.pairs 10, but method drift has no more than data.max_dsat 9 prompts; raise the maximum" in said


def test_a_benchmark_may_have_judges_and_a_context_of_its_own():
    row = {"kind": "wildbench", "path": "x", "judge": ["here", "there"], "context": 16384, "decoding": {"max_tokens": 4096}}
    loaded = load(evaluated(row))["evaluation"]
    assert loaded["benchmarks"]["b"]["judge"] == ["here", "there"]
    assert loaded["judges"]["there"]["decoding"]["max_tokens"] == 1024


def test_votes_without_sampling_are_refused_where_they_would_all_be_the_same():
    votes = {"here": {"path": "m", "votes": 3}}
    assert "votes 3 without sampling" in refusal(evaluated({"kind": "heldout"}, judges=votes))
    votes["here"]["decoding"] = {"temperature": 0.7}
    load(evaluated({"kind": "heldout"}, judges=votes))


@pytest.mark.parametrize(
    ("training", "answer"),
    [
        ({"losses": {"sft": 1.0}}, "sft alone has no use for rejected replies"),
        ({"losses": {"robust": 1.0}}, "robust needs label_smoothing above 0"),
        ({"losses": {"exo_pair": 1.0}}, "exo_pair needs label_smoothing above 0"),
        ({"label_smoothing": 0.1}, "label_smoothing has no effect on sigmoid, sft"),
        ({"losses": {"aot": 1.0}, "device_batch": 1}, "device_batch must be at least 2"),
        ({"processes": 2}, "launcher: single is one process, not 2"),
        ({"launcher": "ddp", "processes": 3}, "global_batch 32 is not a multiple of device_batch 4 x 3 devices"),
        ({"launcher": "fsdp2", "lora": {}}, "fsdp2 with lora: adapters need no sharding"),
        ({"lora": {"rnk": 8}}, "training.lora.rnk: unknown key: there is no 'rnk', did you mean 'rank'?"),
    ],
)
def test_what_a_training_lacks_is_said_before_a_gpu_is_asked_for(training, answer):
    assert answer in refusal(minimal(training=training))


@pytest.mark.parametrize(
    "training",
    [
        {"losses": {"robust": 1.0}, "label_smoothing": 0.1},
        {"losses": {"sppo_hard": 1.0}},
        {"lora": {"rank": 8, "targets": ["q_proj", "v_proj"]}, "launcher": "ddp"},
        {"launcher": "zero3", "processes": 8},
    ],
)
def test_losses_adapters_and_launchers_are_taken_by_name(training):
    loaded = load(minimal(training=training))["training"]
    assert loaded["losses"] == training.get("losses", {"sigmoid": 1.0, "sft": 0.001})
    assert (loaded["lora"] or {}).get("rank") == training.get("lora", {}).get("rank")


RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "plain"], "rank": "self"}


@pytest.mark.parametrize("rank", ["self", "llama", "deberta"])
def test_candidates_are_ranked_by_the_policy_a_judge_or_a_ranker(rank):
    models = {"deberta": {"path": "/models/deberta"}}
    load(minimal(recipes={"ranked": RANKED | {"rank": rank}}, methods=["ranked"], rankers=models))


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"rank": None}, "who scores the candidates?"),
        ({"rank": "lama"}, "there is no 'lama', did you mean 'llama'?"),
        ({"candidates": ["plain"]}, "a ranking needs two or more"),
        ({"chosen": "worst", "rejected": "best"}, "best is chosen, worst rejected"),
        ({"rejected": "plain"}, "the other side is logged, or the other end of the ranking"),
        ({"chosen": "guided", "rejected": "logged"}, "candidates, rank and min_score belong to chosen: best"),
        ({"prompts": "sat", "candidates": ["plain", "guided"]}, "candidates: guided shows the reply that disappointed"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused(changes, answer):
    assert answer in refusal(minimal(recipes={"ranked": RANKED | changes}, methods=["ranked"]))


@pytest.mark.parametrize("side", ["plain", "worst", "written"])
def test_a_mixed_in_side_is_one_that_neither_the_pair_nor_its_candidates_have(side):
    mixed = {"chosen": "best", "rejected": "logged", "mix": {"side": side, "shares": [0.5]}}
    message = refusal(minimal(recipes={"mixed": RANKED | mixed}, methods=["mixed"]))
    assert f"mix.side: {side} must be another side than chosen, rejected and the candidates" in message


@pytest.mark.parametrize(("rejected", "side"), [("worst", "plain@initial"), ("logged", "guided"), ("logged", "plain@initial")])
def test_a_mixed_in_side_is_not_ranked_with_the_candidates(rejected, side):
    """Every sample of an iteration is, so that it would be best or worst where no prompt has it."""
    mixed = {"chosen": "best", "rejected": rejected, "mix": {"side": side, "shares": [0.5]}}
    message = refusal(minimal(recipes={"mixed": RANKED | mixed}, methods=["mixed"]))
    assert f"mix.side: {side} is sampled, and would be ranked with the candidates" in message
    logged = RANKED | {"chosen": "best", "rejected": "worst", "mix": {"side": "logged", "shares": [0.5]}}
    load(minimal(recipes={"mixed": logged}, methods=["mixed"]))


def test_a_judge_of_pairs_cannot_rank():
    values = minimal(recipes={"ranked": RANKED | {"rank": "llama"}}, methods=["ranked"])
    values["evaluation"]["judges"]["llama"]["verdict"] = "letter"
    assert "candidates need scores" in refusal(values)


@pytest.mark.parametrize(
    ("ranker", "message"),
    [
        ({"kind": "clasifier", "path": "/m"}, "rankers.mine.kind: there is no 'clasifier', did you mean 'classifier'?"),
        ({"kind": "classifier"}, "rankers.mine: path: kind classifier needs a model; give its address or where it is"),
    ],
)
def test_a_ranker_that_cannot_be_is_refused(ranker, message):
    assert message in refusal(minimal(rankers={"mine": ranker}))


@pytest.mark.parametrize("name", ["self", "llama"])
def test_a_ranker_has_a_name_of_its_own(name):
    assert "their names must differ" in refusal(minimal(rankers={name: {"path": "/m"}}))
