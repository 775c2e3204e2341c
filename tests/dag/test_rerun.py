"""What runs again after a change: for every key of the configuration, every module, and what else
happens to a results folder."""

import copy
import itertools
import modulefinder
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from types import UnionType
from typing import get_args, get_origin

import pytest

from drift.config import Config, Section
from drift.workflow.fingerprint import NO_RESULT
from tests.conftest import REPOSITORY, SNAKEMAKE, tiny_config
from tests.dag.finished import FinishedRun, Plan
from tests.dag.test_dag import BLOCKS

NOTHING: set[str] = set()
# The rule of the last argument runs whatever the key: it keeps all of them.
ALWAYS = {"resolved_config"}
# What an iteration adds when it comes.
ITERATION = {
    "requests",
    "sample",
    "pairs",
    "train",
    "diagnostics",
    "respond",
    "responses",
    "judge_requests",
    "judge",
    "judgments",
    "logps",
}

# How an endpoint is asked, which shapes no answer.
ENDPOINT_HERE = {
    "key": "OTHER_KEY",
    "concurrency": 2,
    "timeout": 2.0,
    "attempts": 2,
    "input_price": 2.0,
    "output_price": 2.0,
    "budget": 2.0,
    "max_failed": 0.5,
}

# Key: another value, and the rules whose own settings or inputs change with it. What follows from
# these follows.
KEYS = {
    "seed": (
        7,
        {
            "pools",
            "tasks",
            "label_requests",
            "agreement",
            "requests",
            "benchmark_requests",
            "judge_requests",
            "judgments",
            "train",
            "diagnostics",
            "scores",
        },
    ),
    "iterations": (3, ITERATION | {"ledger", "scores", "catalog"}),
    # The judge and a labeler were the same model; now they are laid out by themselves.
    "models.*.path": (
        "other",
        {"base", "register_judge", "judge_requests", "judge", "register_labeler", "label_requests", "annotate"},
    ),
    "methods": (["drift", "spin", "drift-unguided"], ITERATION | {"ledger", "scores", "catalog"}),
    "recipes.*.prompts": ("corrections", {"requests", "pairs"}),
    "recipes.*.chosen": ("plain", {"requests", "pairs"}),
    "recipes.*.rejected": ("plain", {"requests", "pairs"}),
    "recipes.*.start": ("base", {"sample", "train", "diagnostics"}),
    "recipes.*.replay": (1, {"train"}),
    "data.sources.*.kind": ("sharegpt", {"turns"}),
    "data.sources.*.path": ("other.jsonl", {"turns"}),
    "data.sources.*.conversations": ("other.jsonl", {"turns"}),
    "data.sources.*.mask": (True, {"turns"}),
    "data.labelers.*.kind": ("source", {"labels"}),
    "data.labelers.*.path": ("other", {"register_labeler", "label_requests", "annotate"}),
    "data.labelers.*.context": (2048, {"label_requests", "annotate"}),
    "data.labelers.*.max_replies": (3, {"label_requests"}),
    "data.labelers.*.shards": (2, {"annotate", "labels"}),
    "data.labelers.*.endpoint.url": ("http://localhost:2/v1", {"annotate"}),
    "data.labelers.*.endpoint.model": ("y", {"annotate"}),
    **{f"data.labelers.*.endpoint.{key}": (value, NOTHING) for key, value in ENDPOINT_HERE.items()},
    "data.labeler": ("again", {"pools"}),
    "data.label_files.*.path": ("other.jsonl", {"agreement"}),
    "data.label_files.*.source": ("second", {"agreement"}),
    "data.label_files.*.strata": ("other.jsonl", {"agreement"}),
    "data.label_noise": (0.1, {"pools"}),
    "data.filters.languages": (["English"], {"pools", "label_requests"}),
    "data.filters.drop_toxic": (False, {"pools"}),
    "data.filters.drop_redacted": (True, {"pools"}),
    "data.filters.drop_merged": (False, {"pools"}),
    "data.filters.drop_continuations": (False, {"pools"}),
    "data.filters.drop_refusals": (False, {"pools"}),
    "data.filters.min_chars": (2, {"pools"}),
    "data.filters.max_chars": (100, {"pools"}),
    "data.filters.min_score": (0.5, {"pools"}),
    "data.filters.near_duplicates": (0.5, {"pools"}),
    "data.filters.max_per_conversation": (1, {"pools"}),
    "data.filters.max_per_user": (1, {"pools"}),
    "data.filters.max_per_template": (1, {"pools"}),
    "data.decontamination.ngram": (8, {"pools", "contamination"}),
    "data.decontamination.similarity": (0.5, {"pools", "contamination"}),
    "data.pick": ("first", {"pools"}),
    "data.max_dsat": (10, {"pools"}),
    "data.max_sat": (10, {"pools"}),
    "data.max_corrections": (10, {"pools"}),
    "data.test_conversations": (9, {"pools"}),
    "data.test_correction_conversations": (9, {"pools"}),
    "prompting.style": ("paper", {"prompts", "requests", "sample"}),
    "prompting.allusions": ("drop", {"pairs"}),
    "prompting.instruction": ("Try again.", {"prompts", "requests", "pairs", "train"}),
    "sampling.n": (2, {"requests"}),
    "sampling.temperature": (0.5, {"sample"}),
    "sampling.top_p": (0.5, {"sample"}),
    "sampling.top_k": (5, {"sample"}),
    "sampling.repetition_penalty": (1.2, {"sample"}),
    "sampling.max_tokens": (40, {"prompts", "sample"}),
    "sampling.context": (500, {"prompts", "benchmark_prompts", "sample", "respond"}),
    "sampling.shards": (3, {"sample", "pairs"}),
    "training.beta": (0.2, {"train", "diagnostics", "scores"}),
    "training.label_smoothing": (0.1, {"train"}),
    "training.reference": ("initial", {"train", "diagnostics"}),
    "training.lora.rank": (4, {"train", "diagnostics"}),
    "training.lora.alpha": (4, {"train", "diagnostics"}),
    "training.lora.dropout": (0.1, {"train", "diagnostics"}),
    "training.lora.targets": (["q_proj"], {"train", "diagnostics"}),
    "training.launcher": ("single", NOTHING),
    "training.processes": (2, NOTHING),
    "training.tracker": ("tensorboard", NOTHING),
    "training.diagnostics.pairs": (3, {"diagnostics"}),
    "training.diagnostics.prompts": (3, {"diagnostics"}),
    "training.losses": ({"exo_pair": 1.0}, {"train"}),
    "training.learning_rate": (2e-4, {"train"}),
    "training.schedule": ("cosine", {"train"}),
    "training.schedule_warmup": (0.2, {"train"}),
    "training.optimizer": ("adamw_torch", {"train"}),
    "training.epochs": (2, {"train"}),
    "training.warmup_epochs": (2, {"train"}),
    "training.global_batch": (8, {"train"}),
    "training.device_batch": (4, {"train", "diagnostics"}),
    "training.max_length": (200, {"prompts", "pairs", "train", "diagnostics"}),
    "training.precision": ("fp32", {"train", "diagnostics"}),
    "training.gradient_checkpointing": (True, NOTHING),
    "training.checkpoint_steps": (3, NOTHING),
    "evaluation.benchmarks.*.kind": (
        "arena-hard",
        {"tasks", "scores", "judge_requests", "judge", "judgments"},
    ),  # other verdicts, too
    "evaluation.benchmarks.*.path": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.baseline": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.references": ({"gpt": "other.jsonl"}, {"tasks"}),
    "evaluation.benchmarks.*.difficulty": ("other.jsonl", {"tasks"}),
    "evaluation.benchmarks.*.gamed": ("other.jsonl", {"scores"}),
    "evaluation.benchmarks.*.keep_out": (True, {"pools", "pairs", "catalog"}),
    "evaluation.benchmarks.*.judge": ("second", {"register_judge", "judge_requests", "judge", "judgments", "scores"}),
    "evaluation.benchmarks.*.order": ("both", {"judge_requests", "judgments"}),
    "evaluation.benchmarks.*.context": (500, {"benchmark_prompts", "respond"}),
    "evaluation.benchmarks.*.samples": (2, {"benchmark_requests"}),
    "evaluation.benchmarks.*.max_tasks": (3, {"tasks"}),
    "evaluation.benchmarks.*.decoding.temperature": (0.5, {"respond"}),
    "evaluation.benchmarks.*.decoding.top_p": (0.5, {"respond"}),
    "evaluation.benchmarks.*.decoding.top_k": (5, {"respond"}),
    "evaluation.benchmarks.*.decoding.repetition_penalty": (1.2, {"respond"}),
    "evaluation.benchmarks.*.decoding.max_tokens": (40, {"benchmark_prompts", "respond"}),
    "evaluation.benchmarks.*.shards": (2, {"respond", "responses", "judge", "judgments"}),
    "evaluation.judge": ("second", {"register_judge", "judge_requests", "judge", "judgments", "scores"}),
    "evaluation.judges.*.path": ("other", {"register_judge", "judge_requests", "judge"}),
    "evaluation.judges.*.context": (900, {"judge_requests", "judge"}),
    "evaluation.judges.*.trusted": (True, NOTHING),
    "evaluation.judges.*.verdict": ("score", {"judge_requests", "judge", "judgments", "scores"}),
    # The judge prompt stands beside its scores.
    "evaluation.judges.*.template": ("template.txt", {"judge_requests", "scores"}),
    "evaluation.judges.*.order": ("random", {"judge_requests", "judgments"}),
    "evaluation.judges.*.votes": (2, {"judge_requests", "judgments"}),
    "evaluation.judges.*.decoding.temperature": (0.5, {"judge"}),
    "evaluation.judges.*.decoding.top_p": (0.5, {"judge"}),
    "evaluation.judges.*.decoding.top_k": (5, {"judge"}),
    "evaluation.judges.*.decoding.repetition_penalty": (1.2, {"judge"}),
    "evaluation.judges.*.decoding.max_tokens": (100, {"judge_requests", "judge"}),
    "evaluation.judges.*.min_verdicts": (0.5, NOTHING),
    "evaluation.judges.*.endpoint.url": ("http://localhost:2/v1", {"judge"}),
    "evaluation.judges.*.endpoint.model": ("y", {"judge"}),
    **{f"evaluation.judges.*.endpoint.{key}": (value, NOTHING) for key, value in ENDPOINT_HERE.items()},
    "evaluation.validation": (
        "other.jsonl",
        {"published_answers", "published_requests", "judge_published", "published_judgments", "validation", "catalog"},
    ),
    "evaluation.bootstrap": (300, {"scores"}),
    "engine.backend": ("transformers", {"sample", "respond", "judge", "annotate"}),
    "engine.tensor_parallel": (2, NOTHING),
    "engine.prefix_caching": (False, NOTHING),
    "engine.gpu_memory": (0.5, NOTHING),
    "engine.cpu_cache_gib": (2, NOTHING),
    "environments.cpu": ("/other/python", NOTHING),
    "environments.gpu": ("/other/python", NOTHING),
}
# The same of a run whose methods rank what they sample.
RANKING_KEYS = {
    "recipes.*.candidates": (["plain", "guided", "guided"], {"requests"}),
    "recipes.*.rank": ("judge", {"register_judge", "rank_requests", "rank"}),
    "reward_models.*.path": ("model", {"rewards"}),
    "reward_models.*.max_length": (99, {"rewards"}),
}
RANKING_MODULES = ("candidates.py", "ranks.py", "rewards.py", "drift/judging/candidates.py")
# A run by another name is another run.
NOT_LISTED = {"run"}


