"""The whole DAG with real engines and real TRL on a tiny model: what a user relies on after a run.

Replies come from transformers, which starts in a third of vLLM's time; vLLM itself is in
test_vllm.py, in the tests on Slurm and in the demo.
"""

import json
import os
import re
import signal
import subprocess
import time

import duckdb
import polars as pl
import pytest
import yaml

from tests.conftest import REPOSITORY, STAGE_PYTHON, snakemake, snakemake_command, tiny_config

pytestmark = pytest.mark.slow

# With a tiny model a stage is little but the start of its program, which uses one core: two stages
# side by side take half the time.
SIDE_BY_SIDE = (
    "--set-threads",
    *(f"{rule}=1" for rule in ("sample", "sample_of", "rewards", "likelihoods")),
    *(f"{rule}=1" for rule in ("respond", "judge", "compare", "logps", "train", "diagnostics")),
    "--",
)
POLICIES = ("base", "warmup", "drift/seed42/iter1", "drift/seed42/iter2", "spin/seed42/iter1", "spin/seed42/iter2")


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, logs_file, warm_environments):
    """A finished run: its folder and its configuration."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(tiny_model, logs_file) | {"environments": warm_environments}
    snakemake(folder, config, *SIDE_BY_SIDE)
    return folder, config


@pytest.fixture(scope="module")
def catalog(run):
    """The run's catalog, opened as a user does: from the folder that snakemake ran in."""
    folder, _ = run
    before = os.getcwd()
    os.chdir(folder)
    with duckdb.connect("results/tiny/catalog.duckdb", read_only=True) as connection:
        yield connection
    os.chdir(before)


def test_a_second_run_does_nothing(run):
    folder, config = run
    assert "Nothing to be done" in (done := snakemake(folder, config)).stdout + done.stderr


def test_every_policy_is_complete_and_descends_from_the_one_before(run):
    root = run[0] / "results/tiny/tiny"
    manifests = {policy: json.loads((root / policy / "policy.json").read_text()) for policy in POLICIES}
    parents = {
        "warmup": "base",
        "drift/seed42/iter1": "warmup",
        "drift/seed42/iter2": "drift/seed42/iter1",
        "spin/seed42/iter1": "warmup",
        "spin/seed42/iter2": "spin/seed42/iter1",
    }
    for policy, parent in parents.items():
        assert manifests[policy]["parent_sha256"] == manifests[parent]["weights_sha256"], policy
        assert manifests[policy]["steps_done"] == manifests[policy]["steps_planned"] > 0, policy
        assert manifests[policy]["changed_share"] > 0.005, policy
    assert len({manifest["weights_sha256"] for manifest in manifests.values()}) == len(POLICIES)


def test_every_gate_was_recorded_and_held(catalog):
    gates = catalog.sql("select gate, count(*) as n, bool_and(passed) as held from gates group by gate").pl()
    assert gates["held"].all()
    assert set(gates["n"]) == {5}, "a gate was not checked for one of the five trained policies"
    assert {"sampling prompt = training prompt", "end of turn", "all steps ran", "weights changed"} <= set(gates["gate"])


def test_drift_keeps_the_logged_reply_and_samples_the_other_from_the_policy_before(catalog):
    pairs = catalog.sql("""
        select p.iteration, p.rejected_from, p.rejected = d.rejected as same, c.policy_hash = parent.weights_sha256 as from_parent,
               starts_with(trim(c.text, e' \n\t'), p.chosen) and (p.chosen_cut or trim(c.text, e' \n\t') = p.chosen) as sampled
        from pairs p join dsat d on d.prompt_id = p.pair_id
        join completions c on c.request_id = p.chosen_from and c.method = p.method and c.iteration = p.iteration and c.seed = p.seed and c.benchmark is null
        join policies parent on parent.iteration = p.iteration - 1 and parent.method = (case when p.iteration = 1 then 'warmup' else 'drift' end)
        where p.method = 'drift'
    """).pl()
    assert pairs.height > 10
    assert set(pairs["iteration"]) == {1, 2}
    assert set(pairs["rejected_from"]) == {"logged"}
    assert pairs["same"].all()
    assert pairs["from_parent"].all()
    assert pairs["sampled"].all()


