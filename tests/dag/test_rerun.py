"""What runs again after a change: for every key of the configuration, every module, and what else
happens to a results folder."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from drift.config import Config, load
from tests.conftest import REPOSITORY, SNAKEMAKE, tiny_config
from tests.dag.finished import FinishedRun, Plan, changed
from tests.dag.keys import (
    ALWAYS,
    KEYS,
    LATER_KEYS,
    NOT_LISTED,
    NOTHING,
    RANKING_KEYS,
    RANKING_RECIPES,
    RATING,
    SIMULATED,
    keys_of,
)
from tests.dag.modules import SCRIPTS, users_of_modules

MODULES = sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py"))


def test_every_key_of_the_configuration_is_listed():
    assert keys_of(Config) - NOT_LISTED == KEYS.keys() | RANKING_KEYS.keys() | LATER_KEYS.keys()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run that uses every part of the configuration."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("model", "other"):
        (folder / name).mkdir()
    for name in ("logs.jsonl", "other.jsonl", "template.txt"):
        (folder / name).write_text("{}\n")
    config = tiny_config(folder / "model", folder / "logs.jsonl")
    config["sampling"]["shards"] = 2
    rubric = {"kind": "rubric", "path": str(folder / "model"), "max_replies": 9, "context": 4096, "shards": 1}
    endpoint = {"url": "http://localhost:1/v1", "model": "x", "key": "KEY"}
    far = {"kind": "rubric", "endpoint": dict(endpoint)}
    config["data"]["labelers"] |= {"again": {"kind": "lexical"}, "model": rubric, "far": far}
    annotated = {"kind": "wildfeedback", "path": str(folder / "logs.jsonl"), "conversations": str(folder / "logs.jsonl")}
    config["data"]["sources"]["second"] = annotated
    config["data"]["label_files"] = {"people": {"path": "logs.jsonl", "source": "chats"}}
    config["training"]["lora"] = {"rank": 8, "alpha": 8}
    config["training"]["pacing"] = {"order": "easy", "shares": [0.5]}
    config["training"]["losses"] = {"robust": 1.0}
    config["training"] |= {"label_smoothing": 0.2, "launcher": "ddp"}
    # Sampled, in words, by judges of all kinds: every knob of theirs counts.
    config["evaluation"]["judges"]["tiny"] |= {"verdict": "choice", "decoding": {"temperature": 1.0}, "context": 1200}
    config["evaluation"]["judges"]["second"] = {"path": str(folder / "other")}
    config["evaluation"]["judges"]["far"] = {"endpoint": endpoint}
    alpaca = {"kind": "alpacaeval", "path": "logs.jsonl", "judge": ["tiny", "far"]}
    alpaca["decoding"] = {"temperature": 0.7, "max_tokens": 48}
    late = {"kind": "gsm8k", "path": "logs.jsonl", "keep_out": False, "decoding": {"max_tokens": 48}}
    late |= {"examples": "logs.jsonl", "shots": 1}
    config["evaluation"]["benchmarks"] = {"alpaca": alpaca} | config["evaluation"]["benchmarks"] | {"late": late}
    return FinishedRun(folder, config).play()


@pytest.fixture(scope="module")
def ranking_run(tmp_path_factory):
    """A finished run of methods that rank: by themselves, with one vote and with several, and by
    rankers. Some of its users are simulated, code checks answers, and a classifier labels."""
    folder = tmp_path_factory.mktemp("ranking")
    for name in ("model", "rewards", "judge", "classifier", "encoder"):
        (folder / name).mkdir()
    for name in ("logs.jsonl", "wishes.jsonl"):
        (folder / name).touch()
    config = tiny_config(folder / "model", folder / "logs.jsonl") | {"iterations": 1}
    config["recipes"] = RANKING_RECIPES
    config["methods"] = list(config["recipes"])
    classes = {"classes": {"good": "SAT", "bad": "DSAT"}, "reads": ["feedback"], "context": 4096, "shards": 1}
    config["data"]["labelers"]["model"] = {"kind": "classifier", "path": str(folder / "classifier"), **classes}
    wishes = {"kind": "checks", "path": str(folder / "wishes.jsonl")}
    config["rankers"] = {"rewards": {"path": str(folder / "rewards")}, "wishes": wishes | {"on_topic": False, "wrong": 0.0}}
    users = {"samples": 1, "context": 512, "decoding": {"temperature": 1.0, "max_tokens": 48}}
    endpoint = {"url": "http://localhost:1/v1", "model": "x", "key": "KEY"}
    for name, model in (("users", {"path": str(folder / "model")}), ("far", {"endpoint": endpoint})):
        config["data"]["sources"][name] = wishes | {"kind": "simulated", "simulation": users | model}
    sampled = {"samples": 2, "decoding": {"temperature": 1.0, "max_tokens": 48}}
    config["evaluation"]["benchmarks"]["wishes"] = wishes | sampled
    config["evaluation"]["benchmarks"]["heldout"] |= sampled
    config["exploration"] = {"benchmark": "wishes", "embedder": {"path": str(folder / "encoder")}, "reward": "rewards"}
    config["evaluation"]["judges"]["judge"] = {"path": str(folder / "judge")}
    config["training"]["pair_quality"] = {"rater": ["rewards", "wishes"]}
    return FinishedRun(folder, config).play()


@pytest.fixture(scope="module")
def ranking_plans(ranking_run):
    """What would run after each of its keys' changes."""
    cases = {key: changed(ranking_run, key, value) for key, (value, _) in RANKING_KEYS.items() if value is not None}
    return dict(zip(cases, ranking_run.plans(list(cases.values())), strict=True))