def keys_of(section: type[Section], prefix: str = "") -> set[str]:
    """Every key that a configuration may set; * stands for the names in a table of rows."""
    found = set()
    for name, field in section.model_fields.items():
        found |= _keys_of_type(field.annotation, prefix + name)
    return found


def _keys_of_type(kind, key: str) -> set[str]:
    if isinstance(kind, type) and issubclass(kind, Section):
        return keys_of(kind, f"{key}.")
    if get_origin(kind) is dict and isinstance(get_args(kind)[1], type) and issubclass(get_args(kind)[1], Section):
        return keys_of(get_args(kind)[1], f"{key}.*.")
    if get_origin(kind) is UnionType:
        sections = set().union(*(_keys_of_type(part, key) for part in get_args(kind)))
        return sections - {key} or {key}
    return {key}


def test_every_key_of_the_configuration_is_listed():
    assert keys_of(Config) - NOT_LISTED == KEYS.keys() | RANKING_KEYS.keys()


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
    config["training"]["losses"] = {"robust": 1.0}
    config["training"] |= {"label_smoothing": 0.2, "launcher": "ddp"}
    # Sampled, in words, by judges of all kinds: every knob of theirs counts.
    config["evaluation"]["judges"]["tiny"] |= {"verdict": "choice", "decoding": {"temperature": 1.0}, "context": 1200}
    config["evaluation"]["judges"]["second"] = {"path": str(folder / "other")}
    config["evaluation"]["judges"]["far"] = {"endpoint": endpoint}
    alpaca = {"kind": "alpacaeval", "path": "logs.jsonl", "judge": ["tiny", "far"]}
    alpaca["decoding"] = {"temperature": 0.7, "max_tokens": 48}
    late = {"kind": "prompts", "path": "logs.jsonl", "keep_out": False, "decoding": {"max_tokens": 48}}
    config["evaluation"]["benchmarks"] = {"alpaca": alpaca} | config["evaluation"]["benchmarks"] | {"late": late}
    return FinishedRun(folder, config).play()


