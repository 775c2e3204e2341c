"""Shards: every request is answered once, whatever the number of jobs."""

import hashlib
import json
import sys
from datetime import datetime

import polars as pl
import pytest

import generate
from drift import policies, tables
from drift.cli import StageError
from drift.config import Engine
from drift.settings.sampling import EngineRuntime, GenerationSettings

SETTINGS = GenerationSettings(backend="vllm", context=64, decoding=None, choices=("A", "B"), json_schema=None, endpoint=None)
RUNTIME = EngineRuntime.of(Engine().model_dump(), endpoint=None)


def requests(count: int) -> pl.DataFrame:
    rows = [
        {
            "request_id": f"s:{number:03d}/0#plain-0",
            "prompt_id": f"s:{number:03d}/0",
            "kind": "plain",
            "sample": 0,
            "messages": [{"role": "user", "content": "Hello"}],
            "prompt_token_ids": [1, 2, 3],
            "seed": number,
        }
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=tables.Requests.create_empty().schema)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 40])
def test_shards_hold_every_request_once(count):
    shards = [generate.shard(requests(16), number, count) for number in range(1, count + 1)]
    held = [request_id for shard in shards for request_id in shard["request_id"]]
    assert sorted(held) == requests(16)["request_id"].to_list()
    sizes = [shard.height for shard in shards]
    assert max(sizes) - min(sizes) <= 1, "the work is shared evenly"


def test_a_shard_that_is_made_again_is_the_same_whatever_the_order_of_the_rows():
    shuffled = requests(16).sample(fraction=1.0, shuffle=True, seed=3)
    assert generate.shard(shuffled, 2, 3).equals(generate.shard(requests(16), 2, 3))


class Engine:
    """Answers in reverse order, and leaves out what it is told to."""

    def __init__(self, leave_out: int = 0):
        self.leave_out, self.usage = leave_out, {}

    def generate(self, asked: list[dict]) -> list[dict]:
        answered = list(reversed(asked))[self.leave_out :]
        return [
            {
                "request_id": request["request_id"],
                "text": f"answer to {request['prompt_id']}",
                "finish_reason": "stop",
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "choice_logprobs": None,
                "error": None,
            }
            for request in answered
        ]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the stage with an engine in place of a model; returns where its completions are."""
    tables.write_table(requests(5), tables.Requests, tmp_path / "requests.parquet")
    (tmp_path / "policy.json").write_text(json.dumps({"weights_sha256": "abc"}))

    def stage(engine: Engine):
        monkeypatch.setattr(generate, "load_engine", lambda *_: engine)
        options = {
            "requests": "requests.parquet",
            "policy": "policy",
            "manifest": "policy.json",
            "completions": "1-of-2.parquet",
            "usage": "1-of-2.json",
        }
        argv = [part for name, value in options.items() for part in (f"--{name}", str(tmp_path / value))]
        argv += ["--settings", SETTINGS.canonical(), "--engine", RUNTIME.canonical(), "--shard", "1", "2"]
        monkeypatch.setattr(sys, "argv", ["generate.py", *argv])
        generate.main()
        return tmp_path / "1-of-2.parquet"

    return stage


def test_a_shard_holds_its_answers_and_who_gave_them(run, capsys):
    completions = tables.read_table(tables.Completions, run(Engine()))
    assert completions["request_id"].to_list() == [f"s:{number:03d}/0#plain-0" for number in (0, 2, 4)]
    assert completions["text"].to_list() == [f"answer to s:{number:03d}/0" for number in (0, 2, 4)]
    assert set(completions["policy_hash"]) == {"abc"}
    assert "3 requests, 9 tokens read, 12 written" in capsys.readouterr().out


def test_a_thought_is_kept_apart_from_the_reply_and_one_without_an_end_is_a_reply_that_was_cut(run):
    class Reasoning(Engine):
        def generate(self, asked):
            begins = {"s:000/0#plain-0": "<think>Hm.</think>\n\n", "s:004/0#plain-0": "<think>Hm, the "}
            return [row | {"text": begins.get(row["request_id"], "") + row["text"]} for row in super().generate(asked)]

    completions = tables.read_table(tables.Completions, run(Reasoning()))
    assert completions["text"].to_list() == ["answer to s:000/0", "answer to s:002/0", ""]
    assert completions["thought"].to_list() == ["Hm.", None, "Hm, the answer to s:004/0"]
    assert completions["finish_reason"].to_list() == ["stop", "stop", "length"]


def test_the_usage_records_what_a_shard_took_and_the_completions_stay_the_same(run, tmp_path):
    path = run(Engine())
    usage = json.loads((tmp_path / "1-of-2.json").read_text())
    assert (usage["shard"], usage["shards"], usage["requests"]) == (1, 2, 3)
    assert (usage["finish_reasons"], usage["prompt_tokens"], usage["completion_tokens"]) == ({"stop": 3}, 9, 12)
    assert usage["models"] == ["abc"]
    assert usage["settings"] == SETTINGS.model_dump(mode="json")
    assert usage["seconds"] >= 0
    assert (usage["devices"], usage["device"]) == (1, policies.device())
    assert datetime.fromisoformat(usage["finished"]).tzinfo
    first = path.read_bytes()
    assert usage["completions_sha256"] == hashlib.sha256(first).hexdigest()
    assert run(Engine()).read_bytes() == first, "nothing that changes from run to run is in the data"


@pytest.mark.parametrize("column", ["messages", "seed"])
def test_requests_with_a_missing_column_are_refused_by_file_and_column(run, tmp_path, column):
    requests(5).drop(column).write_parquet(tmp_path / "requests.parquet")
    with pytest.raises(tables.TableError, match=rf"requests\.parquet.*{column}"):
        run(Engine())


def test_an_engine_that_leaves_requests_unanswered_fails_the_shard(run, tmp_path):
    with pytest.raises(StageError, match="did not answer every request"):
        run(Engine(leave_out=1))
    assert not (tmp_path / "1-of-2.parquet").exists()
