"""What the rules of the data are told: files, settings, and the plug-ins whose code counts."""

import json
from types import SimpleNamespace

import pytest

from drift import layout, plugins
from drift.config import Data
from drift.workflow.data import Labelers, LabelFiles, Sources, named, plugin_files

PATHS = layout.paths("results/run")
# The wildcards of a job of the data of the start.
START = SimpleNamespace()
ENDPOINT = {"url": "http://localhost:1/v1", "model": "m"}


def config(**data) -> dict:
    """A configuration with this section `data`, as rules have it."""
    sources = {"logs": {"kind": "logs", "path": "logs.jsonl"}}
    return {"data": Data.model_validate({"seed": 3, "sources": sources} | data).model_dump()}


def located(address: str) -> str:
    return f"here/{address}"


def labelers(**rows: dict) -> Labelers:
    return Labelers(config(labelers={"lexical": {"kind": "lexical"}} | rows), PATHS)


def about(labeler: str) -> SimpleNamespace:
    """The wildcards of a rule."""
    return SimpleNamespace(labeler=labeler)


def test_a_source_is_told_by_its_kind_and_what_it_annotates_by_its_name():
    annotated = {"kind": "wildfeedback", "path": "notes.json", "conversations": "wildchat", "mask": True}
    sources = Sources(config(sources={"logs": {"kind": "logs", "path": "a.jsonl"}, "wf": annotated}), PATHS, located)
    assert named(sources.paths(START)) == ["logs=here/a.jsonl", "wf=here/notes.json"]
    assert named(sources.conversations(START)) == ["wf=here/wildchat"]
    assert [path.name for path in sources.modules(START)] == ["logs.py", "wildfeedback.py"]
    kinds = {"logs": {"kind": "logs", "mask": False}, "wf": {"kind": "wildfeedback", "mask": True}}
    assert json.loads(sources.settings(START)) == {
        "sources": {name: row | {"columns": None, "from_iteration": 1} for name, row in kinds.items()}
    }


def test_the_path_of_a_source_is_not_among_its_settings():
    one, other = (Sources(config(sources={"s": {"kind": "logs", "path": path}}), PATHS, located) for path in "ab")
    assert one.settings(START) == other.settings(START)
    assert one.paths(START) != other.paths(START)


def test_what_simulated_users_said_is_read_where_the_run_keeps_it():
    users = {"kind": "simulated", "path": "wishes.jsonl", "simulation": {"path": "hf:x/y@z"}}
    sources = Sources(config(sources={"users": users}), PATHS, located)
    assert sources.paths(START) == {"users": "results/run/data/simulated/users/conversations.jsonl"}
    assert [path.name for path in sources.modules(START)] == ["simulated.py"]


def test_labelers_that_ask_a_model_have_requests_and_completions_by_shard():
    asking = labelers(near={"kind": "rubric", "path": "p", "shards": 2}, far={"kind": "rubric", "endpoint": ENDPOINT})
    folder = "results/run/data/labelers"
    assert asking.requests(START) == {name: f"{folder}/{name}/requests.parquet" for name in ("near", "far")}
    assert named(asking.completions(START)) == [
        f"near={folder}/near/completions/1-of-2.parquet",
        f"near={folder}/near/completions/2-of-2.parquet",
        f"far={folder}/far/completions/1-of-1.parquet",
    ]
    assert asking.modules == ["drift/labelers/lexical.py", "drift/labelers/rubric.py"]
    assert labelers().requests(START) == {}


def test_a_classifier_has_probabilities_by_shard_and_is_told_the_names_of_classes_alone():
    row = {"kind": "classifier", "path": "hf:x/y@z", "classes": {"sad": "DSAT", "glad": "SAT"}, "shards": 2}
    classifying = labelers(mood=row)
    folder = "results/run/data/labelers/mood/classes"
    assert named(classifying.probabilities(START)) == [f"mood={folder}/{i}-of-2.parquet" for i in (1, 2)]
    assert classifying.requests(START) == {}
    settings = json.loads(classifying.classification(about("mood")))
    assert settings == {"path": "hf:x/y@z", "classes": ["glad", "sad"], "reads": ["feedback"], "context": 4096}
    assert json.loads(classifying.settings)["labelers"]["mood"]["classes"] == row["classes"]


def test_what_a_labeler_asks_depends_on_its_row_and_on_the_languages():
    asking = labelers(near={"kind": "rubric", "path": "p", "max_replies": 9}, far={"kind": "rubric", "endpoint": ENDPOINT})
    questions = json.loads(asking.questions(about("near")))
    assert questions == {
        "labeler": "near",
        "context": 4096,
        "max_tokens": 256,
        "max_replies": 9,
        "languages": None,
        "seed": 3,
    }
    assert asking.asked(about("near"))["schema"]["required"] == ["category", "quote", "rightly_declined"]


def test_label_files_are_compared_with_all_labelers():
    files = {
        "people": {"path": "p.jsonl", "source": "logs", "strata": "s.jsonl"},
        "model": {"path": "m.jsonl", "source": "logs"},
    }
    label_files = LabelFiles(config(label_files=files))
    assert label_files.files == ["p.jsonl", "m.jsonl", "s.jsonl"]
    assert named(label_files.strata) == ["people=s.jsonl"]
    settings = json.loads(label_files.settings)
    assert settings == {
        "labelers": ["lexical"],
        "files": {"people": {"source": "logs"}, "model": {"source": "logs"}},
        "seed": 3,
    }


@pytest.mark.parametrize("registry", [plugins.SOURCES, plugins.LABELERS], ids=["sources", "labelers"])
def test_every_kind_is_a_file_of_its_own_with_what_the_contract_asks_for(registry):
    files = plugin_files(registry, registry)
    assert len(set(files)) == len(registry)
    wanted = ("SUFFIXES", "UNIT", "DROPS", "CONVERSATION_DROPS", "read") if registry is plugins.SOURCES else ("DROPS", "label")
    for kind, file in zip(sorted(registry), files, strict=True):
        assert (plugins.SCRIPTS / file).is_file()
        assert all(hasattr(plugins.load(registry, kind), name) for name in wanted), kind
