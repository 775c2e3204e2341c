"""GSM8K by lm-eval's scoring, with and without solved examples."""

import json

import polars as pl
import pytest

import prompts
import tasks
from drift import benchmarks, tables
from drift.cli import StageError
from drift.settings.training import PromptsSettings
from tests.builders import benchmarks as benchmark
from tests.conftest import REPOSITORY

GOLDEN = REPOSITORY.parent / "shared/golden/gsm8k/test.jsonl"
needs_golden = pytest.mark.skipif(not GOLDEN.is_file(), reason="the published problems are not on this machine")
KIND = "gsm8k"
OWLS = {"question": "Two owls catch 3 mice each. How many mice?", "answer": "They catch 2 * 3 = <<2*3=6>>6 mice.\n#### 6"}
MICE = {"question": "A barn has 1,200 mice. 200 leave. How many stay?", "answer": "1200 - 200 = 1000\n#### 1,000"}


def checked(found: pl.DataFrame, *answers: str) -> dict[str, dict[str, bool]]:
    """How each answer, to the tasks in their order, is scored: by task and name of the check."""
    checks = benchmark.checked(KIND, found, benchmark.answers(zip(found["prompt_id"], answers, strict=True)))
    return {name: dict(checks.filter(prompt_id=name).select("check", "passed").rows()) for name in found["prompt_id"]}


@pytest.mark.parametrize(
    ("answer", "strict", "flexible"),
    [
        ("2 * 3 = 6 mice.\n#### 6", True, True),
        ("Each catches 3, so it is **6**.", False, True),
        ("It is \\boxed{6}.", False, True),
        ("It is $6.", False, True),
        ("Six.", False, False),
        ("6, I mean 7.", False, False),
        ("#### 6\nQuestion: what of 5 owls?", True, False),
        ("", False, False),
    ],
)
def test_the_number_after_the_mark_counts_strictly_and_the_last_one_flexibly(tmp_path, answer, strict, flexible):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS)
    assert list(checked(found, answer).values()) == [{"strict-match": strict, "flexible-extract": flexible}]


def test_white_space_after_the_published_number_makes_no_answer_wrong(tmp_path):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS | {"answer": OWLS["answer"] + " \n"})
    assert list(checked(found, "#### 6").values()) == [{"strict-match": True, "flexible-extract": True}]


def test_accuracies_are_shares_of_answers(tmp_path):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS, MICE)
    scored = checked(found, "So it is 6.", "#### 1000")
    rows = [(name, 0, check, "neutral", passed) for name, each in scored.items() for check, passed in each.items()]
    checks = pl.DataFrame(rows, schema=tables.Checks.create_empty().schema, orient="row")
    statistics = benchmarks.checked_statistics(KIND, checks, None, found)
    assert {name: one.value() for name, one in statistics.items()} == {"exact_match_flexible": 1, "exact_match_strict": 0.5}


def test_a_problem_is_asked_as_lm_eval_asks_it(tmp_path):
    from importlib.resources import files

    import jinja2
    import yaml

    published = yaml.safe_load(files("lm_eval").joinpath("tasks/gsm8k/gsm8k.yaml").read_text())
    (task,) = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS).to_dicts()
    assert task["prompt"] == [{"role": "user", "content": jinja2.Template(published["doc_to_text"]).render(**OWLS)}]


def test_solved_examples_are_shown_to_the_policy_and_are_no_part_of_the_task(tmp_path, tokenizer):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS)
    shown = tasks.with_examples(found, benchmark.task_file(tmp_path / "train.jsonl", MICE, OWLS), benchmarks.load(KIND), 1)
    assert shown["prompt"].to_list() == found["prompt"].to_list(), "what judges and decontamination read"
    row = prompts.as_prompts(tables.Tasks.validate(shown, cast=True)).row(0, named=True)
    assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
    assert row["prompt"][1]["content"] == MICE["answer"]
    # Where the context is short, examples go before the question does.
    tight = prompts.fit(row, tokenizer, PromptsSettings(lineage="x", context=100, max_tokens=30))
    assert [message["content"] for message in tight["prompt"]] == [found["prompt"][0][0]["content"]]


def test_more_shots_than_there_are_examples_are_refused(tmp_path):
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS)
    with pytest.raises(StageError, match=r"train\.jsonl: 1 solved examples for 2 shots; add some, or lower shots"):
        tasks.with_examples(found, benchmark.task_file(tmp_path / "train.jsonl", MICE), benchmarks.load(KIND), 2)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"answer": "6"}, "answer does not end in #### and a number"),
        ({"answer": 6}, "answer is not a string"),
        ({"question": None}, "question is not a string"),
    ],
)
def test_a_line_that_is_no_problem_is_refused_with_its_place(tmp_path, changes, fault):
    with pytest.raises(StageError, match=rf"test\.jsonl, record 2: {fault}"):
        benchmark.collected(KIND, tmp_path / "test.jsonl", OWLS, OWLS | changes)


@needs_golden
def test_the_published_solutions_are_right_and_others_are_wrong(tmp_path):
    problems = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    found = benchmark.collected(KIND, tmp_path / "test.jsonl", *problems)
    assert found.height == benchmarks.load(KIND).SIZE == 1319
    right = [problem["answer"] for problem in problems]
    assert all(all(each.values()) for each in checked(found, *right).values())
    wrong = [f"{answer}1" for answer in right]
    assert not any(any(each.values()) for each in checked(found, *wrong).values())
