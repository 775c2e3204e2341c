"""What snakemake plans for a configuration, before anything is downloaded or run."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY, SNAKEMAKE, tiny_config
from tests.dag import rules
from tests.dag.planning import snakemake


def planned(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Jobs by rule, from the table that a dry run prints."""
    table = done.stdout.split("Job stats:", 1)[1].split("\n\n", 1)[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Dry-run a small configuration with changes; jobs by rule, without the total."""
    folder = tmp_path_factory.mktemp("plan")
    (folder / "model").mkdir()
    (folder / "logs.jsonl").write_text("")
    base = tiny_config(folder / "model", folder / "logs.jsonl") | {"methods": ["drift"]}
    base["sampling"] |= {"shards": 2}
    known = {}

    def printed() -> str:
        return snakemake(folder, base, "-n").stdout

    def dry_run(*targets: str, **changes) -> dict[str, int]:
        key = repr((targets, sorted(changes.items())))
        if key not in known:
            known[key] = planned(snakemake(folder, base | changes, "-n", *targets))
        return {rule: count for rule, count in known[key].items() if rule != "total"}

    dry_run.folder, dry_run.base, dry_run.printed = folder, base, printed
    return dry_run


def difference(more: dict[str, int], fewer: dict[str, int]) -> dict[str, int]:
    """How many jobs of each rule `more` has beyond `fewer`, where not none."""
    counts = {rule: more.get(rule, 0) - fewer.get(rule, 0) for rule in more | fewer}
    return {rule: count for rule, count in counts.items() if count}


def test_the_papers_run_is_planned_whole_with_nothing_downloaded(tmp_path):
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    done = snakemake(tmp_path, config, "-n", rehearse=True)
    assert "note: judge qwen2.5-32b is of the family of qwen2.5-7b, which it judges (Qwen)." in done.stdout + done.stderr
    jobs = planned(done)
    policies = 2 + 2 * 2  # base and warm-up; two methods, two iterations each
    assert jobs["fetch"] == 4, "the model, the judge, the annotations and the conversations that they are about"
    assert jobs["train"] == policies - 1
    assert jobs["pairs"] == jobs["diagnostics"] == jobs["pair_quality"] == jobs["behaviour"] == policies - 1
    assert jobs["sample"] == 2 * 2 * config["sampling"]["shards"], "the warm-up's pairs are logged, not sampled"
    assert jobs["respond"] == jobs["responses"] == jobs["judge"] == jobs["judgments"] == jobs["logps"] == policies
    once = ("turns", "labels", "pools", "register", "register_judge", "scores", "catalog", "report")
    assert [jobs[rule] for rule in once] == [1] * len(once)
    assert jobs["prompts"] == 3, "dsat, sat and corrections"
    assert {path.name for path in tmp_path.iterdir()} <= {"config.yaml", ".snakemake"}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Jobs by rule of the example with every method."""
    config = yaml.safe_load((REPOSITORY / "examples/methods.yaml").read_text())
    folder = tmp_path_factory.mktemp("example")
    (folder / "examples").symlink_to(REPOSITORY / "examples")
    return config, planned(snakemake(folder, config, "-n"))


def test_every_method_of_the_example_is_planned_in_one_run(example):
    config, jobs = example
    future = 1
    assert jobs["train"] == 1 + config["iterations"] * (len(config["methods"]) + future)
    shards = config["sampling"]["shards"]
    # The anchors of the control, past and future of temporal; a writer writes once.
    assert jobs["requests_of"] == 3 * config["iterations"] + 1
    assert jobs["sample_of"] == (3 * config["iterations"] + 1) * shards
    assert jobs["likelihoods"] == jobs["implied_rewards"] == config["iterations"]
    # Logged replies one by one make no pairs, which would be measured and rated.
    assert jobs["unpaired"] == 2 * config["iterations"]
    assert jobs["pairs"] == jobs["train"] - jobs["unpaired"]
    assert jobs["diagnostics"] == jobs["pair_quality"] == jobs["pairs"] - config["iterations"], "not of the future's"
    assert jobs["behaviour"] == jobs["train"] - config["iterations"]


def test_local_models_and_logs_need_no_fetching_and_a_model_that_judges_is_registered_once(plan):
    jobs = plan()
    assert "fetch" not in jobs
    assert "register_judge" not in jobs
    assert jobs["register"] == 1


def test_a_second_method_adds_its_own_jobs_only(plan):
    added = difference(plan(methods=["drift", "spin"]), plan())
    assert added == {
        "prompts": 1,  # sat, which drift does not read
        "requests": 2,
        "sample": 2 * 2,  # two shards
        "pairs": 2,
        "train": 2,
        "diagnostics": 2,
        "rated_pairs": 2,
        "compare_requests": 2,
        "compare": 2,
        "compare_judgments": 2,
        "pair_quality": 2,
        "respond": 2,
        "responses": 2,
        "judge_requests": 2,
        "judge": 2,
        "judgments": 2,
        "logps": 2,
        "behaviour": 2,
    }


def test_answers_that_code_checks_are_shown_to_no_judge_and_a_run_may_have_none(plan):
    (plan.folder / "wishes.jsonl").touch()
    wishes = {"wishes": {"kind": "checks", "path": "wishes.jsonl", "decoding": {"max_tokens": 48}}}
    method = {"prompts": "dsat", "chosen": "plain", "rejected": "logged", "start": "base"}
    data = plan.base["data"] | {"test_correction_conversations": 0}
    jobs = plan(recipes={"drift": method}, data=data, evaluation={"benchmarks": wishes})
    assert jobs["checks"] == jobs["responses"] == jobs["train"] + 1 == 3, "no warm-up, which no method starts from"
    assert jobs["improvement"] == jobs["train"], "code says whether pairs teach what is wanted"
    assert "improvement" not in plan()
    judging = {"judge_requests", "judge", "judgments", "compare", "register_judge", "pair_quality"}
    assert not (judging | {"logps"}) & set(jobs)
    judged = plan(evaluation=plan.base["evaluation"] | {"benchmarks": {"wishes": wishes["wishes"] | {"judge": "tiny"}}})
    assert judged["checks"] == judged["judge"] == 4, "a judge that is named is asked as well"


def test_a_third_iteration_adds_one_round(plan):
    added = difference(plan(iterations=3), plan())
    assert added == {
        "requests": 1,
        "sample": 2,
        "pairs": 1,
        "train": 1,
        "diagnostics": 1,
        "rated_pairs": 1,
        "compare_requests": 1,
        "compare": 1,
        "compare_judgments": 1,
        "pair_quality": 1,
        "respond": 1,
        "responses": 1,
        "judge_requests": 1,
        "judge": 1,
        "judgments": 1,
        "logps": 1,
        "behaviour": 1,
    }


def test_policies_can_be_made_without_their_evaluation(plan):
    jobs = plan("policies_all")
    assert jobs["train"] == 3
    assert not {"diagnostics", "pair_quality", "judge", "judgments", "logps", "scores", "report"} & set(jobs)
    # What a training starts from, and the base model, answer one benchmark.
    assert (jobs["behaviour"], jobs["respond"], jobs["responses"]) == (2, 3, 3)


def test_without_a_comparison_of_behaviour_policies_need_no_answers(plan):
    training = plan.base["training"] | {"behaviour": {"outcome": "off"}}
    jobs = plan("policies_all", training=training)
    assert jobs["behaviour"] == 2, "empty tables, so that a comparison that comes later trains nothing again"
    assert not {"respond", "responses", "tasks", "benchmark_requests"} & set(jobs)


def test_a_training_waits_for_the_behaviour_of_the_policy_that_it_starts_from(plan):
    inputs = {
        match[2]: match[1].split(", ")
        for match in re.finditer(r"rule train:\n    input: (.+)\n    output: \S+/tiny/(\S+)/policy,", plan.printed())
    }
    waits = {trained: [path for path in read if path.endswith("behaviour.parquet")] for trained, read in inputs.items()}
    assert waits == {
        "warmup": [],
        "drift/seed42/iter1": ["results/tiny/tiny/warmup/behaviour.parquet"],
        "drift/seed42/iter2": ["results/tiny/tiny/drift/seed42/iter1/behaviour.parquet"],
    }


def with_benchmark(row: dict, **changes) -> dict:
    """An evaluation with a second benchmark."""
    evaluation = tiny_config(Path("model"), Path("logs.jsonl"))["evaluation"]
    evaluation["benchmarks"]["mine"] = {"path": "mine.jsonl", "decoding": {"max_tokens": 48}} | row
    evaluation["judges"]["far"] = {"endpoint": {"url": "http://localhost:1/v1", "model": "x"}}
    evaluation["judges"]["tiny"]["path"] = evaluation["judges"]["tiny"]["path"].replace("model", "other-model")
    return evaluation | changes


@pytest.fixture
def two_benchmarks(plan):
    """Dry-run with a second benchmark; jobs beyond those of the first alone."""
    (plan.folder / "other-model").mkdir(exist_ok=True)
    for name in ("mine.jsonl", "published.jsonl", "gpt.jsonl"):
        (plan.folder / name).touch()

    def beyond(row: dict, **changes) -> dict[str, int]:
        one = with_benchmark(row)
        del one["benchmarks"]["mine"]
        return difference(plan(evaluation=with_benchmark(row, **changes)), plan(evaluation=one))

    return beyond


def test_a_second_benchmark_adds_its_own_jobs_only(two_benchmarks):
    policies = 4
    per_policy = dict.fromkeys(("respond", "responses", "judge_requests", "judge", "judgments"), policies)
    shared = {"tasks": 1, "benchmark_prompts": 1, "benchmark_requests": 1}
    row = {"kind": "wildbench", "references": {"gpt": "gpt.jsonl"}}
    assert two_benchmarks(row) == per_policy | shared
    # Several judges see the same answers.
    both = two_benchmarks(row | {"judge": ["tiny", "far"]})
    assert both == per_policy | shared | dict.fromkeys(("judge_requests", "judge", "judgments"), 2 * policies)


def test_a_judge_is_validated_once_for_each_way_in_which_it_judges(two_benchmarks):
    asked = ("published_requests", "judge_published", "published_judgments")
    once = {"published_answers": 1, **dict.fromkeys(asked, 1), "validation": 1}

    def validated(row: dict) -> dict[str, int]:
        return {rule: count for rule, count in two_benchmarks(row, validation="published.jsonl").items() if rule in once}

    assert validated({"kind": "prompts"}) == once, "both benchmarks are judged by letters, in both orders"
    twice = once | dict.fromkeys(asked, 2)
    assert validated({"kind": "alpacaeval"}) == twice, "other letters and another order"
    assert validated({"kind": "wildbench"}) == twice | {"published_answers": 2}, "scores and preferences"


def test_an_endpoint_that_judges_alone_needs_no_model(plan, two_benchmarks):
    jobs = plan(evaluation=with_benchmark({"kind": "prompts"}, judge="far"))
    assert "register_judge" not in jobs
    assert jobs["judge"] == 8


def test_a_judge_prompt_that_is_not_there_stops_snakemake_with_its_name(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "logs.jsonl").touch()
    config = tiny_config(tmp_path / "model", tmp_path / "logs.jsonl")
    config["evaluation"]["judges"]["tiny"]["template"] = "mine.txt"
    done = snakemake(tmp_path, config, "-n", check=False)
    assert "evaluation.judges.tiny.template: mine.txt cannot be read" in done.stdout + done.stderr


def test_a_guided_reply_to_the_papers_transcript_ends_where_it_begins_another_turn(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "logs.jsonl").write_text("")
    config = tiny_config(tmp_path / "model", tmp_path / "logs.jsonl") | {"prompting": {"style": "paper"}, "iterations": 1}
    done = snakemake(tmp_path, config, "-np", "policies_all")
    commands = re.findall(r"scripts/generate\.py .+?(?=\n\s*\n|\Z)", done.stdout, re.DOTALL)
    assert {("drift/seed42/iter1" in command, '"stop": ["\\nUser:"' in command) for command in commands} == {
        (True, True),
        (False, False),
    }


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"training": {"learning_rte": 1.0e-6}}, "there is no 'learning_rte', did you mean 'learning_rate'?"),
        ({"methods": ["drfit"]}, "there is no 'drfit', did you mean 'drift'?"),
    ],
    ids=["typo", "unknown method"],
)
def test_a_fault_in_the_configuration_stops_snakemake_with_the_cure(tmp_path, changes, answer):
    config = tiny_config(tmp_path / "model", tmp_path / "logs.jsonl") | changes
    done = snakemake(tmp_path, config, "-n", check=False)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert answer in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "results").exists()


