"""What disappointed and a fresh reply, as a table and as a page."""

import os
import shutil
import sys
import time

import polars as pl
import pytest

import taste
from drift import tables
from drift.cli import StageError
from tests.builders.texts import chat

ASKED = "Which tyre pressure?"
ROWS = {"a/0": ("Be safe.", "That is <b>no</b> answer.", "4 bar.\x1b[31m"), "b/1": ("Ten years.", "Five, says your site.", "")}


@pytest.fixture
def iteration(tmp_path):
    """The folder of an iteration with two sampled replies."""
    folder = tmp_path / "results/mine/qwen/drift/seed1/iter1"
    prompts, requests, completions = [], [], []
    for number, (key, (rejected, feedback, fresh)) in enumerate(ROWS.items()):
        common = {"prompt_id": key, "prompt_token_ids": [1, 2]}
        prompts.append(
            {**common, "split": "train", "cluster": key, "prompt": chat("Hi", "Hello", f"{ASKED} {number}"), "turns_trimmed": 0}
            | {"chosen": None, "rejected": rejected, "feedback": feedback}
        )
        asked = {"request_id": f"{key}#plain-0", "kind": "plain", "sample": 0, "messages": chat(ASKED), "seed": 1}
        requests.append(common | asked)
        completions.append(
            {"request_id": f"{key}#plain-0", "text": fresh, "thought": None, "finish_reason": "stop", "error": None}
            | {"prompt_tokens": 2, "completion_tokens": 3, "choice_logprobs": None, "policy_hash": "x"}
        )
    for rows, schema, path in (
        (prompts, tables.Prompts, folder.parents[2] / "prompts/dsat.parquet"),
        (requests, tables.Requests, folder / "requests.parquet"),
        (completions, tables.Completions, folder / "completions/1-of-1.parquet"),
    ):
        tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, path)
    return folder


def test_the_table_has_what_was_asked_what_disappointed_what_was_said_and_the_fresh_reply(iteration):
    rows = taste.rows_of(iteration)
    assert [row["asked"] for row in rows] == [f"{ASKED} 0", f"{ASKED} 1"], "the last message of each prompt"
    text = taste.table(rows, 80)
    assert max(map(len, text.splitlines())) <= 80
    first = text.splitlines()[2]
    assert [cell.strip() for cell in first.split("|")] == ["Which tyre", "Be safe.", "That is <b>no</b>", "4 bar.\ufffd[31m"]


def test_the_page_escapes_what_users_and_models_wrote(iteration, monkeypatch, capsys):
    page = iteration.parents[3] / "taste.html"
    monkeypatch.setattr(sys, "argv", ["taste.py", str(iteration), "--page", str(page)])
    taste.main()
    assert f"The same as a page: {page}" in capsys.readouterr().out
    html = page.read_text()
    assert "That is &lt;b&gt;no&lt;/b&gt; answer." in html
    assert all(text in html for text in ("Be safe.", "4 bar.", "Ten years."))
    assert "<script" not in html


def test_a_folder_that_is_no_iteration_is_refused(tmp_path):
    with pytest.raises(StageError, match="holds no sampled replies: give an iteration"):
        taste.rows_of(tmp_path / "results/mine/qwen/drift/seed1/iter2")


def test_replies_to_prompts_that_came_later_are_shown_and_those_of_an_earlier_split_are_not(iteration):
    """The second iteration reads data/iter2, which holds the prompts of the start as well."""
    model = iteration.parents[2]
    second = shutil.copytree(iteration, iteration.with_name("iter2"))
    later = iteration.parents[3] / f"data/iter2/prompts/{model.name}/dsat.parquet"
    later.parent.mkdir(parents=True)
    prompts = model / "prompts/dsat.parquet"
    shutil.copy(prompts, later)
    tables.write_table(pl.read_parquet(prompts).head(1), tables.Prompts, prompts)
    assert [len(taste.rows_of(folder)) for folder in (iteration, second)] == [1, 2]

    whole = iteration / "completions/1-of-1.parquet"
    os.utime(whole, (time.time() - 3600,) * 2)
    for number in (1, 2):
        half = pl.read_parquet(whole).gather_every(2, number - 1)
        tables.write_table(half, tables.Completions, whole.with_name(f"{number}-of-2.parquet"))
    assert len(taste.rows_of(iteration)) == 1


def test_an_iteration_of_a_method_without_such_prompts_is_refused(iteration):
    """As of SPIN: its prompts are those of replies that satisfied."""
    (iteration.parents[2] / "prompts/dsat.parquet").unlink()
    with pytest.raises(StageError, match="none of its prompts has a reply that disappointed"):
        taste.rows_of(iteration)
