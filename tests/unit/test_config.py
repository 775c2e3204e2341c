"""A configuration that cannot be used is refused before anything runs, with the key and what to write."""

import json
import re
import typing

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from drift.config import Config, ConfigError, Section, kind_of, load
from tests.conftest import REPOSITORY

MINIMAL = """
run: small
models: {llama: {path: /models/llama}}
recipes:
  drift: {prompts: dsat, chosen: guided, rejected: logged}
data:
  sources: {chats: {kind: logs, path: /logs.jsonl}}
  labelers: {lexical: {kind: lexical}}
  labeler: lexical
evaluation:
  benchmarks: {heldout: {kind: heldout}}
  judge: llama
  judges: {llama: {path: /models/llama}}
"""


def minimal(**sections) -> dict:
    """A configuration with what has no default, and `sections` set."""
    return yaml.safe_load(MINIMAL) | sections


def refusal(values: dict) -> str:
    """The message with which `values` are refused."""
    with pytest.raises(ConfigError) as error:
        load(values)
    return str(error.value)


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


@pytest.mark.parametrize(
    ("prompts", "chosen", "rejected", "why"),
    [
        ("sat", "plain", "logged", "sat has no logged reply that is rejected"),
        ("dsat", "logged", "plain", "dsat has no logged reply that is chosen"),
        ("dsat", "plain", "plain", "carry no preference"),
        ("sat", "logged", "guided", "use plain"),
    ],
)
def test_a_recipe_whose_sides_do_not_exist_or_differ_is_refused(prompts, chosen, rejected, why):
    message = refusal(minimal(methods=["mine"], recipes={"mine": {"prompts": prompts, "chosen": chosen, "rejected": rejected}}))
    assert "recipes.mine" in message
    assert why in message


def test_seed_corrections_may_be_logged_on_both_sides():
    row = {"prompts": "corrections", "chosen": "logged", "rejected": "logged"}
    assert load(minimal(methods=["mine"], recipes={"mine": row}))["recipes"]["mine"]["start"] == "warmup"


def test_a_global_batch_that_devices_cannot_share_is_refused():
    assert "global_batch 30 is not a multiple of device_batch 4" in refusal(
        minimal(training={"global_batch": 30, "device_batch": 4})
    )


@pytest.mark.parametrize("name", ["data", "eval", "judges"])
def test_a_model_named_like_a_folder_of_the_results_is_refused(name):
    message = refusal(minimal(models={name: {"path": "/models/llama"}}))
    assert f"'{name}'" in message
    assert "choose another name" in message


@pytest.mark.parametrize("name", ["base", "warmup", "prompts", "eval"])
def test_a_recipe_named_like_a_policy_or_folder_is_refused(name):
    row = minimal()["recipes"]["drift"]
    assert "choose another name" in refusal(minimal(recipes={"drift": row, name: row}))


@pytest.mark.parametrize("name", ["a/b", "../up", ".hidden", "has space", "$(reboot)"])
def test_names_that_are_no_folder_names_are_refused(name):
    assert "run" in refusal(minimal(run=name))
    assert "models" in refusal(minimal(models={name: {"path": "/models/llama"}}))


ENDPOINT = {"url": "https://api.example.org/v1", "model": "judge-1"}


@pytest.mark.parametrize("row", [{}, {"path": "/models/judge", "endpoint": ENDPOINT}], ids=["neither", "both"])
def test_a_judge_runs_here_or_is_behind_an_endpoint(row):
    message = refusal(minimal(evaluation={"judge": "j", "judges": {"j": row}}))
    assert "evaluation.judges.j" in message
    assert "give either path" in message


def test_an_endpoint_says_what_it_does_not_know():
    row = {"endpoint": ENDPOINT | {"concurency": 8}}
    message = refusal(minimal(evaluation={"judge": "j", "judges": {"j": row}}))
    assert "evaluation.judges.j.endpoint.concurency: unknown key" in message
    assert "did you mean 'concurrency'?" in message


def test_defaults_are_the_papers_and_are_filled_in():
    values = load(minimal())
    assert values["methods"] == ["drift"]
    assert values["training"]["learning_rate"] == 5e-7
    assert values["training"]["losses"] == {"sigmoid": 1.0, "sft": 0.001}
    assert values["sampling"]["temperature"] == 0.7
    assert values["evaluation"]["benchmarks"]["heldout"]["decoding"]["temperature"] == 0.0
    assert load(values) == values, "a resolved configuration can be used as it is"


def test_what_is_given_is_kept():
    values = load(minimal(seed=7, training={"beta": 0.2}))
    assert values["seed"] == 7
    assert values["training"]["beta"] == 0.2
    assert values["training"]["epochs"] == 1


