"""Tasks are what the files say, or an error that names file and row."""

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import tasks
from drift import benchmarks, plugins, tables
from drift.benchmarks.records import answer_text
from drift.cli import StageError
from tests.conftest import REPOSITORY, SNAKEMAKE

SHARED = REPOSITORY.parent / "shared"
PROMPTS = SHARED / "prompts"
needs_prompts = pytest.mark.skipif(not PROMPTS.is_dir(), reason="the published prompts are not on this machine")


def jsonl(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(
    kind: str, source: Path, baseline: Path | None = None, references: dict | None = None, difficulty=None
) -> dict[str, dict]:
    """The tasks of `source` by id, as they are written."""
    collected = tasks.collect(benchmarks.load(kind), source, baseline, references, difficulty)
    return {row["prompt_id"]: row for row in tables.Tasks.validate(collected, cast=True).to_dicts()}


def wildbench_row(number: int = 0, **changes) -> dict:
    talk = [("user", "Plan a trip."), ("assistant", "Where to?"), ("user", f"To town {number}, by train.")]
    row = {
        "session_id": f"{number:016x}",
        "conversation_input": [{"role": role, "content": content, "language": "English"} for role, content in talk],
        "checklist": ["Does it go by train?", "Is it a plan?"],
        "primary_tag": "Planning",
        "secondary_tags": ["Advice seeking", "Reasoning"],
        "intent": "to travel",
    }
    return row | changes


def test_wildbench_tasks_keep_the_whole_conversation_their_checklist_and_the_groups_of_their_tags(tmp_path):
    rows = [wildbench_row(number) for number in range(3)]
    pl.DataFrame(rows).write_parquet(tmp_path / "test-00000.parquet")
    answers = [{"session_id": row["session_id"], "output": [f"By rail, {number}."]} for number, row in enumerate(rows)]
    pl.DataFrame(answers[1:]).write_parquet(tmp_path / "of-gpt.parquet")
    found = made("wildbench", tmp_path / "test-00000.parquet", references={"gpt": tmp_path / "of-gpt.parquet"})
    first, second = found["0" * 16], found["0" * 15 + "1"]
    assert [message["role"] for message in first["prompt"]] == ["user", "assistant", "user"]
    assert first["checklist"] == ["Does it go by train?", "Is it a plan?"]
    assert first["categories"] == ["Information/Advice seeking", "Planning & Reasoning"]
    assert (first["references"], second["references"]) == (None, [{"model": "gpt", "response": "By rail, 1."}])
    assert first["baseline"] is None
    assert first["cluster"] == "0" * 16, "a task of a file stands by itself"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"primary_tag": "Poetry"}, "no tag 'Poetry'"),
        ({"checklist": []}, "not version 2 of WildBench"),
        ({"checklist": None}, "not version 2 of WildBench"),
        ({"conversation_input": [{"role": "assistant", "content": "Hi."}]}, "does not end with a message of the user"),
        ({"conversation_input": [{"role": "user", "content": " "}]}, "does not end with a message of the user"),
        ({"session_id": None}, "no session_id or id"),
        ({"conversation_input": "Hi."}, "not a list of messages"),
    ],
)
def test_a_row_that_is_no_wildbench_task_is_named_with_its_fault(tmp_path, changes, what):
    source = jsonl(tmp_path / "tasks.jsonl", wildbench_row(0), wildbench_row(1, **changes))
    with pytest.raises(StageError, match=r"tasks\.jsonl, record 2: ") as error:
        made("wildbench", source)
    assert what in str(error.value)


def test_a_missing_field_names_the_field(tmp_path):
    row = wildbench_row()
    del row["primary_tag"]
    with pytest.raises(StageError, match="record 1: no field 'primary_tag'"):
        made("wildbench", jsonl(tmp_path / "tasks.jsonl", row))