@pytest.mark.parametrize("key", [key for key, (value, _) in RANKING_KEYS.items() if value is not None])
def test_a_changed_key_of_a_ranking_reruns_what_it_shapes(ranking_plans, key):
    assert isinstance(ranking_plans[key], Plan), ranking_plans[key]
    assert ranking_plans[key].changed_rules - ALWAYS == RANKING_KEYS[key][1]
    assert ranking_plans[key].running == ranking_plans[key].following


def test_a_judge_that_ranks_neither_samples_nor_trains_the_other_method_again(ranking_plans):
    made = {path for path in ranking_plans["recipes.*.rank"].running if path.endswith("/policy")}
    assert made == {"results/tiny/tiny/by-itself/seed42/iter1/policy", "results/tiny/judges/judge/policy"}


@pytest.fixture(scope="module")
def plans(run):
    """What would run after each key's change."""
    cases = {key: changed(run, key, value) for key, (value, _) in KEYS.items() if value is not None}
    return dict(zip(cases, run.plans(list(cases.values())), strict=True))


def test_a_finished_run_has_nothing_to_do(run):
    assert run.plan().running == NOTHING


@pytest.mark.parametrize("key", [key for key, (value, _) in KEYS.items() if value is not None])
def test_a_changed_key_reruns_what_it_shapes(plans, key):
    assert isinstance(plans[key], Plan), plans[key]
    assert plans[key].changed_rules - ALWAYS == KEYS[key][1]
    assert plans[key].running == plans[key].following


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Call to get a finished run, moved along with the workflow into another folder."""

    def copy(run: FinishedRun) -> FinishedRun:
        workflow = tmp_path_factory.mktemp("clone")
        for name in ("rules", "scripts"):
            shutil.copytree(REPOSITORY / name, workflow / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "Snakefile", workflow)
        shutil.copy(REPOSITORY / "config.yaml", workflow)
        moved = tmp_path_factory.mktemp("moved") / "run"
        shutil.copytree(run.folder, moved, symlinks=True)
        return replace(run, folder=moved, workflow=workflow)

    return copy


@pytest.fixture(scope="module")
def cloned(clone, run):
    """One such run."""
    return clone(run)


@pytest.fixture(scope="module")
def changed_code(cloned, clone, ranking_run):
    """The rules whose code changes with each module, in a run that uses every part of the
    configuration and in one of methods that rank."""
    clones = {"every part": cloned, "ranking": clone(ranking_run)}
    with ThreadPoolExecutor() as pool:
        return dict(zip(clones, pool.map(FinishedRun.changed_code, clones.values()), strict=True))


@pytest.fixture(scope="module")
def expected_code(run, ranking_run):
    """The rules whose code has to change with each module, in the same two runs."""
    return {
        name: {module: rules & in_use for module, rules in users_of_modules(load(one.config)).items()}
        for name, one in {"every part": run, "ranking": ranking_run}.items()
        for in_use in [one.plan().rules]
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_module_changes_the_code_of_the_rules_that_load_it(changed_code, expected_code, module):
    every, ranking = (expected_code[name].get(module, NOTHING) for name in ("every part", "ranking"))
    assert changed_code["every part"][module] == every
    # What a function imports counts where the function is used, which a smaller run may not do.
    assert changed_code["ranking"][module] <= ranking
    assert every or changed_code["ranking"][module] == ranking


# A program, a module of many programs, one of which definitions count, a plug-in, and one that
# shapes no result.
@pytest.mark.parametrize(
    "module", ["turns.py", "drift/tables/io.py", "drift/chat.py", "drift/verdicts/choice.py", "drift/cli.py"]
)
def test_a_changed_module_reruns_the_rules_whose_code_it_changes(changed_code, cloned, module):
    path = cloned.workflow / "scripts" / module
    plan = cloned.plan(edit=(path, path.read_text() + "\nprint()\n"))
    assert plan.changed_rules == changed_code["every part"][module]
    assert plan.running == plan.following


def test_a_changed_description_of_a_column_renews_the_catalog_that_shows_it(cloned):
    declared = cloned.workflow / "scripts/drift/tables/data.py"
    before = declared.read_text()
    after = before.replace("the user's message", "what the user wrote")
    assert after != before
    assert cloned.plan(edit=(declared, after)).running_rules == {"catalog", "report"}


def test_results_and_workflow_that_moved_are_still_finished(cloned):
    assert cloned.plan().running == NOTHING


def test_files_that_only_look_newer_rerun_nothing(cloned):
    turns = cloned.folder / "results/tiny/data/turns.parquet"
    for path in (turns, *cloned.workflow.rglob("*.py"), *cloned.workflow.rglob("*.smk")):
        path.touch()
    assert cloned.plan().running == NOTHING


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("logs.jsonl", {"turns"}),
        ("model/weights", {"register"}),
        ("rewards/weights", {"rewards", "pair_scores", "answer_rewards"}),
        ("classifier/weights", {"classify"}),
        ("encoder/weights", {"embedder"}),
        ("wishes.jsonl", SIMULATED | {"tasks", "rewards", "pair_scores"}),
    ],
)
def test_a_log_that_grew_or_weights_that_were_replaced_count_by_their_contents(ranking_run, name, rules):
    path = ranking_run.folder / name
    before = path.read_text() if path.exists() else None
    path.write_text("more\n")
    try:
        plan = ranking_run.plan()
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
            os.utime(path, (0, 0))
    assert plan.changed_rules - ALWAYS == rules - {"tasks"}
    assert rules <= plan.running_rules
    assert ranking_run.plan().running == NOTHING


def test_comments_and_formatting_rerun_nothing(cloned):
    scripts = cloned.workflow / "scripts"
    for path in scripts.rglob("*.py"):
        path.write_text("# A comment.\n" + path.read_text())
    ruff = SNAKEMAKE.parent / "ruff"
    subprocess.run([str(ruff), "format", "--quiet", "--isolated", "--line-length=60", str(scripts)], check=True)
    assert cloned.plan().running == NOTHING


@pytest.fixture
def own_run(run, tmp_path):
    """A copy of the finished run, to be damaged."""
    shutil.copytree(run.folder, tmp_path / "run", symlinks=True)
    return replace(run, folder=tmp_path / "run")


def unfinish(run: FinishedRun) -> None:
    """Take away what is made last."""
    for name in ("eval/scores.parquet", "data/ledger.parquet", "catalog.duckdb", "report.html"):
        (run.folder / "results/tiny" / name).unlink()


def test_more_rounds_continue_and_touch_no_earlier_one(plans):
    made = {path for path in plans["iterations"].running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/{method}/seed42/iter3/policy" for method in ("drift", "spin")}


def test_a_seed_that_is_added_makes_what_is_its_own_and_what_sums_up(plans):
    made = {path.removeprefix("results/tiny/") for path in plans["seeds"].running}
    summed_up = {"eval/scores.parquet", "data/ledger.parquet", "catalog.duckdb", "report.html", "config.resolved.yaml"}
    assert {path for path in made if "/seed7/" not in path} == summed_up
    policies = {path for path in made if path.endswith("/policy")}
    assert policies == {f"tiny/{method}/seed7/iter{k}/policy" for method in ("drift", "spin") for k in (1, 2)}


def test_a_method_that_is_added_trains_nothing_else(plans):
    made = {path for path in plans["methods"].running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/drift-unguided/seed42/iter{k}/policy" for k in (1, 2)}


@pytest.mark.parametrize("section", ["training", "sampling"])
def test_a_key_that_one_method_has_of_its_own_makes_that_method_again_alone(plans, section):
    made = {path for path in plans[f"recipes.*.{section}"].running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/drift/seed42/iter{k}/policy" for k in (1, 2)}


def test_another_judge_judges_again_and_neither_answers_nor_trains(plans):
    rules = {"register_judge", "judge_requests", "judge", "judgments", "scores", "catalog", "report"}
    assert plans["evaluation.judge"].running_rules - ALWAYS == rules | RATING
    assert plans["training.pair_quality.rater"].running_rules - ALWAYS == {"register_judge", "report"} | RATING


def test_what_lies_behind_a_table_that_trainings_wait_for_is_looked_at_as_well(run):
    """That of the warm-up is renewed, and all policies come after it."""
    config = changed(run, "training.behaviour.min_script", 0.3)
    config["recipes"]["spin"]["training"] = {"epochs": 2}
    made = {path for path in run.plan(config).running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/spin/seed42/iter{k}/policy" for k in (1, 2)}


def test_a_table_of_behaviour_that_is_gone_is_made_again_and_nothing_is_trained(own_run):
    table = "results/tiny/tiny/drift/seed42/iter1/behaviour.parquet"
    (own_run.folder / table).unlink()
    unfinish(own_run)
    assert table in own_run.plan().running
    assert "train" not in own_run.plan().running_rules


def test_a_shard_that_is_deleted_is_missed_only_by_what_needs_it(own_run):
    round_one = own_run.folder / "results/tiny/tiny/drift/seed42/iter1"
    (round_one / "completions/1-of-2.parquet").unlink()
    assert own_run.plan().running == NOTHING
    # Back to where the iteration was being sampled.
    for name in ("pairs.parquet", "policy.json"):
        (round_one / name).unlink()
    shutil.rmtree(round_one.parent / "iter2")
    unfinish(own_run)
    sampled = {path for path in own_run.plan().running if "/drift/seed42/iter1/completions/" in path}
    assert sampled == {"results/tiny/tiny/drift/seed42/iter1/completions/1-of-2.parquet"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set-resources", "train:gpu=2", "sample:gpu=2"),
        ("--set-threads", "train=32"),
        ("--set-resources", "train:mem_mb=1", "train:runtime=9"),
    ],
    ids=["GPUs", "threads", "memory and time"],
)
def test_more_or_fewer_resources_rerun_nothing(run, arguments):
    done = run.snakemake(*arguments, "-n")
    assert "Nothing to be done" in done.stdout, done.stdout + done.stderr


def driver_program(run: FinishedRun, program: str, *arguments: str) -> str:
    """What a program of the driver prints, called as a user does."""
    command = [
        str(SNAKEMAKE.parent / "python"),
        str(REPOSITORY / f"tools/{program}.py"),
        *run.arguments(run.config),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prune_deletes_what_nothing_needs_and_nothing_reruns(own_run):
    results = own_run.folder / "results/tiny/tiny"
    for kind in ("policy", "remainder"):
        for folder in results.rglob(kind):
            (folder / "model.safetensors").write_bytes(bytes(5_000_000))
    answers = results / "spin/seed42/iter1/eval/heldout"
    (answers / "responses.parquet").unlink()
    (answers / "completions/1-of-1.parquet").unlink()
    unfinish(own_run)
    assert "0.01 GB  could be freed: 3 folders" in driver_program(own_run, "prune")
    assert (results / "drift/seed42/iter1/policy").is_dir()
    assert "0.01 GB  freed: 3 folders" in driver_program(own_run, "prune", "--delete")
    left = {kind: {str(path.parent.relative_to(results)) for path in results.rglob(kind)} for kind in ("policy", "remainder")}
    last = {"warmup", "drift/seed42/iter2", "spin/seed42/iter2"}
    assert left["policy"] == {"base", "spin/seed42/iter1"} | last, "spin's first iteration still has to answer"
    assert left["remainder"] == last, "which it does without its remainder"
    planned = {job["outputs"][0] for job in own_run.plan().jobs if job["runs"]}
    assert not any(path.endswith(("/policy", "/remainder")) for path in planned)
    # A third iteration starts from the last one, which is still there.
    more = own_run.plan(changed(own_run, "iterations", 3))
    trained = {job["outputs"][0] for job in more.jobs if job["runs"] and job["rule"] == "train"}
    assert trained == {f"results/tiny/tiny/{method}/seed42/iter3/policy" for method in ("drift", "spin")}


def test_a_policy_of_the_future_that_was_asked_is_pruned_and_nothing_reruns(ranking_run, tmp_path):
    shutil.copytree(ranking_run.folder, tmp_path / "run", symlinks=True)
    own = replace(ranking_run, folder=tmp_path / "run")
    asked = [path.parent for path in (own.folder / "results/tiny/tiny").glob("*.future/seed42/iter1/policy.json")]
    assert asked
    assert all((folder / "policy").is_dir() for folder in asked)
    driver_program(own, "prune", "--delete")
    assert not any((folder / "policy").exists() for folder in asked)
    assert own.plan().running == NOTHING


def test_why_names_the_setting_the_module_and_what_is_missing(own_run):
    assert "Nothing would run" in driver_program(own_run, "why")
    own_run.config = changed(own_run, "training.beta", 0.2)
    (own_run.folder / "results/tiny/tiny/drift/seed42/iter2/eval/heldout-pairs/logps.parquet").unlink()
    said = driver_program(own_run, "why")
    assert "training.beta: 0.1 -> 0.2" in said.split("\n\n")[1], "what differs in the configuration comes first"
    assert re.search(r"train 1 \(tiny/warmup\):\n    setting: training.beta: 0.1 -> 0.2", said)
    assert re.search(r"These follow.*\n.*train 4", said)
