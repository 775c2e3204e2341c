"""Models of several kinds are registered as policies."""

import json
import os
import shutil
import stat
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import register
from drift import policies
from drift.chat import load_tokenizer
from drift.cli import StageError
from drift.settings.sampling import RegisterSettings


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Register the model of a folder; returns the policy's folder and its manifest."""

    def program(model):
        options = {"model": model, "policy": tmp_path / "policy", "manifest": tmp_path / "policy.json"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        settings = RegisterSettings(name="tiny/base", path=str(model)).canonical()
        monkeypatch.setattr(sys, "argv", ["register.py", *words, "--settings", settings])
        register.main()
        return tmp_path / "policy", policies.read_manifest(tmp_path / "policy.json")

    return program


@pytest.fixture
def adapters(tiny_model, tmp_path):
    """Adapters of the tiny model's queries, without a tokenizer, and what they add to layer 0."""
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    model.save_pretrained(tmp_path / "adapters")
    # In this order, as PEFT does: another one rounds another way, now and then over a step of bf16.
    return tmp_path / "adapters", (layer.lora_B["default"].weight @ layer.lora_A["default"].weight) * 3


def test_a_folder_is_linked_and_hashed(run, tiny_model):
    policy, manifest = run(tiny_model)
    assert (policy / "model.safetensors").resolve() == tiny_model / "model.safetensors"
    assert manifest["weights_sha256"] == policies.weights_sha256(tiny_model)
    assert (manifest["name"], manifest["settings"]["path"]) == ("tiny/base", str(tiny_model))


def test_adapters_are_merged_into_their_model(run, tiny_model, adapters, tokenizer):
    folder, added = adapters
    policy, _ = run(folder)
    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, policy))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(after[name], (before[name].float() + added).to(torch.bfloat16))
    assert [other for other in before if other != name and not torch.equal(before[other], after[other])] == []
    assert not list(policy.glob("adapter_*"))
    assert load_tokenizer(policy).chat_template == tokenizer.chat_template


def test_the_weights_of_a_policy_can_be_read_by_whom_the_umask_lets_read(run, adapters):
    before = os.umask(0o027)
    try:
        policy, _ = run(adapters[0])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in policy.iterdir()}
    assert modes["model.safetensors"] == 0o640, "safetensors makes files private"
    assert set(modes.values()) == {0o640}


def test_adapters_that_bring_a_tokenizer_keep_its_chat_template(run, adapters, tiny_model):
    theirs = load_tokenizer(tiny_model)
    theirs.chat_template = "{# theirs #}" + theirs.chat_template
    theirs.save_pretrained(adapters[0])
    assert load_tokenizer(run(adapters[0])[0]).chat_template == theirs.chat_template


def test_adapters_whose_model_is_not_here_are_refused_with_the_cure(run, adapters):
    path = adapters[0] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"}))
    with pytest.raises(
        StageError, match=r"adapters of Qwen/Qwen2\.5-7B-Instruct, and there is no such folder; name the folder"
    ):
        run(adapters[0])


def test_a_folder_that_is_not_there_is_refused_with_the_keys_that_name_it(run, tmp_path):
    with pytest.raises(StageError, match=r"there is no model folder .*absent; fix .*models\.NAME\.path"):
        run(tmp_path / "absent")


def test_a_folder_without_weights_is_refused(run, tiny_model, tmp_path):
    (tmp_path / "empty").mkdir()
    load_tokenizer(tiny_model).save_pretrained(tmp_path / "empty")
    with pytest.raises(StageError, match=r"holds no \*\.safetensors"):
        run(tmp_path / "empty")


def test_a_model_that_begins_every_reply_with_a_thought_is_refused(run, tiny_model, tokenizer, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "reasoning")
    own = load_tokenizer(folder)
    own.chat_template += "{% if add_generation_prompt %}<think>\n{% endif %}"
    own.save_pretrained(folder)
    with pytest.raises(StageError, match="ends every prompt with the beginning of a thought"):
        run(folder)
    assert not (tmp_path / "policy.json").exists()