def test_feedback_and_instruction_reach_the_policy_but_no_training_prompt(catalog):
    instruction = "Please improve your answer"
    (shown,) = catalog.sql("""
        select bool_and(list_contains(list_transform(messages, lambda m: contains(m.content, feedback)), true)) as feedback_shown,
               bool_and(messages[-1].content like '%Please improve your answer%') as asked
        from requests r join dsat d using (prompt_id) where r.kind = 'guided'
    """).fetchall()
    assert shown == (True, True)
    prompts = catalog.sql("select unnest(prompt).content as content from pairs").pl()["content"]
    assert not prompts.str.contains(instruction, literal=True).any()
    # In a satisfied conversation an earlier complaint is history; what answered the very reply of
    # the pair must not be there.
    leaked = catalog.sql("""
        select p.pair_id from pairs p join dsat d on d.prompt_id = p.pair_id
        where p.method <> 'spin' and list_contains(list_transform(p.prompt, lambda m: m.content), d.feedback)
    """).fetchall()
    assert leaked == []


def test_spin_pairs_a_satisfied_reply_with_a_plain_sample(catalog):
    rows = catalog.sql("""
        select p.chosen = s.chosen as gold, p.rejected_from like '%#plain-0' as plain from pairs p join sat s on s.prompt_id = p.pair_id
        where p.method = 'spin'
    """).pl()
    assert rows.height > 10
    assert rows["gold"].all()
    assert rows["plain"].all()


def test_no_conversation_is_on_both_sides(catalog):
    shared = catalog.sql("""
        with sides as (select conversation_id, split from dsat union select conversation_id, split from sat
                       union select conversation_id, split from corrections)
        select conversation_id from sides group by 1 having count(distinct split) > 1
    """).fetchall()
    assert shared == []
    leaked = catalog.sql("select pair_id from pairs join tasks using (prompt_id)").fetchall()
    assert leaked == []


FOREIGN_KEYS = {
    "labels -> turns": "select 1 from labels anti join turns using (conversation_id, turn)",
    "dsat -> labels": "select 1 from dsat anti join labels using (conversation_id, turn, labeler)",
    "sat -> labels": "select 1 from sat anti join labels using (conversation_id, turn, labeler)",
    "corrections -> turns": "select 1 from corrections anti join turns using (conversation_id, turn)",
    "tasks -> dsat": "select 1 from tasks anti join dsat using (prompt_id)",
    "pairs -> prompts": "select 1 from pairs p anti join prompts q on p.pair_id = q.prompt_id and p.model = q.model",
    "dropped -> prompts": "select 1 from dropped d anti join prompts q on d.prompt_id = q.prompt_id and d.model = q.model",
    "gradients -> pairs": "select 1 from gradients anti join pairs using (model, method, iteration, seed, pair_id)",
    "diagnostics -> policies": "select 1 from diagnostics anti join policies using (model, method, iteration, seed)",
    "pair_quality -> policies": "select 1 from pair_quality anti join policies using (model, method, iteration, seed)",
    "behaviour -> policies": "select 1 from behaviour anti join policies using (model, method, iteration, seed)",
    "pair_judgments -> pairs": "select 1 from pair_judgments j anti join pairs p on j.prompt_id = p.pair_id and j.model = p.model",
    "margins -> pairs": "select 1 from margins anti join pairs using (model, method, iteration, seed, pair_id)",
    "responses -> tasks": "select 1 from responses anti join tasks using (prompt_id)",
    "judgments -> requests": "select 1 from judgments j anti join requests r on r.request_id = j.request_id and r.judge = j.judge",
    "logps -> corrections": "select 1 from logps l anti join corrections c on l.pair_id = c.prompt_id and c.split = 'test'",
    "scores -> policies": "select 1 from scores anti join policies using (model, method, iteration)",
}


@pytest.mark.parametrize("key", FOREIGN_KEYS)
def test_foreign_keys_resolve(catalog, key):
    assert catalog.sql(FOREIGN_KEYS[key]).fetchall() == []


def test_the_ledger_accounts_for_every_prompt(catalog):
    ends = catalog.sql("""
        select l.lineage, l.rows_out as counted, (select count(*) from pairs p where p.model || '/' || case p.method when 'warmup' then 'warmup'
        else p.method || '/seed' || p.seed || '/iter' || p.iteration end = l.lineage) as there
        from ledger l where l.stage = 'pairs' and l.event = 'regroup'
    """).pl()
    assert ends.height == 5
    assert (ends["counted"] == ends["there"]).all()
    assert (ends["there"] > 0).all()


