"""What the rules tell engines and rankers: who answers, what shapes replies, how an engine runs."""

import json
from pathlib import Path

import pytest

from drift import layout
from drift.chat import TRANSCRIPT_STOPS
from drift.config import Endpoint, load
from drift.settings.sampling import EngineRuntime, GenerationSettings, RewardSettings
from drift.workflow.generation import Generation, generation_settings
from drift.workflow.iterations import Iterations
from drift.workflow.judges import Judges
from drift.workflow.ranking import Ranking
from tests.conftest import REPOSITORY, tiny_config

PATHS = layout.paths("results/tiny")
ENDPOINT = Endpoint(url="http://localhost:1/v1", model="x", concurrency=3).model_dump()
# As a section of the configuration, with a key that is not of decoding.
DECODING = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 9, "shards": 4}
RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "plain"]}


class Wildcards(dict):
    """As snakemake passes them: attributes and items."""

    def __getattr__(self, name: str) -> str:
        if name not in self:
            raise AttributeError(name)
        return self[name]


class Resources(dict):
    """What a job is given; nothing of it matters here."""


def configuration(**sections) -> dict:
    config = tiny_config(Path("/models/tiny"), Path("logs.jsonl"))
    config["evaluation"]["judges"] |= {"other": {"path": "/models/other", "votes": 1}, "far": {"endpoint": ENDPOINT}}
    config["rankers"] = {"reward": {"path": "/models/reward", "max_length": 99}}
    return load(config | sections)


def generation_of(config: dict) -> Generation:
    return Generation(config, PATHS, Iterations(config, PATHS), pinned=lambda path: f"pinned {path}")


def ranking_of(rank: str, **row) -> Ranking:
    config = configuration(methods=["ranked"], recipes={"ranked": RANKED | {"rank": rank} | row})
    iterations = Iterations(config, PATHS)
    judges = Judges(config, PATHS, templates=REPOSITORY / "scripts/templates")
    generation = generation_of(config)
    return Ranking(config, PATHS, iterations, judges, generation, pinned=lambda path: f"pinned {path}")


JOB = Wildcards(model="tiny", trained="ranked/seed42/iter2", i="1", n="1")


@pytest.mark.parametrize(
    ("style", "trained", "stop"),
    [
        ("chat", "drift/seed42/iter1", ()),
        ("paper", "drift/seed42/iter1", tuple(TRANSCRIPT_STOPS)),
        ("paper", "spin/seed42/iter1", ()),
    ],
)
def test_samples_end_at_the_next_turn_only_where_a_transcript_is_shown(style, trained, stop):
    generation = generation_of(configuration(prompting={"style": style}))
    param = generation.settings(generation.samples)(Wildcards(model="tiny", trained=trained))
    settings = GenerationSettings.model_validate_json(param)
    assert (settings.backend, settings.context, settings.endpoint) == ("transformers", 512, None)
    assert settings.decoding.stop == stop
    assert settings.max_tokens == 48


def test_the_settings_are_what_shapes_a_reply_and_the_runtime_is_the_rest():
    generation = generation_of(configuration())

    def asked(wildcards) -> dict:
        return {"context": 512, "decoding": DECODING, "endpoint": ENDPOINT}

    settings = json.loads(generation.settings(asked)(JOB))
    assert (settings["backend"], settings["context"]) == ("openai", None), "an endpoint knows its own context"
    assert settings["endpoint"] == {"url": ENDPOINT["url"], "model": "x", "parameters": {}}
    runtime = EngineRuntime.model_validate_json(generation.runtime(asked)(JOB, Resources()))
    assert (runtime.cpu_cache_gib, runtime.endpoint.concurrency) == (2, 3)
    assert set(settings["decoding"]) == set(DECODING) - {"shards"} | {"stop"}


def test_a_reply_has_its_fields_in_the_order_of_the_schema():
    """A verdict that is written after its grounds can follow from them."""
    ranking = ranking_of("self")
    param = generation_of(configuration()).settings(ranking.asked)(JOB)
    schema = json.loads(GenerationSettings.model_validate_json(param).json_schema)
    assert list(schema["properties"]) == ["strengths", "weaknesses", "score"]


def test_an_answer_among_choices_is_one_token():
    settings = generation_settings("vllm", context=64, choices=["A", "B"])
    assert (settings.max_tokens, settings.choices, settings.decoding) == (1, ("A", "B"), None)


@pytest.mark.parametrize(
    ("judge", "folder"),
    [("tiny", "results/tiny/tiny/base"), ("other", "results/tiny/judges/other"), ("far", None)],
)
def test_a_judges_model_is_the_model_to_improve_of_its_address_or_its_own_or_none(judge, folder):
    config = configuration()
    rows = config["evaluation"]["judges"]
    model = generation_of(config).model(lambda wildcards: rows[wildcards.judge], PATHS.judge_policy, PATHS.judge_manifest)
    expected = {"manifest": f"{folder}/policy.json", "policy": f"pinned {folder}/policy"}
    assert model(Wildcards(judge=judge, benchmark="heldout")) == (expected if folder else {"manifest": [], "policy": []})


@pytest.mark.parametrize(
    ("rank", "model", "context", "max_tokens"),
    [
        ("self", "results/tiny/tiny/ranked/seed42/iter1/policy", 512, 256),
        ("tiny", "results/tiny/tiny/base/policy", 1024, 1024),
        ("other", "results/tiny/judges/other/policy", 8192, 1024),
    ],
)
def test_candidates_are_scored_by_their_policy_or_by_a_judge(rank, model, context, max_tokens):
    ranking = ranking_of(rank)
    assert ranking.model(JOB)["policy"] == f"pinned {model}"
    asked = generation_settings("vllm", **ranking.asked(JOB))
    assert (asked.context, asked.max_tokens) == (context, max_tokens)
    assert asked.decoding.temperature == 0
    assert json.loads(ranking.question_settings(JOB))["judging"]["verdict"] == "score"
    assert ranking.template(JOB, Resources()).name == "judge-score.txt"
    assert ranking.min_verdicts(JOB, Resources()) == (0.0 if rank == "self" else 0.95)
    assert ranking.completions(JOB) == ["results/tiny/tiny/ranked/seed42/iter2/rank/completions/1-of-1.parquet"]


def test_a_policy_scores_its_candidates_as_often_and_as_its_recipe_says():
    votes = {"votes": 3, "decoding": {"temperature": 0.7, "top_p": 0.9}}
    ranking = ranking_of("self", self_ranking=votes)
    asked = generation_settings("vllm", **ranking.asked(JOB))
    assert (asked.decoding.temperature, asked.decoding.top_p, asked.max_tokens) == (0.7, 0.9, 256)
    assert json.loads(ranking.question_settings(JOB))["judging"]["votes"] == 3
    assert json.loads(ranking.judgment_settings(JOB))["judging"]["votes"] == 3


def test_a_judge_behind_an_endpoint_scores_candidates_without_a_model():
    ranking = ranking_of("far")
    assert ranking.model(JOB) == {"manifest": [], "policy": []}
    assert ranking.asked(JOB)["endpoint"]["model"] == "x"


def test_a_ranker_is_told_its_row_and_finds_its_model():
    ranking = ranking_of("reward")
    settings = RewardSettings.model_validate_json(ranking.ranker_settings(JOB))
    assert (settings.kind, settings.path, settings.max_length) == ("classifier", "/models/reward", 99)
    assert ranking.ranker_path(JOB) == "pinned /models/reward"
    assert ranking.ranker_file(JOB) == REPOSITORY / "scripts/drift/rankers/classifier.py"
