"""What is stored of trained weights, what the next training starts from, and what bf16 shows."""

import os
import stat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import LlamaForCausalLM

from drift.cli import StageError
from drift.settings.training import LoraSettings
from drift.training import remainder
from drift.training.trainer import check_targets, lora_config
from drift.training.weights import Movement, trained_policy
from tests.builders.training import small_llama


@given(st.lists(st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127), min_size=1))
def test_the_remainder_restores_every_fp32_weight_bit_for_bit(values):
    weights = torch.tensor(values)
    served, part = remainder.split(weights)
    assert (part.dtype, served.dtype) == (torch.int16, torch.bfloat16)
    nearest = weights.to(torch.bfloat16).float()
    assert torch.equal((served.float() - weights).abs(), (nearest - weights).abs())
    assert torch.equal(remainder.add(served.float(), part, "w"), weights)


@pytest.fixture(params=[False, True], ids=["own head", "tied head"])
def start(tmp_path, request):
    """Folder of a policy in bf16, as a base model is."""
    small_llama(tie_word_embeddings=request.param).to(torch.bfloat16).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def loaded(policy, part=None) -> LlamaForCausalLM:
    """A policy in fp32, with its remainder."""
    model = LlamaForCausalLM.from_pretrained(policy, dtype=torch.float32)
    remainder.restore(model, part)
    return model


def iterate(folder, step: float, iterations: int, carry: str) -> tuple[LlamaForCausalLM, list[Movement]]:
    """Iterations that each grow every weight of `folder` by `step`, a share of it: the policy that
    the next one would start from, and what each of them moved."""
    policy, part, movements = folder, None, []
    for number in range(iterations):
        model = loaded(policy, part)
        for parameter in model.parameters():
            parameter.data *= 1 + step
        trained = trained_policy(dict(model.state_dict()), policy, part, None)
        policy, part = (folder.parent / f"{carry}{number}{kind}" for kind in ("policy", "remainder"))
        trained.model.save_pretrained(policy)
        remainder.write(trained.remainders if carry == "fp32" else {}, part)
        movements.append(trained.movement)
    return loaded(policy, part), movements


def distance(one: LlamaForCausalLM, other: LlamaForCausalLM) -> float:
    return sum((a - b).pow(2).sum().item() for a, b in zip(one.parameters(), other.parameters(), strict=True)) ** 0.5


def test_steps_below_half_a_bf16_step_add_up_over_iterations_and_are_lost_without_the_remainder(start):
    # bf16 has 8 bits, half a step is 0.2 to 0.4 % of a weight; five steps of 0.1 % pass it.
    lost, without = iterate(start, 1e-3, 5, "bf16")
    kept, movements = iterate(start, 1e-3, 5, "fp32")
    size = sum(parameter.pow(2).sum().item() for parameter in loaded(start).parameters()) ** 0.5
    assert distance(lost, loaded(start)) == 0.0
    assert distance(kept, loaded(start)) == pytest.approx((1.001**5 - 1) * size, rel=1e-3)
    assert [movement.served_share for movement in without] == [0.0] * 5
    assert movements[0].served_share == 0.0, "it starts from numbers that bf16 holds exactly"
    assert max(movement.served_share for movement in movements) > 1.0, "what was below bf16's step comes out at once"
    assert distance(loaded(start.parent / "fp324policy"), loaded(start)) > 0.5 * distance(kept, loaded(start))


def test_an_untrained_model_has_moved_nothing(start):
    _, (movement,) = iterate(start, 0.0, 1, "fp32")
    assert (movement.norm, movement.moved, movement.seen, movement.served_share) == (0.0, 0, 0, 0.0)


def test_what_moved_is_counted_and_the_share_that_is_served_is_the_projection_on_the_update(start):
    model = loaded(start)
    seen, unseen = model.model.layers[0].mlp.up_proj.weight, model.model.layers[1].mlp.up_proj.weight
    seen.data += 2 ** (seen.data.abs().log2().floor() - 7)  # a step of bf16
    unseen.data += 2 ** (unseen.data.abs().log2().floor() - 10)  # an eighth of one
    movement = trained_policy(dict(model.state_dict()), start, None, None).movement
    before = loaded(start)
    squares = [(a - b).pow(2).sum().item() for a, b in zip(model.parameters(), before.parameters(), strict=True)]
    assert movement.norm == pytest.approx(sum(squares) ** 0.5)
    assert (movement.seen, movement.moved) == (seen.numel(), seen.numel() + unseen.numel())
    assert movement.trained == sum(parameter.numel() for parameter in model.parameters())
    assert movement.served_share == pytest.approx(
        (seen - before.model.layers[0].mlp.up_proj.weight).pow(2).sum().item() / sum(squares)
    )


