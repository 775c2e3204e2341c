"""What each stage of a run is asked and needs, as the plan has it; and how often its jobs wait."""

import re
import subprocess

import pytest

import plan
from drift.cli import StageError
from drift.config import load
from drift.workflow.cost_model import GIB
from drift.workflow.dry_run import Job
from drift.workflow.plan.queue import waits
from drift.workflow.plan.text import show
from drift.workflow.plan.work import ROWS, Lengths, for_all_models, generations
from tests.builders.plans import config, planned
from tests.conftest import REPOSITORY, SNAKEMAKE

DRIVER_PYTHON = SNAKEMAKE.parent / "python"


def test_a_rubric_is_asked_about_every_reply_once():
    run = config()
    endpoint = {"input_price": 1.0, "output_price": 0.0, "budget": None}
    rubric = {"kind": "rubric", "path": None, "endpoint": endpoint, "context": 4096, "max_replies": 500, "shards": 2}
    run["data"]["labelers"]["rubric"] = rubric
    (stage,) = [stage for stage in planned(run).stages.values() if stage.rule == "annotate"]
    assert stage.requests == 500
    assert stage.cost == pytest.approx(stage.read * 1e-6)
    run["data"]["labelers"]["rubric"]["max_replies"] = 10 * ROWS["replies"]
    (work,) = for_all_models(run, ROWS["replies"], Lengths())
    assert work.requests == ROWS["replies"], "no more than there are"


