"""A configuration that cannot be used is refused before anything runs, with the key and what to
write."""

import json
import re
import typing

import pytest
import yaml
from pydantic import BaseModel

from drift.config import Config, load
from tests.builders.configurations import minimal, refusal
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("section", "typo", "meant"),
    [
        ("training", "learning_rte", "learning_rate"),
        ("sampling", "temprature", "temperature"),
        ("data", "max_dsats", "max_dsat"),
        ("engine", "backnd", "backend"),
    ],
)
def test_a_typo_names_its_section_and_the_nearest_key(section, typo, meant):
    values = minimal()
    values[section] = values.get(section, {}) | {typo: 1}
    (line,) = [line for line in refusal(values).splitlines() if typo in line]
    assert line.strip().startswith(f"- {section}")
    assert f"did you mean '{meant}'" in line


def test_a_typo_at_the_top_or_in_a_row_is_found():
    assert "did you mean 'iterations'" in refusal(minimal(iteratons=3))
    message = refusal(minimal(models={"llama": {"pth": "/models/llama"}}))
    assert "models.llama" in message
    assert "did you mean 'path'" in message


def test_a_key_like_no_other_is_answered_with_what_is_known():
    message = refusal(minimal(prompting={"zzz": 1}))
    assert "there is no 'zzz'" in message
    assert "instruction" in message


def test_a_number_that_yaml_takes_for_text_says_what_to_write():
    training = yaml.safe_load("learning_rate: 5e-7")
    assert training == {"learning_rate": "5e-7"}, "YAML 1.1 reads this as text"
    message = refusal(minimal(training=training))
    assert "training.learning_rate" in message
    written = message.rsplit("write ", 1)[1]
    assert yaml.safe_load(written) == 5e-7


def test_text_is_not_taken_for_a_number_nor_a_number_for_a_switch():
    assert "iterations" in refusal(minimal(iterations="2"))
    assert "training.gradient_checkpointing" in refusal(minimal(training={"gradient_checkpointing": 1}))


def test_defaults_are_the_papers_and_are_filled_in():
    values = load(minimal())
    assert values["methods"] == ["drift"]
    assert values["training"]["learning_rate"] == 5e-7
    assert values["training"]["losses"] == {"sigmoid": 1.0, "sft": 0.001}
    assert values["sampling"]["temperature"] == 0.7
    assert values["evaluation"]["benchmarks"]["heldout"]["decoding"]["temperature"] == 0.0
    assert load(values) == values, "a resolved configuration can be used as it is"


def test_what_is_given_is_kept():
    values = load(minimal(seeds=[7], training={"beta": 0.2}))
    assert values["seeds"] == [7]
    assert values["training"]["beta"] == 0.2
    assert values["training"]["epochs"] == 1


def test_seeds_are_a_set_of_their_own_next_to_that_of_the_data():
    values = load(minimal())
    assert (values["seeds"], values["data"]["seed"]) == ([42], 42)
    assert load(minimal(seeds=[3, 1, 2])) == load(minimal(seeds=[1, 2, 3])), "their order means nothing"


@pytest.mark.parametrize(
    ("seeds", "cause"),
    [
        ([1, 2, 1], "1 is listed twice"),
        ([0], "0 is not a seed"),
        ([-1], "-1 is not a seed"),
        ([1.0], "1.0 is not a seed"),
        (["1"], "'1' is not a seed"),
        ([True], "True is not a seed"),
        ([2**31], "2147483648 is not a seed"),
        (42, "42 is not a list of seeds"),
        ([], "is not a list of seeds"),
    ],
)
def test_seeds_that_make_no_policies_of_their_own_are_refused(seeds, cause):
    message = refusal(minimal(seeds=seeds))
    assert f"seeds: {cause}" in message or f"seeds: {seeds} {cause}" in message
    assert "as in seeds: [42] or seeds: [1, 2, 3]" in message