def test_two_tasks_of_one_name_are_refused_with_both_places(tmp_path):
    source = jsonl(tmp_path / "tasks.jsonl", wildbench_row(0), wildbench_row(1), wildbench_row(0, checklist=["Another?"]))
    with pytest.raises(StageError, match=r"record 3: the task 0+ is there already \(.*record 1\)"):
        made("wildbench", source)


def test_a_task_that_is_there_twice_counts_once_and_the_output_says_so(tmp_path, capsys):
    source = jsonl(tmp_path / "tasks.jsonl", wildbench_row(0), wildbench_row(1), wildbench_row(0))
    assert len(made("wildbench", source)) == 2
    assert re.search(r"record 3: left out.*record 1\)", capsys.readouterr().out)


@needs_prompts
def test_alpacaeval_takes_all_805_instructions_with_baseline_and_difficulty(tmp_path):
    rows = [json.loads(line) for line in (PROMPTS / "alpacaeval_805.jsonl").read_text().splitlines()]
    published = [row | {"output": f"answer {row['index']}", "generator": "gpt4_1106_preview"} for row in rows]
    (tmp_path / "baseline.json").write_text(json.dumps(published))
    found = made("alpacaeval", tmp_path / "baseline.json", difficulty=[row["index"] / 100 for row in rows])
    assert len(found) == benchmarks.load("alpacaeval").SIZE == 805
    by_text = {row["prompt"][0]["content"]: row for row in found.values()}
    for row in rows:
        task = by_text[row["instruction"]]
        assert (task["baseline"], task["difficulty"]) == (f"answer {row['index']}", row["index"] / 100)
        assert task["categories"] == [row["dataset"]]


@needs_prompts
def test_answers_in_another_order_come_to_their_own_instructions(tmp_path):
    rows = [json.loads(line) for line in (PROMPTS / "alpacaeval_805.jsonl").read_text().splitlines()]
    outputs = [{"instruction": row["instruction"], "output": f"to {row['instruction']}"} for row in reversed(rows)]
    found = made("alpacaeval", PROMPTS / "alpacaeval_805.jsonl", baseline=jsonl(tmp_path / "outputs.jsonl", *outputs))
    assert all(row["baseline"] == f"to {row['prompt'][0]['content']}" for row in found.values())


@needs_prompts
def test_arena_hard_takes_its_prompts_and_a_models_answers(tmp_path):
    rows = [json.loads(line) for line in (PROMPTS / "arena_hard_v0.1.jsonl").read_text().splitlines()]
    layouts = [
        {"question_id": rows[0]["uid"], "choices": [{"index": 0, "turns": [{"content": "fastchat", "token_len": 1}]}]},
        {
            "uid": rows[1]["uid"],
            "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": {"answer": "new"}}],
        },
        {"uid": rows[2]["uid"], "output": "plain"},
    ]
    found = made("arena-hard", PROMPTS / "arena_hard_v0.1.jsonl", baseline=jsonl(tmp_path / "answers.jsonl", *layouts))
    assert len(found) == 500
    assert [found[row["uid"]]["baseline"] for row in rows[:4]] == ["fastchat", "new", "plain", None]


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "A"}]])
@pytest.mark.parametrize("role", ["user", "system", "tool", None])
def test_an_answer_is_the_assistants_and_never_the_question(messages, role):
    with pytest.raises(ValueError, match=f"messages end with the {role}'s"):
        answer_text({"uid": "u", "messages": [*messages, {"role": role, "content": "P"}]})
    assert answer_text({"messages": [{"role": "user", "content": "P"}, {"role": "assistant", "content": "A"}]}) == "A"