def test_labelers_that_have_a_model_read_later_data_with_those_of_the_start_in_them():
    run = config() | {"iterations": 4, "seeds": [1, 7]}
    rubric = {"kind": "rubric", "endpoint": {"url": "http://localhost:1/v1", "model": "x", "input_price": 1.0}}
    mood = {"kind": "classifier", "path": "hf:some/qwen2.5-0.5b@abc", "classes": {"up": "SAT", "down": "DSAT"}}
    run["data"]["labelers"] |= {"rubric": rubric, "mood": mood}
    name = next(iter(run["data"]["sources"]))
    run["data"]["sources"]["april"] = run["data"]["sources"][name] | {"from_iteration": 3}
    stages = planned(load(run)).stages
    assert stages["later_annotate", "rubric (endpoint)"].requests == ROWS["replies"], "one for all methods and seeds"
    assert stages["later_classify", "mood"].requests == ROWS["replies"]
    simulation = {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@abc", "max_prompts": 300, "deployed": "previous"}
    run["data"]["sources"]["april"] = {"kind": "simulated", "path": "prompts.jsonl", "simulation": simulation}
    each = 3 * 2 * len(run["methods"])
    assert planned(load(run)).stages["later_classify", "mood"].requests == each * ROWS["replies"], "of each policy but the last"


def test_a_classifier_reads_what_it_is_shown_of_every_reply_once_for_all_models():
    run = config()
    row = {
        "kind": "classifier",
        "path": "hf:some/qwen2.5-0.5b",
        "context": 4096,
        "shards": 2,
        "reads": ["response", "feedback"],
    }
    run["data"]["labelers"]["mood"] = row | {"endpoint": None}
    budget = planned(run)
    stage = budget.stages["classify", "mood"]
    assert (stage.requests, stage.read, stage.written) == (ROWS["replies"], ROWS["replies"] * (400 + 60), 0)
    assert stage.gpu_hours > 0
    assert "classify mood (1 GPU)" in budget.memory
    assert "model of mood" in budget.disk
    assert not [other for other in budget.stages.values() if other.rule == "annotate"]


def test_simulated_users_ask_once_and_those_who_are_disappointed_again():
    run = config()
    simulation = {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@abc", "max_prompts": 300, "samples": 2, "ask_again": 0.5, "shards": 3}
    run["data"]["sources"]["users"] = {"kind": "simulated", "path": "prompts.jsonl", "simulation": simulation}
    run = load(run)
    planned_run = planned(run)
    assert planned_run.stages["answer_users", "users"].requests == 300 * 2 * (1 + 0.5)
    assert any(what.startswith("answer_users users") for what in planned_run.memory)
    run["data"]["sources"]["users"]["simulation"]["ask_again"] = 0.0
    asked = [work.requests for work in for_all_models(run, 0, Lengths()) if work.rule == "answer_users"]
    assert asked == [300 * 2], "no job for what nobody asks"


def test_users_who_talk_to_policies_ask_one_of_every_iteration_but_the_last_of_each_seed():
    run = config() | {"iterations": 4, "seeds": [1, 7]}
    simulation = {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@abc", "max_prompts": 300, "ask_again": 0.0, "deployed": "previous"}
    run["data"]["sources"]["users"] = {"kind": "simulated", "path": "prompts.jsonl", "simulation": simulation}
    for first, policies in ((1, 3), (2, 3), (3, 2)):
        run["data"]["sources"]["users"]["from_iteration"] = first
        asked = [
            work for work in generations(load(run), ROWS, Lengths()) if work.rule == "later_answer_users" and work.requests
        ]
        assert [(work.repeats, work.requests) for work in asked] == [(policies * 2, 300)] * len(run["methods"])
    run["iterations"] = run["data"]["sources"]["users"]["from_iteration"] = 1
    assert not [rule for rule, _ in planned(load(run)).stages if rule == "later_answer_users"], "there is no later one"
    run["iterations"] = 4
    run["recipes"][run["methods"][0]]["fresh"] = 0.0
    asked = [work for work in generations(load(run), ROWS, Lengths()) if work.rule == "later_answer_users" and work.requests]
    assert len(asked) == len(run["methods"]) - 1, "a method that stays with the start asks no more"


def test_a_reward_model_reads_every_candidate_and_both_sides_of_compared_pairs():
    row = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain"] * 4, "rank": "self"}
    run = config(methods=["iterated"], recipes__iterated=row)
    run["rankers"]["reward"] = {"kind": "classifier", "path": "hf:some/qwen2.5-0.5b", "max_length": 2048}
    run["recipes"]["iterated"]["rank"] = run["training"]["pair_quality"]["rater"] = "reward"
    stages = planned(run).stages
    assert stages["rewards", "reward"].requests == 2 * 4 * ROWS["dsat"]
    assert stages["pair_scores", "reward"].requests == 3 * 2 * 64, "the warm-up and two iterations"


def test_a_reward_model_reads_the_answers_of_the_policies_that_are_explored():
    run = config()
    run["rankers"]["reward"] = {"kind": "classifier", "path": "hf:some/qwen2.5-0.5b", "max_length": 2048}
    run["evaluation"]["benchmarks"]["heldout"]["samples"] = 8
    explored = {"benchmark": "heldout", "embedder": {"path": "hf:some/encoder"}, "reward": "reward", "iterations": [1, 2]}
    assert ("answer_rewards", "reward") not in planned(run).stages
    run["exploration"] = explored
    policies = 1 + 2 * len(run["methods"])
    stage = planned(run).stages["answer_rewards", "reward"]
    assert stage.requests == policies * 8 * run["data"]["test_conversations"]


def test_judges_are_validated_on_published_answers():
    assert not [stage for stage in planned(config()).stages.values() if stage.rule == "judge_published"]
    run = config(evaluation__validation="published.jsonl")
    assert planned(run).stages["judge_published", "qwen2.5-32b"].requests == 2 * 500


def test_every_policy_scores_the_held_out_corrections_and_every_training_is_measured():
    run = config()
    budget = planned(run)
    policies = 2 + len(run["methods"]) * run["iterations"]
    assert budget.stages["logps", "qwen2.5-7b"].requests == policies * 2 * run["data"]["test_correction_conversations"]
    measured = budget.stages["diagnostics", "qwen2.5-7b"]
    assert measured.requests == ROWS["corrections"] + 2 * ROWS["dsat"] + 2 * ROWS["sat"]
    memory = budget.memory["diagnostics qwen2.5-7b (1 GPU)"]
    assert (memory["weights"] + memory["gradients"]) / GIB == pytest.approx(8 * 7.6156e9 / GIB, rel=0.001), "56.7 GiB"


def test_a_policy_that_cannot_be_measured_on_its_gpu_is_refused_with_what_makes_it_fit():
    lora = {"rank": 64, "alpha": 64, "dropout": 0.0, "targets": "all-linear"}
    (problem,) = [
        one
        for one in planned(config(training__lora=lora, training__launcher="single"), "a100-40", gpus=8).problems
        if "diagnostics" in one
    ]
    assert "It fits with training.diagnostics: {pairs: 0, prompts: 0}" in problem
    off = {"pairs": 0, "prompts": 0}
    small = planned(config(training__lora=lora, training__launcher="single", training__diagnostics=off), "a100-40", gpus=8)
    assert not [one for one in small.problems if "diagnostics" in one]
    full = planned(config(training__diagnostics=off), "rtx4090-24", gpus=8).problems
    assert any("diagnostics" in one and "It fits with a GPU with more memory" in one for one in full)


def test_the_longest_name_of_a_stage_ends_before_the_next_column():
    budget = planned(config())
    budget.book("later_answer_users", "qwen2.5-7b", requests=1, read=1, written=1)
    lines = [line.split() for line in show("demo", budget, ROWS, Lengths(), None).splitlines()]
    assert ["later_answer_users", "qwen2.5-7b"] in [words[:2] for words in lines]


def job(rule: str, made: str, *read: str, light: bool = False) -> Job:
    resources = "mem_mb=4000" + (", light=1" if light else "")
    fields = {"output": made, "resources": resources} | ({"input": ", ".join(read)} if read else {})
    return Job(rule, fields)


def test_jobs_that_follow_each_other_wait_one_after_another_and_light_ones_do_not():
    jobs = [
        job("fetch", "raw"),
        job("requests", "asked", "raw", light=True),
        job("sample", "shard1", "asked"),
        job("sample", "shard2", "asked"),
        job("pairs", "pairs", "shard1", "shard2", light=True),
        job("train", "policy", "pairs", "elsewhere"),
        job("logps", "logps", "raw"),
    ]
    assert waits(jobs, light_submitted=False) == 2
    assert waits(jobs, light_submitted=True) == 4


def test_a_score_reads_one_answer_once():
    run = config()
    benchmark = run["evaluation"]["benchmarks"]["heldout"] | {"kind": "wildbench", "path": "tasks.jsonl"}
    run["evaluation"]["benchmarks"] = {"wild": benchmark}
    (judged,) = [work for work in generations(run, ROWS, Lengths()) if work.rule == "judge"]
    assert (judged.requests, judged.read, judged.written) == (1024, 1200 + 400 + 250, 220)


def test_a_guided_request_reads_the_reply_and_the_feedback_too_and_a_ranking_every_candidate():
    row = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "guided", "guided"]}
    run = config(methods=["iterated"], recipes__iterated=row | {"rank": "self"})
    work = [work for work in generations(run, ROWS, Lengths()) if work.rule in ("sample", "rank")]
    read = {(part.rule, part.requests): part.read for part in work}
    assert read == {
        ("sample", ROWS["dsat"]): 1200,
        ("sample", 2 * ROWS["dsat"]): 1200 + 400 + 60,
        ("rank", 3 * ROWS["dsat"]): 1200 + 400 + 250,
    }
    assert all(part.answerer is None for part in work), "the policy ranks its own samples"


def test_the_votes_of_a_policy_that_ranks_are_planned():
    row = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain"] * 4, "rank": "self"}
    votes = {"votes": 3, "decoding": {"temperature": 0.7}}
    run = config(methods=["iterated"], recipes__iterated=row | {"self_ranking": votes})
    (ranked,) = [work for work in generations(run, ROWS, Lengths()) if work.rule == "rank"]
    assert ranked.requests == 3 * 4 * ROWS["dsat"]


def steps_of(pairs: int) -> int:
    """The pairs of an epoch's steps of 32, the last of which is filled up."""
    return 32 * -(-pairs // 32)


def test_a_method_with_epochs_samples_and_earlier_pairs_of_its_own_is_planned_with_them():
    usual, own = (
        planned(config(methods=["mine"], recipes__mine={"prompts": "sat", "chosen": "logged", "rejected": "plain"} | row))
        for row in ({}, {"replay": 1, "training": {"epochs": 2}, "sampling": {"n": 3}})
    )
    requests = {name: own.stages[name, "qwen2.5-7b"].requests for name in ("train", "sample")}
    warmup = 3 * steps_of(ROWS["corrections"])
    assert usual.stages["train", "qwen2.5-7b"].requests == warmup + 2 * steps_of(ROWS["sat"])
    both = steps_of(ROWS["sat"]) + steps_of(2 * ROWS["sat"])
    assert requests["train"] == warmup + 2 * both, "the second iteration has the pairs of both"
    assert requests["sample"] == 2 * 3 * ROWS["sat"]


def test_pairs_are_compared_in_both_orders_in_every_iteration_and_the_bill_shows_it():
    run = config(methods=["drift"])
    endpoint = {"input_price": 5.0, "output_price": 15.0, "budget": None}
    run["evaluation"]["judges"]["qwen2.5-32b"] |= {"endpoint": endpoint, "path": None}
    compared = [work for work in generations(run, ROWS, Lengths()) if work.rule == "compare"]
    assert [(work.repeats, work.requests) for work in compared] == [(1, 2 * 64), (2, 2 * 64)], "the warm-up, two iterations"
    (stage,) = [stage for stage in planned(run).stages.values() if stage.rule == "compare"]
    assert stage.read == 3 * 2 * 64 * (1200 + 2 * 400 + 250)
    assert stage.cost == pytest.approx(stage.read * 5e-6 + stage.written * 15e-6)
    run["training"]["pair_quality"]["pairs"] = 0
    assert not [work for work in generations(run, ROWS, Lengths()) if work.rule == "compare"]


def test_the_program_counts_jobs_as_snakemake_does_and_fails_where_the_run_cannot_fit():
    command = [str(DRIVER_PYTHON), str(REPOSITORY / "tools/plan.py"), "--configfile", str(REPOSITORY / "config.yaml")]
    refused = subprocess.run([*command, "--gpus", "1", "--price", "2"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "train 5" in refused.stdout, "the warm-up and two iterations of two methods"
    assert "GPUs at 2.00 USD an hour" in refused.stdout
    assert refused.stderr.startswith("error: this run cannot be:\n  - train qwen2.5-7b")
    demo = REPOSITORY / "demo/run.yaml"
    fits = subprocess.run([*command, "--no-jobs", "--configfile", str(demo)], capture_output=True, text=True, check=False)
    assert fits.returncode == 0, fits.stderr


def test_rows_that_are_none_are_planned_as_none_and_what_is_no_number_of_rows_is_refused(monkeypatch, capsys):
    """As of logs without a correction: none is not the paper's 491."""
    command = ["plan.py", "--configfile", str(REPOSITORY / "config.yaml"), "--no-jobs", "--gpus", "8", "--rows"]
    monkeypatch.setattr("sys.argv", [*command, "sat=0", "corrections=0"])
    plan.main()
    (assumed,) = re.findall(
        r"assumed: rows dsat 11,000, sat (\S+), corrections (\S+), replies 89,000;", capsys.readouterr().out
    )
    assert [float(count) for count in assumed] == [0, 0]
    monkeypatch.setattr("sys.argv", [*command, "dsat=nan"])
    with pytest.raises(SystemExit):
        plan.main()
    assert "dsat=nan: NAME=NUMBER is needed, a number of 0 or more" in capsys.readouterr().err


def test_a_configuration_that_is_no_text_is_refused_in_a_line(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("run: é".encode("latin-1"))
    with pytest.raises(StageError, match=r"mine\.yaml: 'utf-8' codec can't decode"):
        plan.read_config(tmp_path / "mine.yaml")