def changed(run: FinishedRun, key: str, value) -> dict:
    """The run's configuration with `key` at `value`; * is the first row of its table."""
    config = copy.deepcopy(run.config)
    *sections, last = key.split(".")
    place = config
    for name, after in itertools.pairwise([*sections, last]):
        if name == "*":  # the first row that has what follows, or the first of all
            place = next((row for row in place.values() if after in row), next(iter(place.values())))
        else:
            place = place.setdefault(name, {})
    place[last] = str(run.folder / value) if last == "path" and "benchmarks" not in sections else value
    return config


@pytest.fixture(scope="module")
def ranking_run(tmp_path_factory):
    """A finished run of two methods that rank, by themselves and by a reward model."""
    folder = tmp_path_factory.mktemp("ranking")
    for name in ("model", "rewards", "judge"):
        (folder / name).mkdir()
    (folder / "logs.jsonl").touch()
    config = tiny_config(folder / "model", folder / "logs.jsonl") | {"iterations": 1}
    ranked = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "guided"]}
    config["recipes"] = {"by-itself": ranked | {"rank": "self"}, "rewarded": ranked | {"rank": "rewards"}}
    config["methods"] = list(config["recipes"])
    config["reward_models"] = {"rewards": {"path": str(folder / "rewards")}}
    config["evaluation"]["judges"]["judge"] = {"path": str(folder / "judge")}
    return FinishedRun(folder, config).play()


