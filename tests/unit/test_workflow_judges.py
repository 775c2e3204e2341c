"""What rules are told about judges: files, settings, and which judges are validated by what."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import ConfigError
from drift.workflow.fingerprint import Code
from drift.workflow.judges import Benchmarks, Judges
from tests.builders.judging import configuration
from tests.conftest import REPOSITORY

PATHS = layout.paths("results/tiny")
TEMPLATES = REPOSITORY / "scripts/templates"
HELDOUT = {"kind": "heldout", "shards": 2}
PROMPTS = {"kind": "prompts", "path": "prompts.jsonl"}
WILDBENCH = {"kind": "wildbench", "path": "wildbench.jsonl", "context": 9000}
FAR = {"endpoint": {"url": "http://localhost:1/v1", "model": "far"}, "verdict": "choice"}


def judges_of(benchmarks: dict, judges: dict, **evaluation) -> Judges:
    return Judges(configuration(benchmarks, judges, **evaluation), PATHS, TEMPLATES)


def wildcards(benchmark: str, judge: str = "") -> SimpleNamespace:
    return SimpleNamespace(model="tiny", policy="warmup", benchmark=benchmark, judge=judge)


def test_a_policys_answers_and_a_judges_replies_come_in_the_benchmarks_shards():
    config = configuration({"heldout": HELDOUT}, {"j": {"path": "judge"}})
    folder = "results/tiny/tiny/warmup/eval/heldout"
    answers = Benchmarks(config, PATHS).completions(wildcards("heldout"))
    assert answers == [f"{folder}/completions/{i}-of-2.parquet" for i in (1, 2)]
    replies = Judges(config, PATHS, TEMPLATES).completions(wildcards("heldout", "j"))
    assert replies == [f"{folder}/judge/j/completions/{i}-of-2.parquet" for i in (1, 2)]


def test_a_benchmarks_context_is_its_own_or_that_of_sampling():
    config = configuration({"heldout": HELDOUT, "wild": WILDBENCH}, {"j": {"path": "judge"}})
    benchmarks = Benchmarks(config, PATHS)
    assert benchmarks.context(wildcards("wild")) == 9000
    assert benchmarks.context(wildcards("heldout")) == config["sampling"]["context"]
    settings = json.loads(benchmarks.prompts_settings(wildcards("wild")))
    assert (settings["lineage"], settings["context"], settings["max_length"]) == ("tiny/eval/wild", 9000, None)


def test_a_judge_is_told_its_own_prompt_or_that_of_the_verdict(tmp_path):
    own = tmp_path / "mine.txt"
    own.write_text("{reply_a} {reply_b}")
    judges = judges_of({"heldout": HELDOUT}, {"a": {"path": "judge"}, "b": FAR, "c": FAR | {"template": str(own)}})
    assert judges.template(wildcards("heldout", "a"), None) == TEMPLATES / "judge-letter.txt"
    assert judges.template(wildcards("heldout", "b"), None) == TEMPLATES / "judge-choice.txt"
    assert judges.template(wildcards("heldout", "c"), None) == own
    settings = json.loads(judges.question_settings(wildcards("heldout", "c")))
    assert settings["template_sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()
    assert judges.prompts_of("heldout") == {"a": hashlib.sha256((TEMPLATES / "judge-letter.txt").read_bytes()).hexdigest()}


def test_a_judge_prompt_that_cannot_be_read_is_named():
    with pytest.raises(ConfigError, match=r"evaluation\.judges\.a\.template: none\.txt cannot be read"):
        judges_of({"heldout": HELDOUT}, {"a": {"path": "judge", "template": "none.txt"}})


def test_questions_leave_room_for_the_verdict_and_the_engine_is_told_how_to_reply():
    judges = judges_of({"heldout": HELDOUT}, {"a": {"path": "judge"}, "b": FAR})
    letter, choice = (json.loads(judges.question_settings(wildcards("heldout", judge))) for judge in ("a", "b"))
    assert (letter["max_tokens"], choice["max_tokens"]) == (1, 1024)
    assert letter["judging"] == choice["judging"] | {"verdict": "letter"}
    asked = judges.asked(wildcards("heldout", "b"))
    assert asked["endpoint"]["model"] == "far"
    assert asked["schema"]["required"][-1] == "choice"
    assert asked["decoding"]["max_tokens"] == 1024
    assert judges.verdict_file(wildcards("heldout", "b")) == REPOSITORY / "scripts/drift/verdicts/choice.py"


def test_how_a_verdict_is_read_shapes_the_judgments_and_not_the_questions():
    """Else a change of the reading would ask every judge again."""
    judges, code = judges_of({"heldout": HELDOUT}, {"a": {"path": "judge"}, "b": FAR}), Code(REPOSITORY / "scripts")
    letter, choice = (
        json.loads(code("judgments", judges.verdict_file)(wildcards("heldout", judge)))["code"] for judge in ("a", "b")
    )
    assert letter["read"] != choice["read"], "each verdict counts for its own judgments"
    assert "read" not in json.loads(code("judge_requests")(wildcards("heldout", "a")))["code"]


def test_whoever_ranks_candidates_scores_each_by_itself():
    judges = judges_of({"heldout": HELDOUT}, {"a": {"path": "judge"}})
    ranking = judges.ranking(judges.row(wildcards("", "a")), seed=7)
    assert json.loads(ranking.question_settings)["seed"] == 7, "that of the policy whose candidates they are"
    assert json.loads(ranking.judgment_settings)["judging"]["verdict"] == "score"
    assert ranking.template == TEMPLATES / "judge-score.txt"
    assert ranking.asked["schema"]["required"] == ["strengths", "weaknesses", "score"]


def test_without_published_answers_no_judge_is_validated():
    assert judges_of({"heldout": HELDOUT}, {"a": {"path": "judge"}}).validations() == []


def test_a_judge_is_validated_once_for_each_way_in_which_it_judges():
    rows = {"heldout": HELDOUT, "mine": PROMPTS, "wild": WILDBENCH}
    judges = judges_of(rows, {"a": {"path": "judge"}}, validation="published.jsonl")
    folder = "results/tiny/judges/a/validation"
    assert [(one.benchmark, one.judgments) for one in judges.validations()] == [
        ("heldout", f"{folder}/heldout/judgments.parquet"),
        ("mine", f"{folder}/heldout/judgments.parquet"),
        ("wild", f"{folder}/wild/judgments.parquet"),
    ]
    kinds = ["pairwise", "pairwise", "score"]
    assert [one.published for one in judges.validations()] == [PATHS.published.format(kind=kind) for kind in kinds]
    assert judges.published_tasks(wildcards("wild", "a")) == PATHS.published_tasks.format(kind="score")
    assert judges.validation_options()[:3] == ["--judge", "a", "heldout"]
