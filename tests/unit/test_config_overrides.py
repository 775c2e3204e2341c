"""Keys of `training` and `sampling` that one method has of its own: what may be one, what it
reaches, and that nothing else changes with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from drift import layout
from drift.config import Sampling, Training, effective, load
from drift.config.overrides import REFUSED, SamplingOverrides, TrainingOverrides
from drift.workflow.generation import Generation
from drift.workflow.iterations import Iterations
from tests.builders.configurations import minimal, refusal
from tests.conftest import REPOSITORY, tiny_config
from tests.dag.keys import KEYS

SECTIONS = {"training": (Training, TrainingOverrides), "sampling": (Sampling, SamplingOverrides)}
SPIN = {"prompts": "sat", "chosen": "logged", "rejected": "plain"}
PATHS = layout.paths("results/tiny")


class Job(dict):
    """The wildcards of a job, as snakemake passes them."""

    def __getattr__(self, name: str) -> str:
        if name not in self:
            raise AttributeError(name)
        return self[name]


def with_row(**overrides) -> dict:
    """A configuration whose method spin has these overrides."""
    return minimal(methods=["spin"], recipes={"spin": SPIN | overrides})


# Sections that a row has as a whole, as KEYS has single keys.
WHOLE = {
    "training.lora": ({"rank": 2}, {"train", "diagnostics"}),
    "training.pacing": ({"shares": [0.5]}, {"train"}),
}


def own_keys() -> list[tuple[str, str, Any]]:
    """Every key that a method may have of its own, with another value than the run's."""
    values = {tuple(key.split(".")): value for key, (value, _) in WHOLE.items()}
    values |= {(section, key): KEYS[f"{section}.{key}"][0] for section, key in _overridable() if (section, key) not in values}
    return [(section, key, value) for (section, key), value in values.items()]


def _overridable() -> list[tuple[str, str]]:
    # label_weights are of kto alone: tests/unit/test_unpaired.py.
    return [(section, key) for section, (_, own) in SECTIONS.items() for key in own.model_fields if key != "label_weights"]


def run(row: dict) -> dict:
    """A run of two methods, of which spin has `row` as well; each key of its training matters."""
    config = tiny_config(Path("/models/tiny"), Path("logs.jsonl"))
    config["training"] |= {"losses": {"robust": 1.0}, "label_smoothing": 0.2}
    config["recipes"]["spin"] |= row
    return load(config)


def stages(config: dict) -> dict[tuple[str, str], list[str]]:
    """What the rules of an iteration are told, by rule and policy."""
    iterations = Iterations(config, PATHS)
    generation = Generation(config, PATHS, iterations, pinned=str)
    told = {}
    for policy in iterations.policies("tiny")[1:]:
        trained = policy.removeprefix("tiny/")
        job = Job(model="tiny", trained=trained)
        if iterations.samples(trained):
            told["requests", trained] = [iterations.requests_settings(job)]
            told["sample", trained] = [generation.settings(generation.samples)(job)]
        told |= {
            ("pairs", trained): [iterations.pairs_settings(job)],
            ("train", trained): [iterations.train_settings(job), iterations.reference_manifest(job), *iterations.replay(job)],
            ("diagnostics", trained): [iterations.diagnostics_settings(job)],
        }
    return told


@pytest.mark.parametrize("section", SECTIONS)
def test_a_method_may_have_every_key_of_a_section_but_those_that_are_refused(section):
    whole, own = SECTIONS[section]
    assert own.model_fields.keys() | REFUSED[section].keys() == whole.model_fields.keys()
    assert not own.model_fields.keys() & REFUSED[section].keys()


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, keys in REFUSED.items() for key in keys])
def test_a_key_that_has_to_be_the_same_for_all_methods_is_refused_with_the_reason(section, key):
    message = refusal(with_row(**{section: {key: 1}}))
    assert f"recipes.spin.{section}: {key} cannot be set for one method: {REFUSED[section][key]}" in message


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"training": {"epoch": 2}}, "recipes.spin.training.epoch: unknown key: there is no 'epoch', did you mean 'epochs'?"),
        ({"sampling": {"temprature": 1.0}}, "recipes.spin.sampling.temprature: unknown key: there is no 'temprature', did you"),
        ({"training": {"lora": {"rnk": 8}}}, "recipes.spin.training.lora.rnk: unknown key: there is no 'rnk', did you mean"),
        ({"trainig": {}}, "recipes.spin.trainig: unknown key: there is no 'trainig', did you mean 'training'?"),
        ({"sampling": {"temperature": -1.0}}, "recipes.spin.sampling.temperature: Input should be greater than or equal to 0"),
        ({"training": {"learning_rate": "1e-7"}}, "recipes.spin.training.learning_rate: 1e-7 is text in YAML, not a number"),
        ({"training": {"losses": {"exo_pair": 1.0}}}, "recipes.spin.training, with the run's training: losses: exo_pair needs"),
        (
            {"training": {"global_batch": 30}},
            "recipes.spin.training, with the run's training: global_batch 30 is not a multiple",
        ),
    ],
)
def test_what_a_section_refuses_a_row_refuses_too_with_its_key(row, answer):
    assert answer in refusal(with_row(**row))