@pytest.fixture(scope="module")
def ranking_plans(ranking_run):
    """What would run after each of its keys' changes."""
    cases = [changed(ranking_run, key, value) for key, (value, _) in RANKING_KEYS.items()]
    return dict(zip(RANKING_KEYS, ranking_run.plans([(config, None) for config in cases]), strict=True))


@pytest.mark.parametrize("key", RANKING_KEYS)
def test_a_changed_key_of_a_ranking_reruns_what_it_shapes(ranking_plans, key):
    assert isinstance(ranking_plans[key], Plan), ranking_plans[key]
    assert ranking_plans[key].changed_rules - ALWAYS == RANKING_KEYS[key][1]
    assert ranking_plans[key].running == ranking_plans[key].following


def test_a_judge_that_ranks_neither_samples_nor_trains_the_other_method_again(ranking_plans):
    made = {path for path in ranking_plans["recipes.*.rank"].running if path.endswith("/policy")}
    assert made == {"results/tiny/tiny/by-itself/iter1/policy", "results/tiny/judges/judge/policy"}


@pytest.fixture(scope="module")
def plans(run):
    """What would run after each key's change."""
    cases = {key: changed(run, key, value) for key, (value, _) in KEYS.items() if value is not None}
    return dict(zip(cases, run.plans([(config, None) for config in cases.values()]), strict=True))


