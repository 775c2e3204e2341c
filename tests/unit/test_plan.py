"""The plan before paying: its formulas against real models, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from drift.cli import StageError
from drift.training import remainder
from drift.workflow import cost_model
from drift.workflow.cost_model import GIB, SHAPES, Shape, TrainingSetup
from drift.workflow.machines import read_machine
from drift.workflow.plan.fit import training_knobs
from drift.workflow.plan.shapes import shape_finder
from drift.workflow.plan.trainings import trainings
from drift.workflow.plan.work import ROWS, Lengths, generations
from tests.builders.plans import config, planned
from tests.conftest import REPOSITORY

SETUP = TrainingSetup(
    optimizer="rmsprop",
    precision="bf16",
    device_batch=4,
    max_length=2048,
    gradient_checkpointing=True,
    launcher="single",
    lora_rank=None,
)
SMALL = Shape(hidden=128, layers=3, heads=4, key_value_heads=2, intermediate=352, vocabulary=512, query_bias=True)


def real_model(shape: Shape, device: str = "cpu", **options):
    """A randomly initialised model of `shape`."""
    kind, model = (Qwen2Config, Qwen2ForCausalLM) if shape.query_bias else (LlamaConfig, LlamaForCausalLM)
    config = kind(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        **options,
    )
    with torch.device(device):
        return model(config)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("qwen2.5-32b", 32_763_876_352),
        ("llama-3.1-8b", 8_030_261_248),
        ("smollm2-135m", 134_515_008),
    ],
)
def test_parameters_are_those_of_the_published_model(name, parameters):
    assert SHAPES[name].parameters == parameters
    assert sum(weights.numel() for weights in real_model(SHAPES[name], device="meta").parameters()) == parameters


def test_a_shape_is_read_from_a_models_folder(tmp_path):
    real_model(SMALL, device="meta").config.save_pretrained(tmp_path)
    assert shape_finder(REPOSITORY, None)(str(tmp_path)).parameters == SMALL.parameters


def test_a_model_of_another_family_is_as_large_as_its_weights(tmp_path):
    config = DistilBertConfig(vocab_size=30522, dim=768, n_layers=6, n_heads=12)
    classifier = DistilBertForSequenceClassification(config)
    classifier.save_pretrained(tmp_path)
    found = shape_finder(REPOSITORY, None)(str(tmp_path)).parameters
    assert found == pytest.approx(classifier.num_parameters(), rel=0.2)


def test_a_shape_is_found_by_the_name_in_the_address_or_by_size():
    by_name, by_size = shape_finder(REPOSITORY, None), shape_finder(REPOSITORY, 7.6e9)
    assert by_name("hf:Qwen/Qwen2.5-14B-Instruct@abc") == SHAPES["qwen2.5-14b"]
    assert by_size("/data/secret").parameters == pytest.approx(7.6e9, rel=0.05)
    with pytest.raises(StageError, match="give --parameters"):
        by_name("/data/secret-72bit")


def test_adapters_are_as_many_as_peft_makes():
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(real_model(SMALL), LoraConfig(r=8, target_modules="all-linear"))
    assert SMALL.lora_parameters(8) == sum(weights.numel() for weights in adapted.parameters() if weights.requires_grad)


def test_the_cache_of_a_token():
    assert SHAPES["qwen2.5-7b"].key_value_bytes() == 57_344
    assert SHAPES["llama-3.1-8b"].key_value_bytes() == 131_072


@pytest.mark.parametrize("checkpointing", [False, True])
def test_arithmetic_is_what_pytorch_counts(checkpointing):
    model = real_model(SMALL, attn_implementation="eager").train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    ids = torch.zeros(2, 32, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids, labels=ids).loss.backward()
    # TRL's head makes its scores again too; that of a bare model is outside the checkpoints.
    head = 2 * ids.numel() * SMALL.embedding_parameters if checkpointing else 0
    predicted = ids.numel() * cost_model.training_flops(SMALL, 32, checkpointing)
    assert predicted == pytest.approx(counter.get_total_flops() + head, rel=0.05)


def kept_bytes(shape: Shape, tokens: int) -> int:
    """Bytes of what a forward pass under autocast keeps for the backward pass, weights and their
    copies apart."""
    model = real_model(shape, attn_implementation="sdpa").train()
    weights = {parameter.numel() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.numel() not in weights:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    ids = torch.zeros(1, tokens, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(ids)
    return sum(size for size, _ in kept.values())


def test_activations_of_a_layer_are_what_pytorch_keeps():
    deeper = Shape(**vars(SMALL) | {"layers": SMALL.layers + 2})
    measured = (kept_bytes(deeper, 200) - kept_bytes(SMALL, 200)) / 2 / 200
    assert cost_model.layer_activations(SMALL, wide=4) == pytest.approx(measured, rel=0.15)


def test_a_policy_on_disk_is_as_large_as_planned(tmp_path):
    real_model(SMALL).to(torch.bfloat16).save_pretrained(tmp_path)
    written = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    assert cost_model.policy_bytes(SMALL) == pytest.approx(written, rel=0.02)
    parts = {name: remainder.split(weights.data)[1] for name, weights in real_model(SMALL).named_parameters()}
    remainder.write(parts, tmp_path / "remainder")
    written = sum(file.stat().st_size for file in (tmp_path / "remainder").iterdir())
    assert cost_model.remainder_bytes(SMALL, "fp32") == pytest.approx(written, rel=0.02)


def test_the_disk_holds_a_remainder_for_every_policy_unless_updates_are_not_carried():
    disks = {carry: planned(config(training__carry=carry)).disk for carry in ("fp32", "bf16")}
    what = "qwen2.5-7b: remainders of their fp32 weights"
    assert disks["fp32"][what] == disks["fp32"]["qwen2.5-7b: 5 policies, bf16"] == 5 * 2 * SHAPES["qwen2.5-7b"].parameters
    assert disks["bf16"][what] == 0


@pytest.mark.parametrize("name", ["rmsprop", "adamw_torch", "adafactor", "sgd"])
def test_the_optimizer_keeps_what_the_formula_says(name):
    from transformers import Adafactor

    kinds = {"rmsprop": torch.optim.RMSprop, "adamw_torch": torch.optim.AdamW, "sgd": torch.optim.SGD, "adafactor": Adafactor}
    weights = torch.nn.Parameter(torch.randn(256, 128))
    options = {"relative_step": False, "lr": 1e-3} if name == "adafactor" else {"lr": 1e-3}
    optimizer = kinds[name]([weights], **options)
    weights.sum().backward()
    optimizer.step()
    state = optimizer.state[weights].values()
    kept = sum(value.numel() * 4 for value in state if torch.is_tensor(value) and value.numel() > 1)
    assert kept / weights.numel() == pytest.approx(cost_model.OPTIMIZER_BYTES[name], abs=0.01)


def test_a_sharded_training_holds_twelve_bytes_a_parameter():
    # 16-bit weights and gradients, fp32 master weights and one average: 11.4 GB of a 7B on each of
    # 8 GPUs.
    memory = cost_model.training_memory(SHAPES["qwen2.5-7b"], replace(SETUP, launcher="zero3", gpus=8))
    assert sum(memory[part] for part in ("weights", "gradients", "optimizer")) / 1e9 == pytest.approx(11.4, abs=0.05)


def test_a_smaller_batch_more_gpus_and_adapters_need_less():
    def peak(**change):
        return sum(cost_model.training_memory(SHAPES["qwen2.5-7b"], replace(SETUP, **change)).values())

    alone = peak()
    assert peak(device_batch=1) < alone
    assert peak(gradient_checkpointing=False) > alone
    assert peak(launcher="fsdp2", gpus=8) < peak(launcher="fsdp2", gpus=4) < alone
    assert peak(launcher="ddp", gpus=8) > alone
    assert peak(lora_rank=64) < alone / 2


def test_a_full_7b_on_one_80_gb_gpu_is_refused_with_knobs_that_make_it_fit():
    refused = planned(config(training__launcher="single"))
    (problem,) = refused.problems
    assert "train qwen2.5-7b (single, 1 GPU)" in problem
    assert "training.lora: {rank: 64}" in problem
    assert "2 GPUs" in problem


def test_a_batch_that_the_gpus_cannot_share_is_refused_with_the_nearest_that_they_can():
    (problem,) = planned(config(training__global_batch=36), gpus=8).problems
    assert "global_batch 36 is not a multiple of device_batch 4 x 8 devices" in problem
    assert problem.endswith("the nearest global_batch is 32")


def test_the_knobs_name_what_the_machine_has():
    shape, machine = SHAPES["qwen2.5-7b"], read_machine("h100-80", gpus=8)
    for knob in training_knobs(shape, SETUP, machine):
        assert "GPUs" not in knob, "eight are there"
    knobs = training_knobs(SHAPES["qwen2.5-0.5b"], replace(SETUP, device_batch=64), machine)
    assert knobs[0] == "training.device_batch: 32"


def test_a_judge_too_large_for_its_gpu_is_refused_with_a_knob():
    problems = planned(config(), "a100-40", gpus=4).problems
    assert any("judge qwen2.5-32b" in problem and "engine.tensor_parallel: 2" in problem for problem in problems)


def test_too_small_a_disk_is_refused():
    assert not any("disk" in problem for problem in planned(config(), disk=10_000).problems)
    assert any("disk: " in problem and "200 are there" in problem for problem in planned(config(), disk=200).problems)


def test_every_seed_costs_its_iterations_and_shares_the_warm_up():
    alone, three = config(), config()
    three["seeds"] = [1, 2, 3]
    methods, iterations = len(alone["methods"]), alone["iterations"]
    assert [len(trainings(run, ROWS)) for run in (alone, three)] == [1 + methods * iterations, 1 + 3 * methods * iterations]
    repeats = [
        {(work.rule, work.answerer): work.repeats for work in generations(run, ROWS, Lengths())} for run in (alone, three)
    ]
    sampled, answered = ("sample", None), ("respond", None)
    assert [each[sampled] for each in repeats] == [iterations, 3 * iterations]
    assert [each[answered] for each in repeats] == [2 + methods * iterations, 2 + 3 * methods * iterations]
    once, thrice = planned(alone), planned(three)
    assert 2.5 * once.gpu_hours < thrice.gpu_hours < 3 * once.gpu_hours
    assert thrice.longest == pytest.approx(once.longest), "seeds run side by side"
    more = sum(thrice.disk.values()) - sum(once.disk.values())
    with_remainder = 2 * once.disk["qwen2.5-7b: base model"]
    assert more == 2 * methods * iterations * with_remainder


def test_the_bill_of_an_endpoint_is_tokens_times_prices_and_is_held_against_its_budget():
    run = config()
    endpoint = {"input_price": 5.0, "output_price": 15.0, "budget": 0.01}
    run["evaluation"]["judges"]["qwen2.5-32b"] |= {"endpoint": endpoint, "path": None}
    expensive = planned(run)
    (stage,) = [stage for stage in expensive.stages.values() if stage.rule == "judge"]
    asked = [one for one in expensive.stages.values() if one.rule in ("judge", "compare")]
    assert expensive.bill == pytest.approx(sum(one.read * 5e-6 + one.written * 15e-6 for one in asked))
    assert stage.requests == 6 * 2 * 100, "six policies, two orders, a hundred held-out prompts"
    assert any("may spend 0.01" in problem for problem in expensive.problems)


def test_methods_are_planned_with_the_pairs_that_they_are_limited_to_and_the_warm_up_with_all():
    trained = [training.pairs for training in trainings(config(training__pairs=4000), ROWS)]
    assert trained == [ROWS["corrections"], 4000, 4000, 4000, 4000]
    assert [training.pairs for training in trainings(config(), ROWS)][1:] == [ROWS["dsat"]] * 2 + [ROWS["sat"]] * 2


def test_an_epoch_trains_on_whole_steps_of_what_its_pace_takes_and_the_reference_reads_all():
    run = config(methods=["drift"], training__pairs=1000, training__epochs=2)
    assert [training.stepped for training in trainings(run, ROWS)] == [16 * 32, 32 * 32, 32 * 32]
    whole = planned(run).stages["train", "qwen2.5-7b"]
    assert whole.requests == 3 * 16 * 32 + 2 * 2 * 32 * 32, "the last step is filled up from the epoch's beginning"
    run["training"]["pacing"] = {"order": "easy", "shares": [0.3, 0.5]}
    assert [training.stepped for training in trainings(run, ROWS)] == [16 * 32, 10 * 32, 16 * 32]
    assert [training.pairs for training in trainings(run, ROWS)][1:] == [1000, 1000]
    paced = planned(run).stages["train", "qwen2.5-7b"]
    assert paced.requests == 3 * 16 * 32 + 2 * (10 + 16) * 32
    assert paced.requests / whole.requests < paced.gpu_hours / whole.gpu_hours < 1


def test_a_method_that_alone_does_not_fit_is_named():
    row = {"prompts": "sat", "chosen": "logged", "rejected": "plain", "training": {"device_batch": 32}}
    run = config(methods=["drift", "mine"], recipes__mine=row)
    problems = planned(run, gpus=1).problems
    assert [problem.split(" (")[0] for problem in problems if problem.startswith("train")] == [
        "train qwen2.5-7b",
        "train qwen2.5-7b mine",
    ]


def test_a_7b_samples_as_fast_as_is_published():
    # Published rates of one H100 and 8B models in bf16, by input and output: 3,000 to 12,500 tokens
    # written a second.
    shape, machine = SHAPES["qwen2.5-7b"], read_machine("h100-80")
    written = 400 * cost_model.decoding_rate(shape, machine, 1, 50 * GIB, prompt=600, reply=400)
    assert 3_000 < written < 12_500


def test_a_7b_trains_as_fast_as_is_published():
    # zephyr-7b-dpo-full, 61,135 pairs of about 1,100 tokens, 8 GPUs: 2.95 to 17.3 pairs a second in
    # three published runs.
    shape, machine = SHAPES["qwen2.5-7b"], read_machine("a100-80")
    per_pair = 1100 * (cost_model.training_flops(shape, 550, True) + cost_model.forward_flops(shape, 550))
    pairs = 8 * machine.tflops * 1e12 * machine.training_share / per_pair
    assert 2.95 < pairs < 17.3


def test_a_machine_is_read_from_a_file_and_its_faults_are_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("{memory: 24, tflops: 100, bandwidth: 1.0, gpus: 2}")
    assert read_machine(str(tmp_path / "mine.yaml"), gpus=4).gpus == 4
    (tmp_path / "wrong.yaml").write_text("{memory: 24, flops: 100}")
    with pytest.raises(StageError, match="unknown keys \\['flops'\\]"):
        read_machine(str(tmp_path / "wrong.yaml"))
    (tmp_path / "short.yaml").write_text("{memory: 24, tflops: 100}")
    with pytest.raises(StageError, match="bandwidth missing"):
        read_machine(str(tmp_path / "short.yaml"))
    (tmp_path / "cut.yaml").write_text("{memory: 24,")
    with pytest.raises(StageError, match=r"cut\.yaml: cannot be read as YAML"):
        read_machine(str(tmp_path / "cut.yaml"))
    with pytest.raises(StageError, match="memory must be a number above 0"):
        read_machine("h100-80", memory=-1)
    with pytest.raises(StageError, match="gpus must be a whole number from 1, not 0"):
        read_machine("h100-80", gpus=0)
    with pytest.raises(StageError, match="one of a100-40"):
        read_machine("h1000")
