"""What runs when data come after the start: next month's logs, and what users said to policies.
Nothing before the iteration that learns from them does."""

import copy
import os
import re

import pytest

from tests.conftest import tiny_config
from tests.dag.finished import FinishedRun, Plan, changed
from tests.dag.keys import ALWAYS, LATER_KEYS, NOTHING

RUN = "results/tiny"
# What is made of all data and policies of a run.
SUMS = {f"{RUN}/{name}" for name in ("data/ledger.parquet", "eval/scores.parquet", "catalog.duckdb", "report.html")}
SUMS |= {f"{RUN}/config.resolved.yaml"}


def later_logs(folder, **iterations: int) -> dict:
    """Sources of logs that count from these iterations."""
    return {
        name: {"kind": "logs", "path": str(folder / f"{name}.jsonl"), "from_iteration": k} for name, k in iterations.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of three iterations and two seeds, whose replies a model labels as well."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "model").mkdir()
    for name in ("logs", "march", "april"):
        (folder / f"{name}.jsonl").write_text("{}\n")
    config = tiny_config(folder / "model", folder / "logs.jsonl") | {"iterations": 3, "seeds": [1, 42]}
    rubric = {"kind": "rubric", "path": str(folder / "model"), "max_replies": 9, "context": 4096}
    config["data"]["labelers"] |= {"model": rubric}
    return FinishedRun(folder, config).play()


def with_sources(run: FinishedRun, **iterations: int) -> dict:
    """The run's configuration with later sources."""
    config = copy.deepcopy(run.config)
    config["data"]["sources"] |= later_logs(run.folder, **iterations)
    return config


def iteration_of(path: str) -> int | None:
    """The iteration of a policy or of data that a file belongs to."""
    found = re.search(r"/iter(\d+)/", f"{path}/")
    return int(found[1]) if found else None


@pytest.mark.parametrize("first", [2, 3])
def test_next_months_logs_rerun_nothing_before_the_iteration_that_learns_from_them(run, first):
    plan = run.plan(with_sources(run, march=first))
    running = plan.running - SUMS
    assert {iteration_of(path) for path in running} == set(range(first, 4)), "no data, base model or warm-up of the start"
    trained = {path for path in running if path.endswith("/policy")}
    assert trained == {
        f"{RUN}/tiny/{method}/seed{seed}/iter{k}/policy"
        for method in ("drift", "spin")
        for seed in (1, 42)
        for k in range(first, 4)
    }
    labelled = [path for path in running if "/labelers/" in path]
    assert labelled, "the new logs are labelled as the old ones are"
    assert all(path.startswith(f"{RUN}/data/iter{first}/") for path in labelled)


def test_logs_for_one_more_iteration_rerun_nothing_at_all_of_those_that_are_done(run):
    plan = run.plan(with_sources(run, march=4) | {"iterations": 4})
    assert {iteration_of(path) for path in plan.running - SUMS} == {4}


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """A finished run with later logs, and with users who talk to the policies, beside a method that
    stays with the data of the start."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "model").mkdir()
    for name in ("logs.jsonl", "march.jsonl", "wishes.jsonl"):
        (folder / name).write_text("{}\n")
    config = tiny_config(folder / "model", folder / "logs.jsonl") | {"iterations": 3, "seeds": [1, 42]}
    config["recipes"]["fixed"] = config["recipes"]["drift"] | {"fresh": 0.0}
    config["recipes"]["drift"]["fresh"] = 0.5
    config["methods"] = ["drift", "fixed"]
    users = {"path": str(folder / "model"), "deployed": "previous", "context": 512}
    config["data"]["sources"] |= later_logs(folder, march=3)
    config["data"]["sources"]["users"] = {
        "kind": "simulated",
        "path": str(folder / "wishes.jsonl"),
        "simulation": users | {"decoding": {"temperature": 1.0, "max_tokens": 48}},
    }
    return FinishedRun(folder, config).play()


def test_users_talk_to_every_policy_but_the_last_of_the_method_that_learns_from_them(loop):
    logs = {path for job in loop.plan().jobs for path in job["outputs"] if path.endswith("/conversations.jsonl")}
    said = {f"{RUN}/tiny/drift/seed{seed}/iter{k}/data/simulated/users/conversations.jsonl" for seed in (1, 42) for k in (2, 3)}
    assert logs == said | {f"{RUN}/data/simulated/users/conversations.jsonl"}


def test_what_users_say_to_a_policy_waits_for_it_and_the_next_one_waits_for_that(loop):
    jobs = {job["outputs"][0]: job for job in loop.plan().jobs}
    asked = f"{RUN}/tiny/drift/seed1/iter2/data/simulated/users/first/completions/1-of-1.parquet"
    assert f"{RUN}/tiny/drift/seed1/iter1/policy.json" in jobs[asked]["inputs"]
    prompts = f"{RUN}/tiny/drift/seed1/iter2/data/prompts/tiny/dsat.parquet"
    assert prompts in jobs[f"{RUN}/tiny/drift/seed1/iter2/requests.parquet"]["inputs"]
    turns = jobs[f"{RUN}/tiny/drift/seed1/iter3/data/turns.parquet"]["inputs"]
    assert f"{RUN}/tiny/drift/seed1/iter2/data/simulated/users/conversations.jsonl" in turns, "older ones stay"


def test_a_log_that_grew_reruns_what_learns_from_it(loop):
    path = loop.folder / "march.jsonl"
    path.write_text("more\n")
    try:
        plan = loop.plan()
    finally:
        path.write_text("{}\n")
        os.utime(path, (0, 0))
    assert {iteration_of(path) for path in plan.running - SUMS} == {3}
    assert not any("/fixed/" in path for path in plan.running), "it stays with the data of the start"


def test_a_finished_loop_has_nothing_to_do(loop):
    assert loop.plan().running == NOTHING


@pytest.fixture(scope="module")
def plans(loop):
    """What would run after each of its keys' changes."""
    cases = {key: changed(loop, key, value) for key, (value, _) in LATER_KEYS.items()}
    return dict(zip(cases, loop.plans(list(cases.values())), strict=True))


@pytest.mark.parametrize("key", LATER_KEYS)
def test_a_changed_key_of_later_data_reruns_what_it_shapes(plans, key):
    assert isinstance(plans[key], Plan), plans[key]
    assert plans[key].changed_rules - ALWAYS == LATER_KEYS[key][1]
    assert plans[key].running == plans[key].following
