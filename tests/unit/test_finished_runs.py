"""Programs on finished runs: two side by side, a policy for others, a talk with policies."""

import base64
import json
import re
import shutil
import stat
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
import yaml

import chat
import compare
import export
from _runs import PolicyFolder, read_config
from drift import policies
from drift.cli import StageError
from drift.settings.sampling import DecodingSettings, GenerationSettings
from tests.builders.run import build_results
from tests.conftest import REPOSITORY

POLICY = "qwen-0.5b/drift/seed42/iter2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, one of whose policies has weights that only their owner can read."""
    root = build_results(tmp_path_factory.mktemp("home"))
    weights = root / POLICY / "policy/model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    weights.chmod(0o600)
    (weights.parent / "config.json").write_text("{}")
    (weights.parent / ".snakemake_timestamp").write_text("")
    manifest = root / POLICY / "policy.json"
    policies.write_manifest(
        manifest, policies.read_manifest(manifest) | {"weights_sha256": policies.weights_sha256(weights.parent)}
    )
    return root


def called(monkeypatch, program, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, arguments)])
    program.main()


# ------------------------------------------------------------------------------------------ compare


def test_two_runs_are_shown_side_by_side_with_what_differs_between_them(run, tmp_path, monkeypatch, capsys):
    other = tmp_path / "results/other"
    (other / "eval").mkdir(parents=True)
    shutil.copy(run / "eval/scores.parquet", other / "eval")
    config = yaml.safe_load((run / "config.resolved.yaml").read_text())
    config["training"]["beta"] = 0.3
    config["evaluation"]["judges"]["tiny"]["votes"] = 3
    (other / "config.resolved.yaml").write_text(yaml.safe_dump(config | {"run": "other"}))
    called(monkeypatch, compare, run, other)
    settings, scores = capsys.readouterr().out.split("\n\n")
    assert sorted(line.split() for line in settings.splitlines()[2:]) == [
        ["evaluation.judges.tiny.votes", "1", "3"],
        ["training.beta", "0.1", "0.3"],
    ]
    judged = [line for line in scores.splitlines() if line.startswith("qwen-0.5b/drift ") and " heldout tiny " in line]
    assert judged
    assert all("+0.000" in line and line.endswith("measured otherwise") for line in judged)
    unjudged = [line for line in scores.splitlines() if " heldout-pairs " in line]
    assert unjudged
    assert not any(line.endswith("measured otherwise") for line in unjudged)


def test_what_one_run_has_alone_has_a_dash():
    found = compare.differences({"a": {"b": 1, "c": None}, "run": "x"}, {"a": {"b": 1}, "d": [2], "run": "y"})
    assert found == [("a.c", "None", "-"), ("d", "-", "[2]")]