def test_several_faults_are_all_listed():
    values = minimal(training={"learning_rte": 1.0}, sampling={"temperature": -1.0}, iterations=0)
    del values["run"]
    message = refusal(values)
    for key in ("learning_rte", "sampling.temperature", "iterations", "run"):
        assert any(key in line for line in message.splitlines() if line.startswith("  - ")), key


def test_the_schema_for_editors_is_up_to_date():
    schema = json.loads((REPOSITORY / "config.schema.json").read_text())
    assert schema == Config.model_json_schema(), "run: make schema"


@pytest.mark.parametrize(
    "file",
    [
        "config.yaml",
        "demo/run.yaml",
        "examples/sharegpt.yaml",
        "examples/logs.yaml",
        "examples/study.yaml",
        "examples/loop.yaml",
        "examples/pairs.yaml",
        "examples/noise.yaml",
    ],
)
def test_the_shipped_configurations_can_be_used(file):
    values = yaml.safe_load((REPOSITORY / file).read_text())
    loaded = load(values)
    assert loaded["run"] == values["run"]
    assert set(loaded["methods"]) <= set(loaded["recipes"])


def unlisted(model: type[BaseModel], values: dict, path: str = "") -> list[str]:
    """Paths of the keys of `model` that `values` do not have; of a table's rows, those that no row
    has."""
    missing = []
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        if name not in values:
            missing.append(here)
            continue
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if section is None or values[name] is None:
            continue
        is_table = typing.get_origin(field.annotation) is dict
        rows = values[name].values() if is_table else [values[name]]
        of_rows = [set(unlisted(section, row, f"{here}.")) for row in rows]
        missing += sorted(set.intersection(*of_rows)) if of_rows else []
    return missing


def test_the_shipped_configuration_lists_every_knob():
    text = (REPOSITORY / "config.yaml").read_text()
    keys = {path.rpartition(".")[2] for path in unlisted(Config, yaml.safe_load(text))}
    commented = {key for key in keys if re.search(rf"^ *#.*\b{key}: ", text, re.MULTILINE)}
    assert keys == commented, "a key that is not set has a commented line"


def test_a_knob_that_is_not_listed_would_be_noticed():
    values = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    del values["sampling"]["top_k"]
    del values["evaluation"]["benchmarks"]["heldout"]["decoding"]["top_p"]
    assert {"sampling.top_k", "evaluation.benchmarks.decoding.top_p"} <= set(unlisted(Config, values))


def test_a_typo_and_a_number_written_as_text_are_listed_together_with_their_keys():
    message = refusal(minimal(training={"learning_rte": 1.0, "losses": {"sft": "1e-3"}, "beta": "1.25e6"}))
    assert "training.learning_rte: unknown key: there is no 'learning_rte', did you mean 'learning_rate'?" in message
    assert "write 1.0e-3" in message
    assert "write 1.25e+6" in message


def test_the_few_lines_of_the_readme_make_a_run():
    readme = (REPOSITORY / "README.md").read_text()
    (lines,) = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "run: mine" in block]
    config = load(yaml.safe_load(lines))
    assert config["methods"] == ["drift"]
    assert set(config["recipes"]) == {"drift", "drift-unguided", "spin"}
    assert config["data"]["labeler"] in config["data"]["labelers"]
    assert set(config["evaluation"]["benchmarks"]) == {"heldout"}


@pytest.mark.parametrize("path", ["${HOME}/model", "/models/{}", "/models/{name}"])
def test_braces_in_a_path_are_refused_with_its_key(path):
    assert f"models.llama.path: '{path}': braces" in refusal(minimal(models={"llama": {"path": path}}))
    benchmarks = {"wild": {"kind": "wildbench", "path": "a.jsonl", "references": {"gpt": path}}}
    evaluation = minimal()["evaluation"] | {"benchmarks": benchmarks}
    assert "evaluation.benchmarks.wild.references" in refusal(minimal(evaluation=evaluation))
    assert load(minimal(models={"llama": {"path": "/models/$a b"}})), "other odd characters are no fault"
