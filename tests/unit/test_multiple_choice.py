"""Multiple choice: the likeliest of the offered letters counts, read off a real engine."""

import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

import policy_requests
import prompts
import responses
import tasks
from drift import benchmarks, tables
from drift.chat import load_tokenizer
from drift.cli import StageError
from drift.config import ConfigError, load
from drift.engines.transformers import TransformersEngine
from drift.layout import paths
from drift.settings.sampling import GenerationSettings, RequestsSettings
from drift.settings.training import PromptsSettings
from drift.workflow.behaviour import Behaviour
from drift.workflow.iterations import Iterations
from drift.workflow.judges import Benchmarks
from tests.builders import benchmarks as benchmark
from tests.conftest import tiny_config

KIND = "multiple-choice"
OWLS = {"question": "What do owls eat?", "choices": ["mice", "hay", "glass"], "answer": 0, "subject": "birds"}
SEAS = {"question": "Which sea is salty?", "choices": ["none", "all"], "answer": 1, "subject": "seas"}


def answer(task: dict, first: str, **logprobs: float) -> dict:
    """An answer whose likeliest first token is `first`; letters that are not given are unlikely."""
    letters = dict.fromkeys(benchmarks.choices(KIND), -20.0) | logprobs
    named = [{"choice": letter, "logprob": logprob} for letter, logprob in letters.items()]
    row = {"prompt_id": task["prompt_id"], "sample": 0, "response": first, "choice_logprobs": named}
    return row | {"finish_reason": "length", "completion_tokens": 1}


def test_the_likeliest_of_the_offered_letters_counts_whatever_is_likelier_still(tmp_path):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS, SEAS)
    by_question = {task["prompt"][0]["content"].split("\n")[0]: task for task in found.to_dicts()}
    owls, seas = by_question[OWLS["question"]], by_question[SEAS["question"]]
    # J is no choice of the first question, and "The" no letter; the second one is answered wrongly.
    rows = [answer(owls, "The", A=-2.0, B=-3.0, J=-1.0), answer(seas, "A", A=-0.1, B=-4.0)]
    checks = benchmark.checked(KIND, found, pl.DataFrame(rows, schema=tables.Responses.create_empty().schema))
    assert dict(checks.filter(prompt_id=owls["prompt_id"]).select("check", "passed").rows()) == {
        "right": True,
        "letter first": False,
    }
    statistics = benchmarks.checked_statistics(KIND, checks, None, found)
    assert {name: one.value() for name, one in statistics.items()} == {
        "accuracy": 0.5,
        "letter_first": 0.5,
        "accuracy:birds": 1,
        "accuracy:seas": 0,
    }


def test_the_letters_are_read_off_the_policy(tmp_path, tiny_model):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS, SEAS)
    tokenizer = load_tokenizer(tiny_model)
    rows = [
        prompts.fit(row, tokenizer, PromptsSettings(lineage="x", context=512, max_tokens=1))
        for row in prompts.as_prompts(found).to_dicts()
    ]
    asked = policy_requests.build(
        pl.DataFrame(rows, schema=tables.Prompts.create_empty().schema),
        tokenizer,
        RequestsSettings(seed=1, unit="eval/letters", split="test", samples={"plain": 1}),
    )
    settings = GenerationSettings(
        backend="transformers",
        context=512,
        decoding=None,
        choices=benchmarks.choices(KIND),
        json_schema=None,
        endpoint=None,
    )
    completions = TransformersEngine(tiny_model, settings).generate(asked.to_dicts())
    table = pl.DataFrame([{"policy_hash": "x"} | row for row in completions], schema=tables.Completions.create_empty().schema)
    answers = tables.Responses.validate(responses.collect(asked, table), cast=True)
    assert all(len(each) == len(benchmarks.choices(KIND)) for each in answers["choice_logprobs"])
    assert benchmark.checked(KIND, found, answers).height == 4


def test_examples_are_of_the_subject_of_the_task(tmp_path):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS)
    solved = benchmark.task_file(tmp_path / "dev.jsonl", SEAS, OWLS | {"question": "What do doves eat?", "answer": 1})
    (task,) = tasks.with_examples(found, solved, benchmarks.load(KIND), 1).to_dicts()
    assert [message["content"].split("\n")[0] for message in task["examples"]] == ["What do doves eat?", "B"]
    with pytest.raises(StageError, match=r"1 solved examples of birds for 2 shots"):
        tasks.with_examples(found, solved, benchmarks.load(KIND), 2)


def test_files_of_the_hub_are_read_and_a_row_that_is_there_twice_counts_once(tmp_path):
    pl.DataFrame([OWLS, SEAS, OWLS]).write_parquet(tmp_path / "test-00000-of-00001.parquet")
    assert tasks.collect(benchmarks.load(KIND), tmp_path).height == 2


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"answer": 3}, "answer is not the number of one of the 3 choices, from 0: 3"),
        ({"answer": "A"}, "answer is not the number of one of the 3 choices, from 0: 'A'"),
        ({"choices": ["mice"]}, "choices: 1 of them, and there must be 2 to 10"),
        ({"choices": "mice"}, "choices is not a list of texts"),
        ({"choices": [1, 2, 3]}, "an item of choices is not a string"),
        ({"question": None}, "question is not a string"),
        ({"subject": 3}, "subject is not a string"),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_its_place(tmp_path, changes, fault):
    with pytest.raises(StageError, match=rf"test\.jsonl, record 2: {fault}"):
        benchmark.collected(KIND, tmp_path / "test.jsonl", SEAS, OWLS | changes)


def configured(folder: Path, letters: dict | None = None, **changes) -> dict:
    """A configuration whose first benchmark is of this kind."""
    config = tiny_config(folder / "model", folder / "logs.jsonl") | changes
    row = {"kind": KIND, "path": "test.jsonl"} | (letters or {})
    config["evaluation"]["benchmarks"] = {"letters": row} | config["evaluation"]["benchmarks"]
    return config


def test_a_policy_is_asked_for_a_letter_and_needs_room_for_no_more(tmp_path):
    config = load(configured(tmp_path))
    asked = Benchmarks(config, paths("results/x"))
    letters = SimpleNamespace(benchmark="letters", model="tiny")
    assert asked.asked(letters) == {"context": config["sampling"]["context"], "choices": tuple("ABCDEFGHIJ")}
    assert json.loads(asked.prompts_settings(letters))["max_tokens"] == 1


def test_how_a_policy_writes_is_told_by_answers_in_words(tmp_path):
    config = load(configured(tmp_path))
    where = paths("results/x")
    assert Behaviour(config, where, Iterations(config, where)).benchmark == "heldout"
    training = {"behaviour": {"benchmark": "letters"}}
    with pytest.raises(ConfigError, match=r"training\.behaviour compares answers in words"):
        load(configured(tmp_path, training=tiny_config(tmp_path, tmp_path)["training"] | training))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"judge": "tiny"}, "reads a letter off instead of an answer in words: remove judge and samples"),
        ({"samples": 2, "decoding": {"temperature": 1.0}}, "reads a letter off"),
        ({"shots": 5}, "give both examples .* and shots"),
        ({"examples": "dev.jsonl"}, "give both examples .* and shots"),
        ({"baseline": "x.jsonl"}, "takes no baseline"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(tmp_path, row, fault):
    with pytest.raises(ConfigError, match=fault):
        load(configured(tmp_path, row))