@needs_prompts
def test_mt_bench_becomes_a_benchmark_of_the_users_own_with_history(tmp_path):
    rows = [json.loads(line) for line in (PROMPTS / "mt_bench.jsonl").read_text().splitlines()]
    own = [
        {
            "id": row["question_id"],
            "messages": [
                {"role": "user", "content": row["turns"][0]},
                {"role": "assistant", "content": "Done."},
                {"role": "user", "content": row["turns"][1]},
            ],
            "categories": [row["category"]],
        }
        for row in rows
    ]
    found = made("prompts", jsonl(tmp_path / "own.jsonl", *own))
    assert len(found) == 80
    assert all(len(row["prompt"]) == 3 for row in found.values())


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": "1"}, "give either prompt"),
        ({"id": "1", "prompt": "Hi", "messages": []}, "give either prompt"),
        ({"id": "1", "prompt": 5}, "prompt is not a string"),
        ({"id": "1", "prompt": "Hi", "baseline": ["a"]}, "baseline is not a string"),
        ({"id": True, "prompt": "Hi"}, "no id"),
        ({"id": "1", "messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "y"}]}, "a role other than"),
        ({"id": "1", "messages": ["Hi"]}, "not a message with role and content"),
    ],
)
def test_prompts_of_the_users_own_that_cannot_be_read_are_named(tmp_path, row, what):
    with pytest.raises(StageError, match=r"own\.jsonl, record 1: ") as error:
        made("prompts", jsonl(tmp_path / "own.jsonl", row))
    assert what in str(error.value)


def test_answers_to_other_tasks_are_refused(tmp_path):
    source = jsonl(tmp_path / "own.jsonl", {"id": "1", "prompt": "Hi"})
    with pytest.raises(StageError, match="no answer is to a task of this benchmark"):
        made("prompts", source, baseline=jsonl(tmp_path / "answers.jsonl", {"id": "2", "response": "Hello."}))


def test_difficulties_of_another_list_are_refused(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", {"instruction": "Hi", "output": "Hello."})
    with pytest.raises(StageError, match="2 difficulties for the 1 tasks"):
        made("alpacaeval", source, difficulty=[0.1, 0.2])


@pytest.mark.parametrize(
    "text", ['{"id": "1", "prompt": "a"}\nnot json\n', '[{"id": 1}', "[1, 2]", "\ufffe".encode("utf-16").decode("latin-1")]
)
def test_a_file_that_is_no_json_is_named(tmp_path, text):
    (tmp_path / "own.jsonl").write_text(text)
    with pytest.raises(StageError, match=r"own\.jsonl cannot be read"):
        made("prompts", tmp_path / "own.jsonl")


def test_a_line_may_hold_every_character_that_json_allows(tmp_path):
    (tmp_path / "own.jsonl").write_text('{"id": "1", "prompt": "a\u2028b\u0085c {baseline}"}\n\n', encoding="utf-8")
    assert made("prompts", tmp_path / "own.jsonl")["1"]["prompt"][0]["content"] == "a\u2028b\u0085c {baseline}"


def test_what_the_hub_leaves_beside_its_files_is_not_read(tmp_path):
    (tmp_path / "data/.cache/huggingface").mkdir(parents=True)
    jsonl(tmp_path / "data/b.jsonl", {"id": "1", "prompt": "Hi"})
    (tmp_path / "data/.cache/huggingface/b.json").write_text("nothing")
    assert set(made("prompts", tmp_path / "data")) == {"1"}


def stage(folder: Path, *arguments: str, **settings) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "scripts/tasks.py"), "--settings", json.dumps(settings), *arguments]
    return subprocess.run([*command, "--tasks", "tasks.parquet"], cwd=folder, capture_output=True, text=True, check=False)


def dsat(folder: Path, count: int) -> None:
    rows = [
        {
            "prompt_id": f"s:{number}/0",
            "conversation_id": f"s:{number}",
            "turn": 0,
            "source": "s",
            "cluster": f"s:{number // 4}",
            "prompt": [{"role": "user", "content": f"Question {number}"}],
            "rejected": f"Bad {number}.",
            "feedback": "No.",
            "split": ("train", "test")[number % 2],
            "labeler": "lexical",
            "evidence": ["wrong"],
            "score": 0.9,
            "flipped": False,
        }
        for number in range(count)
    ]
    table = pl.DataFrame(rows, schema_overrides={"turn": pl.Int32})
    table = table.with_columns(
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in tables.Dsat.create_empty().schema.items()
        if name not in table.columns
    )
    tables.write_table(table, tables.Dsat, folder / "dsat.parquet")