def test_a_model_that_comes_in_fp32_starts_from_its_own_weights(tmp_path):
    small_llama().save_pretrained(tmp_path / "start")
    _, (movement,) = iterate(tmp_path / "start", 0.0, 1, "fp32")
    assert movement.norm == 0.0
    model = loaded(tmp_path / "start")
    trained = trained_policy(
        {name: weights + 1e-6 for name, weights in model.state_dict().items()}, tmp_path / "start", None, None
    )
    assert movement.trained == sum(parameter.numel() for parameter in model.parameters())
    assert trained.movement.norm == pytest.approx(1e-6 * movement.trained**0.5, rel=1e-2)


def test_adapters_are_merged_into_the_trained_weights_not_into_the_served_ones(start):
    from peft import get_peft_model, get_peft_model_state_dict

    lora = LoraSettings(rank=2, alpha=4, dropout=0.0, targets="all-linear")
    iterate(start, 1e-3, 1, "fp32")
    policy, part = (start.parent / f"fp320{kind}" for kind in ("policy", "remainder"))
    adapted = get_peft_model(loaded(policy), lora_config(lora))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1e-5)
    trained = trained_policy(get_peft_model_state_dict(adapted), policy, part, lora)
    before, merged = loaded(policy, part), trained.model.float()
    for name, parameter in merged.named_parameters():
        remainder.add(parameter.data, trained.remainders[name], name)
    norm = before.model.norm.weight
    assert torch.equal(merged.model.norm.weight, norm)
    assert not torch.equal(norm, norm.to(torch.bfloat16).float()), "bf16 would do"
    expected = before.model.layers[0].mlp.up_proj
    update = adapted.base_model.model.model.layers[0].mlp.up_proj.get_delta_weight("default")
    assert torch.allclose(merged.model.layers[0].mlp.up_proj.weight, expected.weight + update, atol=1e-7)
    assert trained.movement.trained == sum(
        module.weight.numel() for name, module in before.named_modules() if name.endswith("proj")
    )


def test_a_remainder_can_be_read_by_whom_the_umask_lets_read(tmp_path):
    before = os.umask(0o027)
    try:
        remainder.write({"norm": torch.zeros(3, dtype=torch.int16)}, tmp_path / "remainder")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "remainder").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_remainder_that_is_missing_or_another_policys_is_refused_with_the_cure(start, tmp_path):
    model = loaded(start)
    with pytest.raises(StageError, match=r"there is no folder .*gone; leave it out"):
        remainder.restore(model, tmp_path / "gone")
    remainder.write({"model.norm.weight": torch.zeros(3, dtype=torch.int16)}, tmp_path / "other")
    with pytest.raises(StageError, match=r"other: model\.norm\.weight has no weights of its shape.*delete the policy"):
        remainder.restore(model, tmp_path / "other")
    (tmp_path / "other/remainder.safetensors").write_bytes(b"cut off")
    with pytest.raises(StageError, match=r"other cannot be read .*delete it and run again"):
        remainder.restore(model, tmp_path / "other")
    remainder.write({}, tmp_path / "empty")
    remainder.restore(model, tmp_path / "empty")
    assert distance(model, loaded(start)) == 0.0


@pytest.mark.parametrize(
    ("targets", "tied", "fault"),
    [
        (["c_attn"], False, r"no such modules; its linear layers are named down_proj, .*, v_proj"),
        (["q_proj", "lm_head"], False, "one is the head"),
        (["q_proj", "embed_tokens"], True, "merged adapters would change the head"),
        (["q_proj", "embed_tokens"], False, None),
        (r".*\.q_proj", True, None),
        ("all-linear", True, None),
    ],
)
def test_adapters_that_would_not_be_the_policy_that_was_trained_are_refused(targets, tied, fault):
    model, lora = small_llama(tie_word_embeddings=tied), LoraSettings(rank=2, alpha=4, dropout=0.0, targets=targets)
    if fault:
        with pytest.raises(StageError, match=rf"training\.lora\.targets: .*{fault}"):
            check_targets(model, lora)
        return
    check_targets(model, lora)
    adapted = get_peft_model(model, lora_config(lora)).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.arange(8)[None]
    trained = adapted(ids).logits
    assert torch.allclose(adapted.merge_and_unload()(ids).logits, trained, atol=1e-4)