def test_a_key_of_a_row_takes_the_place_of_the_runs_whole():
    config = load(with_row(training={"losses": {"sigmoid": 1.0}, "epochs": 2}) | {"training": {"beta": 0.3}})
    assert config["training"]["losses"] == {"sigmoid": 1.0, "sft": 0.001}
    own = effective(config, "training", config["recipes"]["spin"])
    assert own == config["training"] | {"losses": {"sigmoid": 1.0}, "epochs": 2}
    assert effective(config, "sampling", config["recipes"]["spin"]) == config["sampling"]


def test_the_resolved_row_shows_what_is_in_effect_and_can_be_used_as_it_is():
    config = load(with_row(sampling={"temperature": 1.0}) | {"sampling": {"top_k": 20}})
    row = config["recipes"]["spin"]
    assert row["sampling"] == {"temperature": 1.0, "top_p": 0.9, "top_k": 20, "repetition_penalty": 1.0} | {
        key: config["sampling"][key] for key in row["sampling"].keys() - {"temperature", "top_p", "top_k", "repetition_penalty"}
    }
    assert row["training"] == {}, "as the run's"
    assert load(config) == config


@pytest.mark.parametrize(("section", "key", "value"), own_keys())
def test_a_key_of_a_row_reaches_the_stages_of_its_method_and_no_other(section, key, value):
    before, after = stages(run({})), stages(run({section: {key: value}}))
    changed = {place for place in before if before[place] != after[place]}
    assert {trained.split("/")[0] for _, trained in changed} == {"spin"}
    _, rules = (KEYS | WHOLE)[f"{section}.{key}"]
    assert {rule for rule, _ in changed} == rules & {rule for rule, _ in before}


def test_the_published_baselines_are_rows_of_the_shipped_configuration():
    config = load(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))
    spin, rewarding = config["recipes"]["spin-published"], config["recipes"]["self-rewarding"]
    assert (spin["replay"], spin["start"], effective(config, "training", spin)["epochs"]) == (1, "base", 2)
    sampled = effective(config, "sampling", spin)
    assert [sampled[key] for key in ("temperature", "top_p", "top_k", "repetition_penalty")] == [1.0, 1.0, 0, 1.0]
    assert (rewarding["self_ranking"]["votes"], rewarding["self_ranking"]["decoding"]["temperature"]) == (3, 0.7)
    assert config["recipes"]["drift"]["training"] == config["recipes"]["drift"]["sampling"] == {}


def test_a_vote_without_sampling_or_without_a_ranking_by_itself_is_refused():
    ranked = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "plain"]}

    def row(**values) -> dict:
        return minimal(methods=["mine"], recipes={"mine": ranked | values})

    assert "votes 3 without sampling are 3 times the same" in refusal(row(rank="self", self_ranking={"votes": 3}))
    votes = {"votes": 3, "decoding": {"temperature": 0.7}}
    assert "a judge has votes and decoding in its row" in refusal(row(rank="llama", self_ranking=votes))
    long = {"decoding": {"max_tokens": 4096}}
    assert "recipes.mine.self_ranking.decoding.max_tokens 4096 leaves no room" in refusal(row(rank="self", self_ranking=long))
    loaded = load(row(rank="self"))["recipes"]["mine"]["self_ranking"]
    assert (loaded["votes"], loaded["decoding"]["temperature"], loaded["decoding"]["max_tokens"]) == (1, 0.0, 256)
    assert json.dumps(load(load(row(rank="self")))) == json.dumps(load(row(rank="self")))
