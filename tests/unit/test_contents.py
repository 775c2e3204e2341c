"""What rules know of local files: their bytes, which are read once for each state of a file."""

import json
import os
from pathlib import Path

import pytest

from drift.workflow import contents, inputs


@pytest.fixture
def hash_now(tmp_path, monkeypatch):
    """Call with a path to get its hash as a new process does."""
    monkeypatch.setattr(contents, "MEMORY", tmp_path / "state/contents.json")

    def fresh(path: Path) -> str:
        contents.contents.cache_clear()
        return contents.contents(str(path))

    return fresh


@pytest.fixture
def model(tmp_path):
    """A model's folder: weights that are a link into a store, a configuration, a hidden record."""
    (tmp_path / "store").write_bytes(bytes(5_000_000))
    folder = tmp_path / "model"
    (folder / ".cache").mkdir(parents=True)
    (folder / "model.safetensors").symlink_to(tmp_path / "store")
    (folder / "config.json").write_text("{}")
    (folder / ".cache/record").write_text("1")
    return folder


def test_a_byte_within_a_large_file_counts_and_times_and_hidden_files_do_not(model, hash_now, tmp_path):
    before = hash_now(model)
    os.utime(model / "config.json", (1, 1))
    (model / ".cache/record").write_text("2")
    assert hash_now(model) == before
    # As many bytes as before, and the time of the file that was written over.
    times = (tmp_path / "store").stat()
    with (tmp_path / "store").open("r+b") as weights:
        weights.seek(3_210_987)
        weights.write(b"1")
    os.utime(tmp_path / "store", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hash_now(model) != before


def test_every_change_of_a_folder_or_log_is_another_hash_and_a_copy_is_none(model, hash_now, tmp_path):
    hashes = [hash_now(model)]
    (model / "config.json").rename(model / "settings.json")
    hashes.append(hash_now(model))
    (model / "empty").touch()
    hashes.append(hash_now(model))
    assert hash_now(model.rename(tmp_path / "moved")) == hashes[-1]
    log = tmp_path / "log.jsonl"
    for text in ("one\n", "one\ntwo\n"):
        log.write_text(text)
        hashes.append(hash_now(log))
    log.unlink()
    assert len({*hashes, hash_now(log)}) == 6


def test_a_file_is_read_once_for_each_of_its_states(model, hash_now, monkeypatch):
    read = []
    monkeypatch.setattr(contents, "sha256", lambda file: read.append(Path(file).name) or "hash")
    hash_now(model)
    hash_now(model)
    assert sorted(read) == ["config.json", "model.safetensors"]
    (model / "config.json").write_text("[]")
    hash_now(model)
    assert read[2:] == ["config.json"]


@pytest.mark.parametrize("memory", ["{cut off", "[]", ""])
def test_a_memory_that_cannot_be_read_costs_one_more_reading(model, hash_now, memory):
    before = hash_now(model)
    contents.MEMORY.write_text(memory)
    assert hash_now(model) == before


def test_what_another_process_remembered_meanwhile_stays(model, hash_now, tmp_path):
    (tmp_path / "log.jsonl").write_text("one\n")
    hash_now(model)
    hash_now(tmp_path / "log.jsonl")
    assert len(json.loads(contents.MEMORY.read_text())) == 3


def test_adapters_count_with_the_model_that_they_are_of(model, hash_now, tmp_path):
    adapters = tmp_path / "adapters"
    adapters.mkdir()
    config = adapters / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": str(model)}))
    before = hash_now(adapters)
    (model / "config.json").write_text("[]")
    assert hash_now(adapters) != before
    for base in ("Qwen/Qwen2.5-7B-Instruct", None, str(adapters)):
        config.write_text(json.dumps({"base_model_name_or_path": base}))
        assert hash_now(adapters), "a model that is not here is named when it is registered"


def test_local_addresses_count_by_name_and_what_is_fetched_is_pinned_by_its_address(model, hash_now):
    hash_now(model)
    told = json.loads(inputs.contents_of(["hf:org/llama@abc", str(model)]))
    assert told == {"contents": {str(model): contents.contents(str(model))}}


def test_reading_much_is_announced(model, hash_now, monkeypatch, capsys):
    monkeypatch.setattr(contents, "LARGE", 5_000_000)
    hash_now(model)
    assert "reading 0.0 GB of local files once" in capsys.readouterr().err
    hash_now(model)
    assert capsys.readouterr().err == ""