def test_a_finished_run_has_nothing_to_do(run):
    assert run.plan().running == NOTHING


@pytest.mark.parametrize("key", [key for key, (value, _) in KEYS.items() if value is not None])
def test_a_changed_key_reruns_what_it_shapes(plans, key):
    assert isinstance(plans[key], Plan), plans[key]
    assert plans[key].changed_rules - ALWAYS == KEYS[key][1]
    assert plans[key].running == plans[key].following


@cache
def users() -> dict[str, set[str]]:
    """The rules whose programs import each module (relative to scripts/), found by Python's own
    machinery."""
    scripts, found = REPOSITORY / "scripts", {}
    for rule in BLOCKS:
        if program := program_of(rule):
            finder = modulefinder.ModuleFinder(path=[str(scripts)])
            finder.run_script(str(scripts / f"{program}.py"))
            for loaded in finder.modules.values():
                if loaded.__file__:
                    found.setdefault(os.path.relpath(loaded.__file__, scripts), set()).add(rule)
    return found


def program_of(rule: str) -> str | None:
    """The program whose code a rule carries, or the rule that it is made from; None where it has
    none."""
    if program := re.search(r'code\("(\w+)"', BLOCKS[rule]):
        return program[1]
    model = re.match(r"use rule (\w+) as", BLOCKS[rule])
    return model and program_of(model[1])


MODULES = sorted(str(path.relative_to(REPOSITORY / "scripts")) for path in (REPOSITORY / "scripts").rglob("*.py"))


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
def module_plans(clone, run, ranking_run):
    """What would run after each module did something more. A workflow is edited for one plan at a
    time: each core has its own, and one more those of methods that rank."""
    clones = [*(clone(run) for _ in range(os.cpu_count())), clone(ranking_run)]
    others = [module for module in MODULES if module not in RANKING_MODULES]
    modules = [*(others[number :: os.cpu_count()] for number in range(os.cpu_count())), RANKING_MODULES]

    def plans(number: int) -> dict[str, Plan]:
        mine, scripts = modules[number], clones[number].workflow / "scripts"
        cases = [(clones[number].config, (scripts / module, (scripts / module).read_text() + "\nprint()\n")) for module in mine]
        return dict(zip(mine, clones[number].plans(cases), strict=True))

    with ThreadPoolExecutor() as pool:
        return {module: plan for part in pool.map(plans, range(len(clones))) for module, plan in part.items()}


@pytest.mark.parametrize("module", MODULES)
def test_a_changed_module_reruns_the_rules_whose_programs_import_it(module_plans, module):
    in_use = {job["rule"] for job in module_plans[module].jobs}
    assert module_plans[module].changed_rules == (NOTHING if module in NO_RESULT else users().get(module, NOTHING) & in_use)
    assert module_plans[module].running == module_plans[module].following


def test_results_and_workflow_that_moved_are_still_finished(cloned):
    assert cloned.plan().running == NOTHING


def test_files_that_only_look_newer_rerun_nothing(cloned):
    turns = cloned.folder / "results/tiny/data/turns.parquet"
    for path in (turns, *cloned.workflow.rglob("*.py"), *cloned.workflow.rglob("*.smk")):
        path.touch()
    assert cloned.plan().running == NOTHING


def test_comments_and_formatting_rerun_nothing(cloned):
    scripts = cloned.workflow / "scripts"
    for path in scripts.rglob("*.py"):
        path.write_text("# A comment.\n" + path.read_text())
    ruff = SNAKEMAKE.parent / "ruff"
    subprocess.run([str(ruff), "format", "--quiet", "--isolated", "--line-length=60", str(scripts)], check=True)
    assert cloned.plan().running == NOTHING


def test_a_changed_description_of_a_column_renews_the_catalog_that_shows_it(cloned):
    declared = cloned.workflow / "scripts/drift/tables/data.py"
    before = declared.read_text()
    declared.write_text(before.replace("the user's message", "what the user wrote"))
    assert declared.read_text() != before
    assert cloned.plan().running_rules == {"catalog", "report"}
    declared.write_text(before)