def test_all_rules_are_looked_at():
    written = sum(len(re.findall(r"^(?:use )?rule ", path.read_text(), re.MULTILINE)) for path in rules.FILES)
    assert len(rules.BLOCKS) == written > 20


def test_every_job_has_a_log_and_timings_of_its_own():
    command = [str(SNAKEMAKE), "--profile", "demo", "-n", "--forceall", "--quiet", "progress"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .+\n)+)", done.stdout + done.stderr, re.MULTILINE)
    assert len(jobs) > 40
    for kind in ("log", "benchmark"):
        places = [(rule, re.search(rf"^    {kind}: (\S+)$", text, re.MULTILINE)) for rule, text in jobs]
        assert {rule for rule, place in places if place is None} <= {"all", "fetch"}
        files = [place[1] for _, place in places if place]
        assert len(set(files)) == len(files)


@pytest.mark.parametrize("rule", ["fetch", "resolved_config", "preflight", "preflight_login"])
def test_a_rule_that_needs_the_network_or_the_login_node_is_not_submitted(rule):
    assert rules.has(rule, "localrule")


@pytest.mark.parametrize("profile", ["slurm", "demo"])
def test_a_shipped_profile_plans_its_run_without_a_warning(profile):
    command = [str(SNAKEMAKE), "--profile", profile, "-n", "--forceall"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert planned(done)["train"] == {"slurm": 5, "demo": 2}[profile]
    assert "Warning" not in done.stdout + done.stderr


def test_a_configuration_on_the_command_line_is_not_mixed_with_the_shipped_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "logs.jsonl").write_text("{}")
    shutil.copy(REPOSITORY / "config.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tiny_config(tmp_path / "model", tmp_path / "logs.jsonl")))
    command = [
        str(SNAKEMAKE),
        f"--snakefile={REPOSITORY / 'Snakefile'}",
        f"--directory={tmp_path}",
        "--cores=1",
        "-n",
    ]
    plans = [
        subprocess.run([*command, f"--configfile={tmp_path / 'mine.yaml'}", *flag], capture_output=True, text=True, check=True)
        for flag in ([], ["--replace-workflow-config"])
    ]
    assert planned(plans[0]) == planned(plans[1])
    assert "fetch" not in planned(plans[0]), "nothing of what the shipped one names"


def test_a_missing_interpreter_is_named_with_its_cure_before_the_first_job(plan, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "logs.jsonl").write_text("")
    config = tiny_config(tmp_path / "model", tmp_path / "logs.jsonl")
    config["environments"] |= {"gpu": "nowhere/bin/python"}
    cure = "environments.gpu: there is no Python at .*/nowhere/bin/python: name one that is there"
    assert re.search(f"note: {cure}", snakemake(tmp_path, config, "-n").stderr)
    refused = snakemake(tmp_path, config, check=False)
    assert refused.returncode != 0
    assert re.search(f"nothing was started:\n  - {cure}", refused.stderr)
    assert not (tmp_path / "results").exists()
    assert "environments.gpu" not in snakemake(tmp_path, config, "-n", "pairs_all").stderr, "no stage of it needs one"
    config["environments"] |= {"gpu": "/nowhere/bin/python"}
    assert "environments.gpu" not in snakemake(tmp_path, config, "-n").stderr, "it may be the nodes' own"
    assert "there is no Python at /nowhere/bin/python" in snakemake(tmp_path, config, check=False).stderr, "jobs would run here"


@pytest.mark.parametrize(
    ("model", "cure"),
    [
        (
            "Qwen/Qwen2.5-3B-Instruct",
            "models.tiny.path: Qwen/Qwen2.5-3B-Instruct is not there: .*hf:Qwen/Qwen2.5-3B-Instruct@REV",
        ),
        ("/data/models/none", "models.tiny.path: /data/models/none is not there: give the path of what is$"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_its_key_and_cure(tmp_path, model, cure):
    (tmp_path / "logs.jsonl").write_text("")
    done = snakemake(tmp_path, tiny_config(Path(model), tmp_path / "logs.jsonl"), "-n", check=False)
    assert done.returncode != 0
    assert re.search(f"error: {cure}", done.stderr, re.MULTILINE)


def test_a_run_without_a_profile_is_told_of_it():
    command = [str(SNAKEMAKE), "--configfile", "examples/logs.yaml", "-n", "--forceall", "--", "pairs_all"]
    plain, profiled = (
        subprocess.run(
            [*command[:1], *options, *command[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=True
        ).stderr
        for options in (["--cores", "1"], ["--profile", "local"])
    )
    assert "note: no profile of this repository is in use: add --profile local" in plain
    assert "no profile" not in profiled


@pytest.mark.parametrize("profile", ["slurm", "demo"])
def test_the_shipped_runs_are_planned_for_results_in_another_directory(tmp_path, profile):
    command = [str(SNAKEMAKE), "--profile", profile, "--directory", str(tmp_path), "-n"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train +\d+$", done.stdout + done.stderr, re.MULTILINE)