def test_every_policy_has_scores_with_intervals(catalog):
    scores = catalog.sql(
        "select method, iteration, metric, value, low, high, n, judge from scores where metric = 'win_rate' and seed = 0"
    ).pl()
    assert scores.height == len(POLICIES)
    assert (scores["low"] <= scores["value"]).all()
    assert (scores["value"] <= scores["high"]).all()
    assert set(scores["judge"]) == {"tiny"}
    assert set(scores["n"]) == {8}


def test_the_report_warns_of_an_untrusted_judge_and_names_the_labels(run):
    page = (run[0] / "results/tiny/report.html").read_text()
    assert "mean nothing by themselves" in page
    assert "lexical heuristic" in page


def planned(folder, config) -> set[str]:
    """The outputs that a dry run would make."""
    lines = snakemake(folder, config, "-n").stdout.splitlines()
    return {path.strip() for line in lines if line.strip().startswith("output:") for path in line.split(":", 1)[1].split(",")}


def test_adding_a_method_trains_nothing_else(run):
    folder, config = run
    outputs = planned(folder, config | {"methods": ["drift", "spin", "drift-unguided"]})
    trained = {path for path in outputs if path.endswith("/policy.json")}
    assert trained == {f"results/tiny/tiny/drift-unguided/seed42/iter{k}/policy.json" for k in (1, 2)}


def test_a_late_benchmark_trains_nothing_and_its_contamination_is_found(run, tmp_path):
    folder, config = run
    dsat = pl.read_parquet(folder / "results/tiny/data/dsat.parquet").filter(split="train")
    asked = [dsat["prompt"][0][-1]["content"], "Which of the seven seas is the saltiest, and by how much?"]
    (tmp_path / "late.jsonl").write_text("".join(json.dumps({"id": text[:4], "prompt": text}) + "\n" for text in asked))
    late = config["evaluation"]["benchmarks"]["heldout"] | {
        "kind": "prompts",
        "path": str(tmp_path / "late.jsonl"),
        "keep_out": False,
    }
    benchmarks = config["evaluation"]["benchmarks"] | {"late": late}
    config = config | {"evaluation": config["evaluation"] | {"benchmarks": benchmarks}}
    outputs = planned(folder, config)
    assert not {path for path in outputs if path.endswith(("/policy.json", "/pairs.parquet", "/dsat.parquet"))}
    snakemake(folder, config, "results/tiny/data/contamination/late.parquet")
    found = pl.read_parquet(folder / "results/tiny/data/contamination/late.parquet").filter(pool="dsat")
    assert found.select("prompt_id", "task", "how").rows() == [(dsat["prompt_id"][0], asked[0][:4], "exact")]


