"""The rules give scores.py every table of the run, each under the names that it is of."""

import json
from types import SimpleNamespace

import scores
from drift import layout
from drift.config import load
from drift.workflow.evaluation import Evaluation

CONFIG = load(
    {
        "run": "r",
        "iterations": 2,
        "models": {"llama": {"path": "/models/llama"}},
        "data": {
            "sources": {"chats": {"kind": "logs", "path": "/logs.jsonl"}},
            "labelers": {"lexical": {"kind": "lexical"}},
            "labeler": "lexical",
        },
        "evaluation": {
            "benchmarks": {
                "heldout": {"kind": "heldout"},
                "alpaca": {"kind": "alpacaeval", "path": "/a.json", "judge": ["one", "two"], "gamed": "/gamed.csv"},
                "plain": {"kind": "alpacaeval", "path": "/b.json", "difficulty": "/difficulty.csv"},
            },
            "judge": "one",
            "judges": {"one": {"path": "/judge"}, "two": {"path": "/other"}},
        },
    }
)


def evaluation() -> Evaluation:
    return Evaluation(CONFIG, layout.paths("results/r"))


def options(rules: Evaluation) -> list[str]:
    """What rule `scores` makes of its inputs."""
    inputs = {name: getattr(rules, name) for name in ("tasks", "responses", "judgments", "logps")}
    return rules.options(None, SimpleNamespace(**inputs, files=rules.file_addresses))


def test_scores_reads_the_inputs_that_its_rule_declares_and_no_others():
    rules = evaluation()
    settings = rules.score_settings(lambda benchmark: {"one": "abc"})
    arguments = scores.parser().parse_args(
        [*options(rules), "--settings", settings, "--scores", "s.parquet", "--comparisons", "c.parquet"]
    )
    files = scores.files_of(arguments)
    assert str(files.judgments["llama/drift/seed42/iter2", "alpaca", "two"]) == (
        "results/r/llama/drift/seed42/iter2/eval/alpaca/judge/two/judgments.parquet"
    )
    named = [*files.tasks.values(), *files.responses.values(), *files.judgments.values(), *files.logps.values()]
    assert {str(path) for path in named} == {*rules.tasks, *rules.responses, *rules.judgments, *rules.logps}
    policies = scores.named_policies(arguments.policy)
    assert {(policy.method, policy.iteration, policy.seed) for policy in policies.values()} == {
        ("base", -1, 0),
        ("warmup", 0, 0),
        ("drift", 1, 42),
        ("drift", 2, 42),
    }


def test_files_of_metrics_are_those_that_are_configured():
    """The difficulty goes into the tasks, not into the scores."""
    rules = evaluation()
    assert rules.file_addresses == ["/gamed.csv"]
    words = options(rules)
    assert words[words.index("--file") :][:4] == ["--file", "alpaca", "gamed", "/gamed.csv"]


def test_every_judge_of_a_benchmark_judges_every_policy():
    rules = evaluation()
    assert len(rules.responses) == 4 * 3
    assert len(rules.judgments) == 4 * (1 + 2 + 1)


def test_settings_name_kinds_and_judge_prompts():
    settings = json.loads(evaluation().score_settings(lambda benchmark: {f"judge-of-{benchmark}": "abc"}))
    assert settings["benchmarks"]["alpaca"] == {"kind": "alpacaeval", "judges": {"judge-of-alpaca": "abc"}}
    assert (settings["beta"], settings["bootstrap"], settings["seed"]) == (0.1, 1000, 42)


def test_command_line_of_ten_policies_is_far_below_the_limit_of_the_system():
    """One argument of the shell that starts a job may have 128 KiB."""
    many = CONFIG | {"iterations": 8}
    rules = Evaluation(many, layout.paths("results/a-run-with-a-long-name"))
    assert len(rules.logps) == 10
    assert len(" ".join(options(rules))) < 20_000


def test_code_of_a_benchmark_s_kind_counts_for_its_tasks_and_the_scores():
    rules = evaluation()
    assert rules.module(SimpleNamespace(benchmark="alpaca")).name == "alpacaeval.py"
    assert [path.name for path in rules.modules] == ["alpacaeval.py", "heldout.py"]
