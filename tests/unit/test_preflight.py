"""The preflight: what is wrong is named with its cure, and what is right passes."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
from types import SimpleNamespace

import pytest

import preflight
from drift.settings.preflight import AskedEndpoint, LoginSettings
from tests.conftest import REPOSITORY, STAGE_PYTHON

LOCK = REPOSITORY / "envs/cpu.lock"


@pytest.fixture
def server():
    """An HTTP server with answers by path; a path that it does not know is 404, and a key that is
    not 'right' 401."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            refused = self.headers.get("Authorization", "Bearer right") != "Bearer right"
            body = None if refused else answers.get(self.path.split("?")[0])
            self.send_response(401 if refused else 404 if body is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", answers=answers)
    server.shutdown()


def test_an_interpreter_with_the_locked_packages_passes():
    (line,), found = preflight.environment(str(STAGE_PYTHON), "cpu", LOCK)
    assert line["state"] == "ok", line
    assert found["gpus"] == []


def test_an_interpreter_that_is_not_there_or_lacks_packages_fails_with_the_cure():
    (line,), found = preflight.environment("/nowhere/python", "gpu", LOCK)
    assert line["state"] == "FAIL"
    assert "/nowhere/python does not run here" in line["text"]
    assert "make envs-gpu" in line["text"]
    assert found is None
    (line,), _ = preflight.environment(str(REPOSITORY / ".venv/snakemake/bin/python"), "cpu", LOCK)
    assert line["state"] == "FAIL"
    assert "not installed: " in line["text"]


@pytest.mark.parametrize(
    ("asked", "visible", "seen", "states"),
    [
        (2, "0,1", ["H100", "H100"], ["ok", "ok", "ok"]),
        (2, "0", ["H100"], ["FAIL", "ok", "FAIL"]),
        (1, "0", [], ["ok", "ok", "FAIL"]),
        (1, None, [], ["FAIL", "ok", "FAIL"]),
    ],
)
def test_gpus_are_as_many_as_asked(monkeypatch, tmp_path, asked, visible, seen, states):
    monkeypatch.setattr(preflight, "DRIVER", driver_file(tmp_path, "580.95.05"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [line["state"] for line in preflight.gpus(asked, {"cuda": "13.0", "gpus": seen})] == states


def driver_file(folder, version):
    """As the kernel's module writes it."""
    path = folder / "version"
    path.write_text(f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\nGCC version: 12.2.0\n")
    return path


@pytest.mark.parametrize(
    ("version", "state"),
    [("580.65.06", "ok"), ("580.9.1", "FAIL"), ("590.44", "ok"), ("550.54.14", "FAIL"), ("535.288.01", "FAIL")],
)
def test_a_driver_too_old_for_the_locked_cuda_fails_with_what_can_be_done(tmp_path, version, state):
    line = preflight.driver("13.0", driver_file(tmp_path, version))
    assert line["state"] == state
    assert version in line["text"]
    assert ("older than 580.65.06" in line["text"]) == ("no other lock" in line["text"]) == (state == "FAIL")


def test_the_proprietary_modules_file_is_read_too_and_a_node_without_a_driver_is_told(tmp_path):
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n"
    )
    assert "550.54.14 is older" in preflight.driver("13.0", tmp_path / "version")["text"]
    assert preflight.driver("13.0", tmp_path / "none")["state"] == "warn"


def test_a_model_on_the_hub_is_sized_and_one_that_is_not_there_fails(server, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = [{"rfilename": "model.safetensors", "size": 2_000_000_000}, {"rfilename": "README.md", "size": 9}]
    server.answers["/api/models/org/name/revision/abc"] = {"siblings": files}
    line, size = preflight.located("hf:org/name@abc")
    assert (line["state"], size) == ("ok", 2_000_000_000)
    server.answers["/api/datasets/org/chats/revision/abc"] = {"siblings": []}
    assert preflight.located("hf-dataset:org/chats@abc/mail@work.jsonl")[0]["state"] == "ok"
    line, size = preflight.located("hf:org/other@abc")
    assert (line["state"], size) == ("FAIL", None)
    assert "404: check the address" in line["text"]
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert "set HF_TOKEN" in preflight.located("hf:org/name@abc")[0]["text"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "cannot be reached from here" in preflight.located("hf:org/name@abc")[0]["text"]


def test_a_local_path_is_there_or_not(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    line, size = preflight.located(str(tmp_path))
    assert (line["state"], size) == ("ok", 4)
    assert preflight.located(str(tmp_path / "other"))[0]["state"] == "FAIL"


def test_disk_has_to_hold_every_policy_and_a_checkpoint(tmp_path):
    assert preflight.disk({"small": (1000, 5)}, tmp_path)["state"] == "ok"
    line = preflight.disk({"big": (10**15, 5)}, tmp_path)
    assert line["state"] == "FAIL"
    assert "about 11000000.0 GB" in line["text"]
    assert "size of odd unknown" in preflight.disk({"odd": (None, 5)}, tmp_path)["text"]


def test_folders_that_cannot_be_written_fail(tmp_path):
    (tmp_path / "file").write_text("")
    assert preflight.writable([tmp_path / "new"])["state"] == "ok"
    line = preflight.writable([tmp_path / "file" / "below"])
    assert line["state"] == "FAIL"
    assert "Not a directory" in line["text"]


def test_an_endpoint_answers_with_its_model_and_the_right_key(server, monkeypatch):
    server.answers["/v1/models"] = {"data": [{"id": "judge-1"}]}
    asked = AskedEndpoint(url=f"{server.url}/v1", model="judge-1", key="TEST_KEY")
    monkeypatch.delenv("TEST_KEY", raising=False)
    assert "set the environment variable TEST_KEY" in preflight.endpoint("big", asked)["text"]
    monkeypatch.setenv("TEST_KEY", "wrong")
    assert "401: is the key in TEST_KEY right?" in preflight.endpoint("big", asked)["text"]
    monkeypatch.setenv("TEST_KEY", "right")
    assert preflight.endpoint("big", asked)["state"] == "ok"
    assert (
        "has no model judge-2; it has judge-1"
        in preflight.endpoint("big", asked.model_copy(update={"model": "judge-2"}))["text"]
    )
    assert "does not answer" in preflight.endpoint("big", asked.model_copy(update={"url": "http://127.0.0.1:1/v1"}))["text"]


@pytest.mark.parametrize(
    ("listed", "state", "text"),
    [
        ({"data": [{"id": "judge-1"}]}, "ok", "judge-1 at"),
        ({"models": [{"name": "judge-1"}]}, "ok", "judge-1 at"),
        (["judge-1"], "ok", "judge-1 at"),
        ({"data": [{"id": "openai/judge-1"}]}, "FAIL", "has no model judge-1; it has openai/judge-1"),
        ({"object": "list", "data": None}, "warn", "lists no models"),
        ({"data": [{"id": None}, None, 3]}, "warn", "lists no models"),
        ("judge-1", "warn", "lists no models"),
        (None, "warn", "answers 404: it may answer chats all the same"),
    ],
)
def test_an_endpoint_that_lists_no_models_may_answer_chats_all_the_same(server, listed, state, text):
    if listed is not None:
        server.answers["/v1/models"] = listed
    line = preflight.endpoint("big", AskedEndpoint(url=f"{server.url}/v1/?api-version=2", model="judge-1", key=None))
    assert line["state"] == state
    assert text in line["text"]


def test_a_page_in_place_of_a_list_is_a_warning_and_a_broken_server_a_failure(server, monkeypatch):
    asked = AskedEndpoint(url=f"{server.url}/v1", model="judge-1", key=None)
    monkeypatch.setattr(preflight, "get", lambda *_: b"<html>login</html>")
    assert preflight.endpoint("big", asked)["state"] == "warn"

    def broken(url, _):
        raise urllib.error.HTTPError(url, 503, "busy", {}, None)

    monkeypatch.setattr(preflight, "get", broken)
    line = preflight.endpoint("big", asked)
    assert (line["state"], "key" in line["text"]) == ("FAIL", False)


def test_a_clock_that_is_ahead_of_the_storages_or_behind_the_others_is_named(tmp_path, monkeypatch):
    before = tmp_path / "login.json"
    before.touch()
    assert preflight.clock(tmp_path, before)["state"] == "ok"
    os.utime(before, (0, 0))
    assert preflight.clock(tmp_path, before)["state"] == "ok", "it may have been written long ago"
    os.utime(before, (time.time() + 60,) * 2)
    assert "60 s behind" in preflight.clock(tmp_path, before)["text"]
    now = time.time()
    monkeypatch.setattr(preflight.time, "time", lambda: now + 100)
    line = preflight.clock(tmp_path)
    assert (line["state"], "100 s ahead: set all clocks by NTP" in line["text"]) == ("FAIL", True)


def test_a_node_whose_file_comes_from_the_future_fails_the_report(tmp_path, capsys):
    path = tmp_path / "train.json"
    path.write_text("[]")
    preflight.print_report([path])
    os.utime(path, (time.time() + 60,) * 2)
    with pytest.raises(SystemExit, match="1 checks failed"):
        preflight.print_report([path])
    assert "60 s ahead of the one here" in capsys.readouterr().out


def test_a_judge_of_the_models_family_is_a_warning_that_stops_nothing():
    settings = LoginSettings(partitions=[], addresses=[], models={}, related_judges=["judge big is of the family of small"])
    (line,) = [line for line in preflight.login(settings) if line["name"] == "judge"]
    assert (line["state"], line["text"]) == ("warn", "judge big is of the family of small")


def test_the_report_fails_where_a_check_failed(tmp_path):
    for name, fault in (("login", None), ("train", "asked for 2, got 1")):
        (tmp_path / f"{name}.json").write_text(json.dumps([preflight.check("GPUs given", fault, "2")]))

    def report(*names):
        parts = [str(tmp_path / f"{name}.json") for name in names]
        command = [sys.executable, str(REPOSITORY / "scripts/preflight.py"), "report", "--parts", *parts]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert report("login").stdout == "login\n  ok    GPUs given: 2\nready\n"
    failed = report("login", "train")
    assert failed.returncode != 0
    assert "train\n  FAIL  GPUs given: asked for 2, got 1" in failed.stdout
    assert "1 checks failed" in failed.stderr