def test_what_training_costs_is_asked_of_a_policy_and_told_by_code(run, tmp_path):
    folder, config = run
    questions = [{"question": f"Which of {n} owls is it?", "choices": ["this", "that"], "answer": n % 2} for n in range(4)]
    wishes = [{"key": 1, "prompt": "No comma.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
    for name, rows in (("letters", questions[1:]), ("solved", questions[:1]), ("wishes", wishes)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"keep_out": False, "decoding": {"max_tokens": 16}}
    added = {
        "letters": asked
        | {"kind": "multiple-choice", "path": str(tmp_path / "letters.jsonl")}
        | {"examples": str(tmp_path / "solved.jsonl"), "shots": 1},
        "wishes": asked | {"kind": "ifeval", "path": str(tmp_path / "wishes.jsonl")},
    }
    config = config | {"evaluation": config["evaluation"] | {"benchmarks": config["evaluation"]["benchmarks"] | added}}
    answered = "results/tiny/tiny/base/eval"
    snakemake(folder, config, *SIDE_BY_SIDE, *(f"{answered}/{name}/checks.parquet" for name in added))
    letters, checked = (pl.read_parquet(folder / f"{answered}/{name}/checks.parquet") for name in added)
    assert dict(letters["check"].value_counts().iter_rows()) == {"right": 3, "letter first": 3}
    assert set(checked["check"]) == {"punctuation:no_comma", "punctuation:no_comma (loose)"}
    requests = pl.read_parquet(folder / f"{answered.replace('base/', '')}/letters/requests.parquet")
    assert {len(messages) for messages in requests["messages"].to_list()} == {3}, "one solved example, then the question"


def test_a_changed_learning_rate_trains_again_without_new_labels_or_first_samples(run):
    folder, config = run
    outputs = planned(folder, config | {"training": config["training"] | {"learning_rate": 2e-4}})
    assert "results/tiny/tiny/warmup/policy.json" in outputs
    assert not {path for path in outputs if "/data/" in path and "ledger" not in path}
    assert "results/tiny/tiny/warmup/pairs.parquet" not in outputs


def test_where_an_engine_runs_reruns_nothing(run):
    folder, config = run
    outputs = planned(folder, config | {"engine": config["engine"] | {"cpu_cache_gib": 2}})
    assert outputs <= {"results/tiny/config.resolved.yaml", "results/tiny/report.html"}


@pytest.fixture(scope="module")
def methods(run, reward_model):
    """The folder of the tiny model after an iteration of every method of the example, and of one
    that a reward model ranks for; data and warm-up are those of the run."""
    folder, config = run
    recipes = yaml.safe_load((REPOSITORY / "examples/methods.yaml").read_text())["recipes"]
    # The tiny model often says nothing, or the same: of several samples some can be ranked.
    guided = {"candidates": ["plain", "plain", "guided", "guided", "guided"], "rank": "small"}
    recipes["iterdpo"] = {"prompts": "dsat", "chosen": "best", "rejected": "worst"} | guided
    for recipe in recipes.values():
        # Few of its replies make a pair: the first step has to count.
        recipe["training"] = recipe.get("training", {}) | {"learning_rate": 1e-4, "schedule_warmup": 0.0}
        # Nor has it an opinion on replies.
        if recipe.get("rank") == "self":
            recipe["rank"] = "small"
            del recipe["self_ranking"]
    recipes["drift-written"]["writer"] = "tiny"
    recipes["iterdpo"]["training"]["pacing"] = {"order": "easy", "shares": [0.6]}
    # Seven of each kind take longer than they say.
    recipes["temporal"]["candidates"] = 3 * ["plain", "plain@initial", "plain@future"]
    names = sorted(recipes.keys() - {"drift"})
    config = config | {"methods": names, "recipes": recipes, "rankers": {"small": {"path": str(reward_model)}}}
    snakemake(folder, config, *SIDE_BY_SIDE, *(f"results/tiny/tiny/{name}/seed42/iter1/policy.json" for name in names))
    return folder / "results/tiny/tiny"


def iteration(methods, name: str) -> tuple[pl.DataFrame, dict]:
    """The pairs of a method's first iteration, and the manifest of its policy."""
    made = methods / name / "seed42/iter1"
    return pl.read_parquet(made / "pairs.parquet"), json.loads((made / "policy.json").read_text())


def test_every_method_trains_from_the_warm_up(methods):
    warmup = json.loads((methods / "warmup/policy.json").read_text())["weights_sha256"]
    trained = {path.parent.parent.parent.name for path in methods.glob("*/seed42/iter1/policy.json")}
    assert trained >= {
        "drift-any-negative",
        "drift-written",
        "self-rewarding",
        "temporal",
        "temporal.future",
        "cream",
        "iterdpo",
        "kto",
        "sdpo",
    }
    for name in trained:
        made = methods / name / "seed42/iter1"
        rows = pl.read_parquet(made / ("unpaired.parquet" if name in ("kto", "sdpo") else "pairs.parquet"))
        manifest = json.loads((made / "policy.json").read_text())
        assert rows.height > 1, name
        assert manifest["steps_done"] == manifest["steps_planned"] > 0, name
        assert manifest["parent_sha256"] == warmup, name


@pytest.mark.parametrize(("name", "file"), [("iterdpo", "rewards"), ("self-rewarding", "rewards"), ("cream", "implied")])
def test_a_method_that_ranks_is_trained_on_the_best_and_the_worst_of_its_samples(methods, name, file):
    pairs, _ = iteration(methods, name)
    scores = dict(pl.read_parquet(methods / name / f"seed42/iter1/rank/{file}.parquet").iter_rows())
    assert all(scores[better] > scores[worse] for better, worse in pairs.select("chosen_from", "rejected_from").iter_rows())
    if name == "iterdpo":
        guided = set(pairs["chosen_from"].str.contains("#guided", literal=True))
        assert guided == {True, False}, "one kind of sample always wins: is it the score that decides?"


def test_a_method_with_a_pace_trains_on_a_share_of_its_pairs(methods):
    pairs, _ = iteration(methods, "iterdpo")
    recorded = json.loads((methods / "iterdpo/seed42/iter1/gates.json").read_text())["gates"]
    gates = {row["gate"]: row["detail"] for row in recorded}
    assert gates["pace"] == f"{round(0.6 * pairs.height)} of {pairs.height} pairs, easy"


def test_any_old_reply_is_one_of_the_policy_that_the_method_starts_from(methods):
    pairs, _ = iteration(methods, "drift-any-negative")
    assert pairs["chosen_from"].str.contains("#guided-", literal=True).all()
    assert pairs["rejected_from"].str.contains("#plain@initial-", literal=True).all()


def test_past_and_future_meet_in_temporal_pairs(methods):
    pairs, _ = iteration(methods, "temporal")
    draft, _ = iteration(methods, "temporal.future")
    kinds = {name: set(pairs[name].str.extract(r"#(.+)-\d+$")) for name in ("chosen_from", "rejected_from")}
    assert "plain@future" in kinds["chosen_from"]
    assert kinds["chosen_from"] <= {"plain", "plain@future"}
    assert kinds["rejected_from"] <= {"plain", "plain@initial"}
    assert "plain@future" not in set(draft["chosen_from"].str.extract(r"#(.+)-\d+$"))
    both = pairs.join(draft, on="pair_id", suffix="_draft")
    assert (both["rejected_from"] == both["rejected_from_draft"]).mean() > 0.5, "the rejected reply stays, where it is sound"


def test_the_consistency_of_cream_is_that_of_its_two_rankings(methods):
    pairs, _ = iteration(methods, "cream")
    agreement = pl.read_parquet(methods / "cream/seed42/iter1/rank/agreement.parquet")
    assert agreement.height > 3
    assert pairs["consistency"].n_unique() == 1
    assert pairs["consistency"][0] == pytest.approx((agreement["tau"].mean() + 1) / 2)
    assert 0 < pairs["consistency"][0] < 1


def test_kto_trains_on_every_logged_reply_that_has_a_label(methods):
    rows = pl.read_parquet(methods / "kto/seed42/iter1/unpaired.parquet")
    dropped = pl.read_parquet(methods / "kto/seed42/iter1/dropped.parquet")
    pools = {pool: pl.read_parquet(methods / f"prompts/{pool}.parquet").filter(split="train") for pool in ("dsat", "sat")}
    assert set(rows["prompt_id"]) | set(dropped["prompt_id"]) == {name for pool in pools.values() for name in pool["prompt_id"]}
    assert dict(rows.select("pool", "desirable").unique().iter_rows()) == {"dsat": False, "sat": True}
    ledger = pl.read_parquet(methods / "kto/seed42/iter1/ledger.parquet").sort("step")
    assert (ledger["rows_out"][-1], ledger["unit_out"][-1]) == (rows.height, "replies")


def test_a_run_killed_while_training_resumes_and_ends_with_the_same_weights(run, tmp_path):
    finished, config = run
    config |= {"methods": ["drift"], "iterations": 1}
    pairs = "results/tiny/tiny/warmup/pairs.parquet"
    snakemake(tmp_path, config, *SIDE_BY_SIDE, pairs)
    # What is killed is the process that trains.
    killed = config | {"environments": dict.fromkeys(config["environments"], str(STAGE_PYTHON))}
    command = snakemake_command(tmp_path, killed, *SIDE_BY_SIDE, "policies_all")
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    state = tmp_path / "results/tiny/state"
    deadline = time.monotonic() + 240
    # Written last, and at once: one that ends is whole, and so is its checkpoint.
    while not any(path.read_text().endswith("}\n") for path in state.glob("train-*/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline, "the warm-up never wrote a checkpoint"
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    assert not (tmp_path / "results/tiny/tiny/warmup/policy.json").exists(), "killed too late to test anything"

    snakemake(tmp_path, config, "--nolock", "--rerun-incomplete", *SIDE_BY_SIDE, "policies_all")
    log = (tmp_path / "results/tiny/logs/train/tiny/warmup.log").read_text()
    assert re.search(r"train: .*\| [1-9]\d*/", log), "the training did not continue"
    assert not re.search(r"train: .*\| 0/", log), "the training began again from the start"
    for table in ("turns", "labels", "dsat", "sat", "corrections"):
        path = f"results/tiny/data/{table}.parquet"
        assert (tmp_path / path).read_bytes() == (finished / path).read_bytes(), table
    assert (tmp_path / pairs).read_bytes() == (finished / pairs).read_bytes()
    before, after = (json.loads((root / "results/tiny/tiny/warmup/policy.json").read_text()) for root in (finished, tmp_path))
    assert before["weights_sha256"] == after["weights_sha256"]