@pytest.fixture
def own_run(run, tmp_path):
    """A copy of the finished run, to be damaged."""
    shutil.copytree(run.folder, tmp_path / "run", symlinks=True)
    return replace(run, folder=tmp_path / "run")


def unfinish(run: FinishedRun) -> None:
    """Take away what is made last."""
    for name in ("eval/scores.parquet", "data/ledger.parquet", "catalog.duckdb", "report.html"):
        (run.folder / "results/tiny" / name).unlink()


def test_more_rounds_continue_and_touch_no_earlier_one(run, plans):
    made = {path for path in plans["iterations"].running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/{method}/iter3/policy" for method in ("drift", "spin")}


def test_a_method_that_is_added_trains_nothing_else(plans):
    made = {path for path in plans["methods"].running if path.endswith("/policy")}
    assert made == {f"results/tiny/tiny/drift-unguided/iter{k}/policy" for k in (1, 2)}


def test_another_judge_judges_again_and_neither_answers_nor_trains(plans):
    rules = {"register_judge", "judge_requests", "judge", "judgments", "scores", "catalog", "report"}
    assert plans["evaluation.judge"].running_rules - ALWAYS == rules


def test_a_shard_that_is_deleted_is_missed_only_by_what_needs_it(own_run):
    round_one = own_run.folder / "results/tiny/tiny/drift/iter1"
    (round_one / "completions/1-of-2.parquet").unlink()
    assert own_run.plan().running == NOTHING
    # Back to where the iteration was being sampled.
    for name in ("pairs.parquet", "policy.json"):
        (round_one / name).unlink()
    shutil.rmtree(round_one.parent / "iter2")
    unfinish(own_run)
    sampled = {path for path in own_run.plan().running if "/drift/iter1/completions/" in path}
    assert sampled == {"results/tiny/tiny/drift/iter1/completions/1-of-2.parquet"}


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
    done = subprocess.run(
        [str(SNAKEMAKE), *run.arguments(run.config), *arguments, "-n"], capture_output=True, text=True, check=False
    )
    assert "Nothing to be done" in done.stdout, done.stdout + done.stderr


def driver_program(run: FinishedRun, program: str, *arguments: str) -> str:
    """What a program of the driver prints, called as a user does."""
    command = [
        str(SNAKEMAKE.parent / "python"),
        str(REPOSITORY / f"scripts/{program}.py"),
        *run.arguments(run.config),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prune_deletes_what_nothing_needs_and_nothing_reruns(own_run):
    results = own_run.folder / "results/tiny/tiny"
    for policy in results.rglob("policy"):
        (policy / "model.safetensors").write_bytes(bytes(5_000_000))
    answers = results / "spin/iter1/eval/heldout"
    (answers / "responses.parquet").unlink()
    (answers / "completions/1-of-1.parquet").unlink()
    unfinish(own_run)
    assert "0.01 GB  could be freed: 1 policies" in driver_program(own_run, "prune", "--list")
    assert (results / "drift/iter1/policy").is_dir()
    assert "0.01 GB  freed: 1 policies" in driver_program(own_run, "prune")
    left = {str(path.parent.relative_to(results)) for path in results.rglob("policy")}
    assert left == {"base", "warmup", "drift/iter2", "spin/iter1", "spin/iter2"}, "spin/iter1 still has to answer"
    planned = {job["outputs"][0] for job in own_run.plan().jobs if job["runs"]}
    assert not any(path.endswith("/policy") for path in planned)


def test_why_names_the_setting_the_module_and_what_is_missing(own_run):
    assert "Nothing would run" in driver_program(own_run, "why")
    own_run.config = changed(own_run, "training.beta", 0.2)
    (own_run.folder / "results/tiny/tiny/drift/iter2/eval/heldout-pairs/logps.parquet").unlink()
    said = driver_program(own_run, "why")
    assert "training.beta: 0.1 -> 0.2" in said.split("\n\n")[1], "what differs in the configuration comes first"
    assert re.search(r"train 1 \(tiny/warmup\):\n    setting: training.beta: 0.1 -> 0.2", said)
    assert re.search(r"These follow.*\n.*train 4", said)
