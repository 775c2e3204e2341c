"""The rules give scores.py every table of the run, each under the names that it is of."""

import json
import re
from types import SimpleNamespace

import pytest

import scores
from drift import layout
from drift.config import ConfigError, load
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
        [
            *options(rules),
            *("--settings", settings, "--corrections", "c.parquet", "--scores", "s.parquet", "--comparisons", "d.parquet"),
        ]
    )
    files = scores.files_of(arguments)
    policies = scores.named_policies(arguments.policy)
    judged = {"heldout": ["one"], "alpaca": ["one", "two"], "plain": ["one"]}
    names = [
        {"policy": policy, "benchmark": benchmark, "judge": judge}
        for policy in policies
        for benchmark, judges in judged.items()
        for judge in judges
    ]
    for table in ("tasks", "responses", "judgments", "logps"):
        assert {getattr(files, table).format(**name) for name in names} == set(getattr(rules, table))
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
    assert settings["starts"] == {"drift": "warmup"}


def declared(methods: list[str], **changed) -> dict:
    """The settings of the primary family, with keys of evaluation.primary changed."""
    primary = CONFIG["evaluation"]["primary"] | changed
    config = CONFIG | {"methods": methods, "evaluation": CONFIG["evaluation"] | {"primary": primary}}
    rules = Evaluation(config, layout.paths("results/r"))
    return json.loads(rules.score_settings(lambda benchmark: {}))["primary"]


def test_primary_family_is_the_headlines_against_the_first_method_or_base():
    metrics = declared(["drift", "spin"])["metrics"]
    assert metrics["alpaca"][0] == "length_controlled_win_rate"
    assert metrics["heldout"][0] == "win_rate"
    assert declared(["drift", "spin"])["against"] == "drift"
    assert declared(["drift"])["against"] == "base"
    assert declared(["drift", "spin"], against="spin")["against"] == "spin"


def test_family_that_is_named_is_that_one_alone():
    named = {"alpaca": "win_rate:gpt-4", "heldout-pairs": "preference_accuracy"}
    assert declared(["drift"], metrics=named)["metrics"] == {name: [metric] for name, metric in named.items()}


@pytest.mark.parametrize(
    ("benchmark", "metric", "error"),
    [
        ("heldout", "win_rat", "evaluation.primary.metrics.heldout: there is no 'win_rat', did you mean 'win_rate'?"),
        ("heldout-pairs", "margin", "there is no 'margin'; there are: preference_accuracy"),
    ],
)
def test_metric_that_the_benchmark_does_not_have_is_refused_before_the_run(benchmark, metric, error):
    with pytest.raises(ConfigError, match=re.escape(error)):
        declared(["drift"], metrics={benchmark: metric})


def test_command_line_of_many_policies_is_far_below_the_limit_of_the_system():
    """One argument of the shell that starts a job may have 128 KiB."""
    many = CONFIG | {"iterations": 40, "seeds": [1, 2, 3, 4, 5, 6]}
    rules = Evaluation(many, layout.paths("results/a-run-with-a-long-name"))
    assert len(rules.logps) == 242
    assert len(" ".join(options(rules))) < 30_000


def test_code_of_a_benchmark_s_kind_counts_for_its_tasks_and_the_scores():
    rules = evaluation()
    assert rules.module(SimpleNamespace(benchmark="alpaca")).name == "alpacaeval.py"
    assert [path.name for path in rules.modules] == ["alpacaeval.py", "heldout.py"]
