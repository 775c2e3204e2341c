"""Names in the configuration: of rows, of plug-ins, of folders, and names that have changed."""

import datetime

import pytest
from pydantic import ValidationError

from drift.config import Section, kind_of, load
from drift.config.run import RENAMED_KEYS, section_of
from drift.layout import reserved
from tests.builders.configurations import minimal, refusal


class Plugged(Section):
    """A section with a key that names a plug-in."""

    kind: kind_of({"lexical": "drift.labelers.lexical", "rubric": "drift.labelers.rubric"})
    other: kind_of({"rubric": "drift.labelers.rubric"}) | None = None


def test_a_plugin_is_named_as_it_is_registered():
    assert Plugged(kind="rubric").kind == "rubric"
    with pytest.raises(ValidationError, match="there is no 'lexcal', did you mean 'lexical'"):
        Plugged(kind="lexcal")
    with pytest.raises(ValidationError, match="there is no 'x'; there are: rubric"):
        Plugged(kind="rubric", other="x")


def test_the_schema_enumerates_the_registered_plugins():
    fields = Plugged.model_json_schema()["properties"]
    assert fields["kind"]["enum"] == ["lexical", "rubric"]
    assert {"type": "string", "enum": ["rubric"]} in fields["other"]["anyOf"]


def test_a_method_without_a_row_is_refused_with_the_nearest_row():
    assert "did you mean 'drift'" in refusal(minimal(methods=["drfit"]))


def test_a_judge_or_labeler_without_a_row_is_refused():
    evaluation = minimal()["evaluation"] | {"judge": "lama"}
    assert "did you mean 'llama'" in refusal(minimal(evaluation=evaluation))
    data = minimal()["data"] | {"labeler": "lexcal"}
    assert "did you mean 'lexical'" in refusal(minimal(data=data))


def test_what_cannot_be_a_folder_is_refused_as_a_name_in_words():
    row = minimal()["data"]["labelers"]["lexical"]
    for changes, key in (
        ({"run": "a/b"}, "run"),
        ({"data": minimal()["data"] | {"labelers": {"a/b": row}}}, "data.labelers.a/b"),
    ):
        assert f"{key}: 'a/b' cannot be a name, which becomes a folder: take letters," in refusal(minimal(**changes))


@pytest.mark.parametrize("written", ["1.0e-5", "0.00001", "1"])
def test_a_number_that_is_text_but_written_well_is_told_where_it_came_from(written):
    answer = refusal(minimal(training={"learning_rate": written}))
    assert f"training.learning_rate: '{written}' is text, not a number" in answer
    assert "`--config`" in answer


@pytest.mark.parametrize(
    ("primary", "why"),
    [
        ({"metrics": {"heldot": "win_rate"}}, "primary.metrics: there is no 'heldot', did you mean 'heldout'?"),
        ({"metrics": {}}, "primary.metrics: name at least one benchmark"),
        ({"against": "drfit"}, "evaluation.primary.against: there is no 'drfit', did you mean 'drift'?"),
        ({"against": "drift"}, "drift is the only method; compare it with base"),
    ],
)
def test_primary_family_of_what_is_not_there_is_refused(primary, why):
    evaluation = minimal()["evaluation"] | {"primary": primary}
    assert why in refusal(minimal(evaluation=evaluation))


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ({"data": {"max_seed": 491}}, "data.max_seed", "max_corrections"),
        ({"data": {"test_seed_conversations": 5}}, "data.test_seed_conversations", "test_correction_conversations"),
        ({"data": {"filters": {"drop_pagers": True}}}, "data.filters.drop_pagers", "drop_continuations"),
    ],
)
def test_a_key_that_had_another_name_is_refused_with_the_new_one(section, old, new):
    values = minimal(data=minimal()["data"] | section["data"])
    assert f"{old}: this key is called '{new}' now" in refusal(values)


def test_the_seed_that_was_one_for_all_is_refused_with_the_two_that_there_are():
    message = refusal(minimal(seed=7))
    assert "seed: this key is two now: 'data.seed'" in message
    assert "write seeds: [42] and data: {seed: 42}" in message


def test_every_renamed_key_and_value_has_gone_and_its_new_name_is_known():
    for old, new in RENAMED_KEYS.items():
        section = section_of(*old.split(".")[:-1])
        assert old.rpartition(".")[2] not in section.model_fields
        assert new in section.model_fields


@pytest.mark.parametrize(("side", "old", "new"), [("chosen", "user", "logged"), ("prompts", "seed", "corrections")])
def test_a_value_that_had_another_name_is_refused_with_the_new_one(side, old, new):
    row = {"prompts": "corrections", "chosen": "logged", "rejected": "logged"} | {side: old}
    assert f"recipes.mine.{side}: '{old}' is called '{new}' now" in refusal(minimal(recipes={"mine": row}))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (2024, "2024 as a number"),
        (1e5, "100000.0 as a number"),
        (False, "no, off or false as a truth value"),
        (True, "yes, on or true as a truth value"),
        (datetime.date(2024, 11, 25), "2024-11-25 as a date"),
    ],
)
def test_a_name_that_yaml_reads_as_something_else_is_refused_with_the_cure(name, written):
    assert f"run: YAML reads {written}, not as text; put it in quotes" in refusal(minimal(run=name))
    assert f"YAML reads {written}, not as text; put it in quotes" in refusal(minimal(models={name: {"path": "/models/llama"}}))
    assert "put it in quotes" in refusal(minimal(methods=[name]))


@pytest.mark.parametrize(
    "name",
    [
        "data",
        "eval",
        "judges",
        "state",
        "logs",
        "timings",
        "preflight",
        "report.html",
        "catalog.duckdb",
        "config.resolved.yaml",
    ],
)
def test_a_model_named_like_a_folder_of_the_results_is_refused(name):
    message = refusal(minimal(models={name: {"path": "/models/llama"}}))
    assert f"'{name}'" in message
    assert "choose another name" in message


@pytest.mark.parametrize("name", ["base", "warmup", "prompts", "eval"])
def test_a_recipe_named_like_a_policy_or_folder_is_refused(name):
    row = minimal()["recipes"]["drift"]
    assert "choose another name" in refusal(minimal(recipes={"drift": row, name: row}))


def test_of_the_names_of_rows_only_those_of_folders_next_to_theirs_are_reserved():
    assert reserved("policy") == {"prompts", "eval", "exploration", "base"}
    assert reserved("benchmark") == {"heldout-pairs"}
    assert reserved("judge") == reserved("labeler") == set()


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "has space", "$(reboot)"])
def test_names_that_are_no_folder_names_are_refused(name):
    assert "run" in refusal(minimal(run=name))
    assert "models" in refusal(minimal(models={name: {"path": "/models/llama"}}))


def test_a_benchmark_named_like_the_heldout_corrections_and_a_method_twice_are_refused():
    evaluation = minimal()["evaluation"] | {"benchmarks": {"heldout-pairs": {"kind": "heldout"}}}
    assert "heldout-pairs" in refusal(minimal(evaluation=evaluation))
    assert "listed twice" in refusal(minimal(methods=[*load(minimal())["methods"]] * 2))