def test_heldout_tasks_are_the_test_prompts_against_the_reply_that_disappointed(tmp_path):
    dsat(tmp_path, 20)
    done = stage(tmp_path, "--source", "dsat.parquet", kind="heldout", max_tasks=None, seed=1)
    assert done.returncode == 0, done.stderr
    found = tables.read_table(tables.Tasks, tmp_path / "tasks.parquet")
    assert found["prompt_id"].to_list() == sorted(f"s:{number}/0" for number in range(1, 20, 2))
    assert dict(found.select("prompt_id", "baseline").iter_rows())["s:3/0"] == "Bad 3."
    assert set(found["feedback"]) == {"No."}
    assert dict(found.select("prompt_id", "cluster").iter_rows())["s:7/0"] == "s:1"


def test_no_test_conversation_is_an_error_with_the_cure(tmp_path):
    dsat(tmp_path, 1)
    done = stage(tmp_path, "--source", "dsat.parquet", kind="heldout", max_tasks=None, seed=1)
    assert done.returncode == 1
    assert "raise data.test_conversations or add data: conversations of one user, and those that open alike" in done.stderr


def test_another_version_of_a_benchmark_is_said_to_be_another_one(tmp_path):
    jsonl(tmp_path / "tasks.jsonl", *[wildbench_row(number) for number in range(3)])
    done = stage(tmp_path, "--source", "tasks.jsonl", kind="wildbench", max_tasks=None, seed=1)
    assert done.returncode == 0, done.stderr
    assert "has 3 tasks, where wildbench is published with 1024" in done.stdout


def test_fewer_tasks_are_some_of_the_same_whatever_the_order_of_the_rows(tmp_path):
    rows = [{"id": str(number), "prompt": f"Question {number}"} for number in range(20)]
    whole, turned = (
        tasks.collect(benchmarks.load("prompts"), jsonl(tmp_path / name, *order))
        for name, order in (("a.jsonl", rows), ("b.jsonl", rows[::-1]))
    )
    few = tasks.pick(whole, 4, seed=1)
    assert few.height == 4
    assert set(tasks.pick(turned, 4, seed=1)["prompt_id"]) == set(few["prompt_id"])
    assert len({tuple(sorted(tasks.pick(whole, 4, seed)["prompt_id"])) for seed in range(8)}) > 1, "the seed picks"


@pytest.mark.parametrize("kind", plugins.BENCHMARKS)
def test_every_benchmark_has_what_the_package_says(kind):
    module = benchmarks.load(kind)
    for name in ("JUDGING", "SIZE", "FILES", "key", "task"):
        assert hasattr(module, name), name
    assert set(benchmarks.score_files(kind)) <= set(module.FILES)
    assert hasattr(module, "difficulties") == ("difficulty" in module.FILES)


def test_no_two_benchmarks_show_one_metric_differently():
    names = [metric.name for kind in plugins.BENCHMARKS for metric in benchmarks.metrics_shown(kind)]
    assert len(names) == len(set(names))


def test_the_rules_can_import_the_benchmarks_without_polars():
    program = (
        "import sys; sys.path.insert(0, 'scripts'); from drift import benchmarks, plugins; "
        "[benchmarks.load(kind) for kind in plugins.BENCHMARKS]; import drift.workflow.evaluation; "
        "sys.exit(bool({'polars', 'numpy'} & sys.modules.keys()))"
    )
    python = SNAKEMAKE.parent / "python"
    assert subprocess.run([python, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
