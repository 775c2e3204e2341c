"""Which answers are mapped, and what is refused before any job."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from drift import layout
from drift.config import ConfigError, load
from drift.workflow.exploration import Exploration
from drift.workflow.inputs import addresses_of
from tests.builders.configurations import refusal
from tests.conftest import tiny_config

PATHS = layout.paths("R")
SAMPLED = {"samples": 4, "decoding": {"temperature": 0.7, "max_tokens": 48}}


def values(**section) -> dict:
    """A configuration with two benchmarks and the rankers of both kinds, which explores."""
    config = tiny_config(Path("/models/tiny"), Path("logs.jsonl"))
    config["evaluation"]["benchmarks"] |= {
        "chats": {"kind": "prompts", "path": "chats.jsonl", **SAMPLED},
        "wishes": {"kind": "checks", "path": "wishes.jsonl", **SAMPLED},
        "letters": {"kind": "multiple-choice", "path": "letters.jsonl"},
    }
    config["rankers"] = {"reward": {"path": "hf:a/reward@1"}, "alike": {"kind": "medoid", "path": "/models/alike"}}
    config["exploration"] = {"benchmark": "chats", "embedder": {"path": "hf:a/encoder@1"}, "reward": "reward"} | section
    return config


def explored(**section) -> Exploration:
    return Exploration(load(values(**section)), PATHS, pinned=lambda path: f"pinned {path}")


def job(**wildcards: str) -> SimpleNamespace:
    return SimpleNamespace(**wildcards)


def test_nothing_is_explored_unless_it_is_asked_for():
    config = load(tiny_config(Path("/models/tiny"), Path("logs.jsonl")))
    assert config["exploration"] is None
    assert Exploration(config, PATHS, pinned=str).tables == []


def test_the_last_iteration_is_explored_or_those_that_are_named():
    assert explored().tables == [f"R/tiny/exploration/iter2/{name}.parquet" for name in ("coverage", "map_coverage")]
    assert len(explored(iterations=[1, 2]).tables) == 4


def test_the_base_model_and_every_policy_of_the_iteration_are_compared():
    found = explored().compared(job(model="tiny", explored="1"))
    policies = ("base", "drift/seed42/iter1", "spin/seed42/iter1")
    assert found["embeddings"] == [f"R/tiny/{policy}/eval/chats/embeddings.parquet" for policy in policies]
    assert found["rewards"] == [f"R/tiny/{policy}/eval/chats/rewards.parquet" for policy in policies]
    options = explored().policy_options(job(model="tiny", explored="1"), SimpleNamespace(**found))
    assert options[:6] == ["--policy", "base", "-1", "0", found["embeddings"][0], found["rewards"][0]]
    assert options[6:10] == ["--policy", "drift", "1", "42"]


def test_checked_answers_need_no_ranker():
    found = explored(benchmark="wishes", reward=None).compared(job(model="tiny", explored="2"))
    assert found["rewards"][0] == "R/tiny/base/eval/wishes/checked_rewards.parquet"


def test_the_encoder_is_fetched_like_any_model_and_rewards_are_the_rankers():
    assert "hf:a/encoder@1" in list(addresses_of(load(values())))
    assert explored().encoder(None).startswith("pinned downloads/")
    settings = json.loads(explored().ranker_settings(None))
    assert (settings["kind"], settings["max_length"]) == ("classifier", 2048)
    other = values() | {"sampling": {"max_tokens": 48, "context": 512, "cut": "drop"}}
    again = Exploration(load(other), PATHS, pinned=str)
    assert json.loads(again.ranker_settings(None)) == settings, "answers are scored cut or not"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"benchmark": "chat"}, "exploration.benchmark: there is no 'chat', did you mean 'chats'?"),
        ({"benchmark": "letters"}, "evaluation.benchmarks.letters is not answered in words"),
        (
            {"benchmark": "heldout"},
            "one answer a task says nothing of how far a policy explores; set evaluation.benchmarks.heldout",
        ),
        (
            {"reward": None},
            "exploration.reward: no code checks answers to benchmarks of kind prompts, so that they have no rewards",
        ),
        ({"reward": "rewards"}, "exploration.reward: there is no 'rewards', did you mean 'reward'?"),
        ({"reward": "alike"}, "exploration.reward: a medoid says how alike answers are, not how good"),
        ({"iterations": [3]}, "exploration.iterations: there is no iteration 3; the run has 1 to 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cure(section, said):
    assert said in refusal(values(**section))


def test_fewer_tasks_than_neighbours_are_refused():
    config = values()
    config["evaluation"]["benchmarks"]["chats"]["max_tasks"] = 9
    assert "exploration.neighbours 15 are more than the 9 prompts of evaluation.benchmarks.chats" in refusal(config)


def test_an_embedder_on_this_machine_that_is_no_encoder_is_refused_before_any_job(tiny_model):
    with pytest.raises(ConfigError, match=r"LlamaForCausalLM writes texts, and is no encoder; fix exploration\.embedder\.path"):
        explored(embedder={"path": str(tiny_model)})