def test_a_folder_that_is_no_run_is_refused(run, tmp_path):
    command = [sys.executable, REPOSITORY / "tools/compare.py", run, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not the configuration of a run" in done.stderr
    assert "give its folder, results/RUN" in done.stderr


# ------------------------------------------------------------------------------------------- export


def card_of(folder: Path) -> tuple[dict, str]:
    """The fields at the top of a card, and its text."""
    _, fields, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(fields), text


def test_an_exported_policy_can_be_read_by_all_and_says_where_it_comes_from(run, tmp_path, monkeypatch, capsys):
    target = tmp_path / "mine"
    called(monkeypatch, export, run / POLICY, target, "--license", "apache-2.0")
    assert f"vllm serve {target}" in capsys.readouterr().out
    assert {path.name for path in target.iterdir()} == {"README.md", "policy.json", "config.json", "model.safetensors"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o644}
    fields, text = card_of(target)
    assert fields["license"] == "apache-2.0"
    assert fields["base_model"] == "Qwen/Qwen2.5-0.5B-Instruct"
    assert "`hf:Qwen/Qwen2.5-0.5B-Instruct@main`" in text
    assert "`wildchat` (wildchat): `wildchat/*.parquet`" in text
    assert "18 replies that disappointed to train on, 6 kept for testing" in text
    assert json.loads((target / "policy.json").read_text())["weights_sha256"] in text
    scores = [line for line in text.splitlines() if line.startswith("| heldout | tiny | `win_rate` |")]
    assert len(scores) == 1
    assert scores[0].count("[") == 2, "with the interval of the base model and of the policy"
    assert "| yes |" in text.partition("## Checks")[2]


def test_the_card_of_a_policy_trained_on_single_replies_counts_these(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "results/demo")
    (copy / POLICY / "pairs.parquet").unlink()
    (replies,) = copy.glob("*/kto/seed42/iter1/unpaired.parquet")
    shutil.copy(replies, copy / POLICY)
    manifest = copy / POLICY / "policy.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"parent_sha256": "0" * 64}))
    called(monkeypatch, export, copy / POLICY, tmp_path / "mine")
    _, text = card_of(tmp_path / "mine")
    assert f"- Single replies of its last iteration: {pl.read_parquet(replies).height}" in text
    assert "logged replies that satisfied or disappointed their users, one by one" in text
    assert not re.search(r"preference pairs|Pairs of its", text)


def test_a_licence_is_not_made_up(run, tmp_path, monkeypatch):
    called(monkeypatch, export, run / POLICY, tmp_path / "mine")
    fields, text = card_of(tmp_path / "mine")
    assert (fields["license"], fields["license_name"]) == ("other", "not-stated")
    assert "look at the licence of the base model" in text


def test_weights_that_are_not_those_of_the_manifest_are_not_exported(run, tmp_path):
    copy = tmp_path / "results/demo"
    shutil.copytree(run, copy)
    (copy / POLICY / "policy/model.safetensors").write_bytes(b"others")
    policy = PolicyFolder.parse(copy / POLICY)
    manifest = policies.read_manifest(copy / POLICY / "policy.json")
    with pytest.raises(StageError, match=r"the weights are not those of policy\.json"):
        export.copy_policy(policy, manifest, tmp_path / "mine")
    shutil.rmtree(copy / POLICY / "policy")
    with pytest.raises(StageError, match="is not there any more"):
        export.copy_policy(policy, manifest, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_is_no_policy_is_answered_with_those_that_are(run):
    with pytest.raises(StageError, match=r"is no finished policy: .* there are: .*drift/seed42/iter1, .*drift/seed42/iter2"):
        PolicyFolder.parse(run / "qwen-0.5b/drift/seed42/iter3")


def test_a_policy_is_found_from_a_folder_next_to_it_and_by_one_in_it(run, monkeypatch):
    monkeypatch.chdir((run / POLICY).with_name("iter1"))
    assert str(PolicyFolder.parse(Path("../iter2"))) == POLICY
    with pytest.raises(StageError, match=rf"is no finished policy: .* there are: .*{POLICY}$"):
        PolicyFolder.parse(run / POLICY / "policy")
    with pytest.raises(StageError, match="is no finished policy"):
        PolicyFolder.parse(Path("/base"))


def test_a_policy_of_a_model_that_the_run_has_no_more_is_exported_with_what_it_was_made_from(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "results/demo")
    config = yaml.safe_load((copy / "config.resolved.yaml").read_text())
    config["models"] = {"other": config["models"].pop("qwen-0.5b")}
    (copy / "config.resolved.yaml").write_text(yaml.safe_dump(config))
    base = copy / "qwen-0.5b/base/policy.json"
    base.write_text(json.dumps(json.loads(base.read_text()) | {"settings": {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@abc"}}))
    called(monkeypatch, export, copy / POLICY, tmp_path / "mine")
    fields, text = card_of(tmp_path / "mine")
    assert fields["base_model"] == "Qwen/Qwen2.5-0.5B-Instruct"
    assert "`hf:Qwen/Qwen2.5-0.5B-Instruct@abc`" in text


def test_the_card_of_a_policy_trained_on_later_data_counts_the_replies_in_these(run, tmp_path, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "results/demo")
    config = yaml.safe_load((copy / "config.resolved.yaml").read_text())
    config["data"]["sources"]["june"] = config["data"]["sources"]["wildchat"] | {"from_iteration": 2}
    (copy / "config.resolved.yaml").write_text(yaml.safe_dump(config))
    (copy / "data/iter2").mkdir()
    rows = pl.read_parquet(copy / "data/dsat.parquet")
    rows.filter(pl.col("split") == "train").write_parquet(copy / "data/iter2/dsat.parquet")
    called(monkeypatch, export, copy / POLICY, tmp_path / "mine")
    assert "18 replies that disappointed to train on, 0 kept for testing" in card_of(tmp_path / "mine")[1]


def test_a_file_in_place_of_the_folder_and_a_configuration_without_keys_are_refused_in_a_line(run, tmp_path, monkeypatch):
    (tmp_path / "mine").write_text("")
    with pytest.raises(StageError, match="mine is a file: give a new folder"):
        called(monkeypatch, export, run / POLICY, tmp_path / "mine")
    for content in (b"[]", b"\xff"):
        (tmp_path / "config.resolved.yaml").write_bytes(content)
        with pytest.raises(StageError, match="not the configuration of a run"):
            read_config(tmp_path)


class UploadHub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as an upload needs; `requests` are the paths and the bodies."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.requests.append((self.path, body, self.headers.get("Authorization")))
        if self.headers.get("Authorization") != "Bearer secret":
            return self.answer(401, {"error": "no"})
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        url = f"{self.server.address}/ORG/mine"
        return self.answer(200, {"url": url, "commitUrl": f"{url}/commit/1", "commitOid": "1", "name": "ORG/mine", "id": "1"})

    def do_GET(self) -> None:
        self.answer(200, {"id": "ORG/mine", "sha": "1", "siblings": []})

    def answer(self, status: int, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def upload_hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), UploadHub) as server:
        server.requests, server.address = [], f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("token", ["secret", "wrong"])
def test_a_policy_is_pushed_whole_to_a_private_repository_or_the_cure_is_said(run, tmp_path, upload_hub, token):
    folder = tmp_path / "mine"
    command = [sys.executable, REPOSITORY / "tools/export.py", run / POLICY, folder, "--push", "ORG/mine"]
    environment = {"HF_ENDPOINT": upload_hub.address, "HF_TOKEN": token, "HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if token == "wrong":
        assert done.returncode == 1
        assert "ORG/mine could not be uploaded" in done.stderr
        assert "set HF_TOKEN to a token that may write there" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert f"uploaded: {upload_hub.address}/ORG/mine/commit/1" in done.stdout
    bodies = {path.split("?")[0]: body for path, body, _ in upload_hub.requests}
    assert json.loads(bodies["/api/repos/create"])["visibility"] == "private"
    lines = [json.loads(line) for line in bodies["/api/models/ORG/mine/commit/main"].splitlines()]
    sent = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
    assert sent == {path.name: path.read_bytes() for path in folder.iterdir()}


# --------------------------------------------------------------------------------------------- chat


@pytest.fixture(scope="module")
def settings():
    values = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "max_tokens": 16}
    return GenerationSettings(
        **{"backend": "transformers", "context": 128, "choices": None, "json_schema": None, "endpoint": None},
        decoding=DecodingSettings(**values),
    )


def test_policies_answer_side_by_side_each_in_its_own_conversation(tiny_model, tmp_path, settings, capsys):
    second = tmp_path / "second"
    second.symlink_to(tiny_model)
    folders = chat.named([tiny_model, second])
    assert list(folders) == [str(tiny_model), str(second)]
    talk = chat.Talk(folders, settings, seed=1)
    chat.converse(
        talk, ["Tell me about maps.", "", "And salt? " * 200, "And salt?", "/new", "Tell me about maps.", "/quit", "never"]
    )
    told = capsys.readouterr().out
    assert told.count(f"\n{tiny_model}:\n") == told.count(f"\n{second}:\n") == 3
    assert "error: the message is too long: --context leaves 112 tokens" in told
    first, *_, again = (part.split(":\n")[1].splitlines()[0] for part in told.split(f"\n{tiny_model}")[1:])
    assert first == again != ""
    assert [message["role"] for message in talk._chats[str(second)]] == ["user", "assistant"], "a new conversation"


def test_a_policy_of_a_run_is_named_by_its_place(run):
    assert chat.named([run / POLICY]) == {POLICY: run / POLICY / "policy"}
    with pytest.raises(StageError, match="is no finished policy"):
        chat.named([run])


def test_a_message_too_long_for_one_policy_is_answered_by_none(tiny_model, tmp_path, settings, monkeypatch):
    """Tokenizers differ: the conversations would have gone on with different messages."""
    second = tmp_path / "second"
    second.symlink_to(tiny_model)
    talk = chat.Talk(chat.named([tiny_model, second]), settings, seed=1)
    render, last = chat.render, talk._engines[str(second)].tokenizer
    monkeypatch.setattr(
        chat, "render", lambda tokenizer, messages: render(tokenizer, messages) * (500 if tokenizer is last else 1)
    )
    with pytest.raises(StageError, match="the message is too long"):
        list(talk.say("Tell me about maps."))
    assert talk._chats == {str(tiny_model): [], str(second): []}


def test_an_interrupted_reply_ends_the_conversation_as_at_the_prompt(capsys):
    class Interrupted:
        def say(self, text: str) -> None:
            raise KeyboardInterrupt

    chat.converse(Interrupted(), ["Hi", "never"])
    assert capsys.readouterr().out == "\n"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--temperature=-1", "--temperature is -1.0: a number of 0 or more is needed"),
        ("--temperature=nan", "--temperature is nan"),
        ("--top-p=2", "--top-p is 2.0: a number above 0 and up to 1 is needed"),
        ("--max-tokens=0", "--max-tokens is 0: 1 or more are needed"),
        ("--context=100", "--max-tokens is 512: 1 or more are needed, and fewer than --context"),
    ],
)
def test_values_that_no_reply_can_be_sampled_with_are_refused_before_a_model_is_loaded(option, said, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        called(monkeypatch, chat, "nowhere", option)
    assert said in capsys.readouterr().err