def test_several_faults_are_all_listed():
    values = minimal(training={"learning_rte": 1.0}, sampling={"temperature": -1.0}, iterations=0)
    del values["run"]
    message = refusal(values)
    for key in ("learning_rte", "sampling.temperature", "iterations", "run"):
        assert any(key in line for line in message.splitlines() if line.startswith("  - ")), key


def test_the_schema_for_editors_is_up_to_date():
    schema = json.loads((REPOSITORY / "config.schema.json").read_text())
    assert schema == Config.model_json_schema(), "run: python scripts/drift/config.py > config.schema.json"


@pytest.mark.parametrize("file", ["config.yaml", "demo/run.yaml"])
def test_the_shipped_configurations_can_be_used(file):
    values = yaml.safe_load((REPOSITORY / file).read_text())
    loaded = load(values)
    assert loaded["run"] == values["run"]
    assert set(loaded["methods"]) <= set(loaded["recipes"])


def unlisted(model: type[BaseModel], values: dict, path: str = "") -> list[str]:
    """Paths of the keys of `model` that `values` do not have; of a table's rows, those that no row has."""
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


def test_a_benchmark_stays_greedy_where_only_its_length_is_given():
    evaluation = minimal()["evaluation"] | {"benchmarks": {"heldout": {"kind": "heldout", "decoding": {"max_tokens": 100}}}}
    decoding = load(minimal(evaluation=evaluation))["evaluation"]["benchmarks"]["heldout"]["decoding"]
    assert (decoding["temperature"], decoding["top_p"], decoding["max_tokens"]) == (0.0, 1.0, 100)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"sampling": {"max_tokens": 512, "context": 512}}, "sampling.max_tokens 512"),
        ({"training": {"max_length": 400}}, "training.max_length 400"),
        ({"sampling": {"context": 1024}}, "decoding.max_tokens 2048"),
    ],
)
def test_lengths_that_leave_no_room_for_a_prompt_are_refused(sections, key):
    assert key in refusal(minimal(**sections))


@pytest.mark.parametrize("training", [{"losses": {"sigmiod": 1.0}}, {"schedule": "liner"}, {"optimizer": "rmspro"}])
def test_a_mistyped_name_of_the_trainers_is_refused_before_a_gpu_is_asked_for(training):
    (key,) = training
    assert f"training.{key}" in refusal(minimal(training=training))


def test_a_typo_and_a_number_written_as_text_are_listed_together_with_their_keys():
    message = refusal(minimal(training={"learning_rte": 1.0, "losses": {"sft": "1e-3"}, "beta": "1.25e6"}))
    assert "training.learning_rte: unknown key: there is no 'learning_rte', did you mean 'learning_rate'?" in message
    assert "write 1.0e-3" in message
    assert "write 1.25e+6" in message


def test_a_benchmark_named_like_the_heldout_corrections_and_a_method_twice_are_refused():
    evaluation = minimal()["evaluation"] | {"benchmarks": {"heldout-pairs": {"kind": "heldout"}}}
    assert "heldout-pairs" in refusal(minimal(evaluation=evaluation))
    assert "listed twice" in refusal(minimal(methods=[*load(minimal())["methods"]] * 2))


def test_the_few_lines_of_the_readme_make_a_run():
    readme = (REPOSITORY / "README.md").read_text()
    (lines,) = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "run: mine" in block]
    config = load(yaml.safe_load(lines))
    assert config["methods"] == ["drift"]
    assert set(config["recipes"]) == {"drift", "drift-unguided", "spin"}
    assert config["data"]["labeler"] in config["data"]["labelers"]
    assert set(config["evaluation"]["benchmarks"]) == {"heldout"}


def evaluated(benchmark: dict, **changes) -> dict:
    """A configuration with one benchmark, and an evaluation that is changed."""
    judges = {"here": {"path": "m"}, "there": {"endpoint": {"url": "http://x/v1", "model": "y"}}}
    return minimal(evaluation={"benchmarks": {"b": benchmark}, "judge": "here", "judges": judges} | changes)


@pytest.mark.parametrize(
    ("benchmark", "answer"),
    [
        ({"kind": "wildbench"}, "path: where are the tasks?"),
        ({"kind": "heldout", "path": "x"}, "kind heldout takes no path; remove it, or use kind wildbench or alpacaeval or"),
        ({"kind": "heldout", "references": {"gpt": "x"}}, "kind heldout takes no references; remove it, or use kind wildbench"),
        ({"kind": "prompts", "path": "x", "gamed": "y"}, "kind prompts takes no gamed; remove it, or use kind alpacaeval"),
        ({"kind": "prompts", "path": "x", "references": {"baseline": "y"}}, "choose another name"),
        ({"kind": "prompts", "path": "x", "samples": 3}, "samples 3 at temperature 0 are 3 times the same"),
        ({"kind": "prompts", "path": "x", "judge": "her"}, "there is no 'her', did you mean 'here'?"),
        ({"kind": "prompts", "path": "x", "judge": ["there", "where"]}, "there is no 'where'"),
        (
            {"kind": "prompts", "path": "x", "context": 64},
            "max_tokens 2048 leaves no room for a prompt in evaluation.benchmarks.b.context",
        ),
        ({"kind": "alpaca", "path": "x"}, "alpacaeval"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused_with_the_cure(benchmark, answer):
    assert answer in refusal(evaluated(benchmark))


def test_a_benchmark_may_have_judges_and_a_context_of_its_own():
    row = {"kind": "wildbench", "path": "x", "judge": ["here", "there"], "context": 16384, "decoding": {"max_tokens": 4096}}
    loaded = load(evaluated(row))["evaluation"]
    assert loaded["benchmarks"]["b"]["judge"] == ["here", "there"]
    assert loaded["judges"]["there"]["decoding"]["max_tokens"] == 1024


def test_votes_without_sampling_are_refused_where_they_would_all_be_the_same():
    votes = {"here": {"path": "m", "votes": 3}}
    assert "votes 3 without sampling" in refusal(evaluated({"kind": "heldout"}, judges=votes))
    votes["here"]["decoding"] = {"temperature": 0.7}
    load(evaluated({"kind": "heldout"}, judges=votes))


@pytest.mark.parametrize(
    ("training", "answer"),
    [
        ({"losses": {"sft": 1.0}}, "sft alone has no use for rejected replies"),
        ({"losses": {"robust": 1.0}}, "robust needs label_smoothing above 0"),
        ({"losses": {"exo_pair": 1.0}}, "exo_pair needs label_smoothing above 0"),
        ({"label_smoothing": 0.1}, "label_smoothing has no effect on sigmoid, sft"),
        ({"losses": {"aot": 1.0}, "device_batch": 1}, "device_batch must be at least 2"),
        ({"processes": 2}, "launcher: single is one process, not 2"),
        ({"launcher": "ddp", "processes": 3}, "global_batch 32 is not a multiple of device_batch 4 x 3 devices"),
        ({"launcher": "fsdp2", "lora": {}}, "fsdp2 with lora: adapters need no sharding"),
        ({"lora": {"rnk": 8}}, "training.lora.rnk: unknown key: there is no 'rnk', did you mean 'rank'?"),
    ],
)
def test_what_a_training_lacks_is_said_before_a_gpu_is_asked_for(training, answer):
    assert answer in refusal(minimal(training=training))


@pytest.mark.parametrize(
    "training",
    [
        {"losses": {"robust": 1.0}, "label_smoothing": 0.1},
        {"losses": {"sppo_hard": 1.0}},
        {"lora": {"rank": 8, "targets": ["q_proj", "v_proj"]}, "launcher": "ddp"},
        {"launcher": "zero3", "processes": 8},
    ],
)
def test_losses_adapters_and_launchers_are_taken_by_name(training):
    loaded = load(minimal(training=training))["training"]
    assert loaded["losses"] == training.get("losses", {"sigmoid": 1.0, "sft": 0.001})
    assert (loaded["lora"] or {}).get("rank") == training.get("lora", {}).get("rank")


RANKED = {"prompts": "dsat", "chosen": "best", "rejected": "worst", "candidates": ["plain", "plain"], "rank": "self"}


@pytest.mark.parametrize("rank", ["self", "llama", "deberta"])
def test_candidates_are_ranked_by_the_policy_a_judge_or_a_reward_model(rank):
    models = {"deberta": {"path": "/models/deberta"}}
    load(minimal(recipes={"ranked": RANKED | {"rank": rank}}, methods=["ranked"], reward_models=models))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": None}, "who scores the candidates?"),
        ({"rank": "lama"}, "there is no 'lama', did you mean 'llama'?"),
        ({"candidates": ["plain"]}, "a ranking needs two or more"),
        ({"chosen": "worst", "rejected": "best"}, "not the other way iteration"),
        ({"rejected": "plain"}, "the other side is logged, or the other end of the ranking"),
        ({"chosen": "guided", "rejected": "logged"}, "candidates and rank belong to chosen: best"),
        ({"prompts": "sat", "candidates": ["plain", "guided"]}, "candidates: guided shows the reply that disappointed"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused(changes, said):
    assert said in refusal(minimal(recipes={"ranked": RANKED | changes}, methods=["ranked"]))


def test_a_judge_of_pairs_cannot_rank():
    values = minimal(recipes={"ranked": RANKED | {"rank": "llama"}}, methods=["ranked"])
    values["evaluation"]["judges"]["llama"]["verdict"] = "letter"
    assert "candidates need scores" in refusal(values)
