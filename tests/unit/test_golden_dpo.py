"""What the trainer computes, recomputed from raw logits by the formulas: losses, gradients,
margins, and the first steps."""

import math

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from drift.settings.training import TrainSettings
from drift.training import reference_logps, trainer
from drift.training.logps import token_rows
from drift.training.order import SimilarLengths
from tests.builders.pairs import small_pairs
from tests.builders.training import train_settings, training_run

pytestmark = pytest.mark.slow

BETA, CONSISTENCY = 0.5, 0.7
LOSSES = {
    "sigmoid": ({"sigmoid": 1.0}, 0.0),
    "sigmoid and sft": ({"sigmoid": 1.0, "sft": 0.2}, 0.0),
    "robust": ({"robust": 1.0}, 0.2),
    "conservative and sft": ({"conservative": 1.0, "sft": 0.2}, 0.2),
    "cream": ({"cream": 1.0}, 0.0),
}


def reply_scores(model, prompt: list[int], reply: list[int]) -> torch.Tensor:
    """log pi of each token of `reply`, from the logits of all positions."""
    ids = prompt + reply
    table = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return torch.stack([table[position - 1, ids[position]] for position in range(len(prompt), len(ids))])


def by_hand(model, batch: list[dict], reference: dict, losses: dict, smoothing: float) -> tuple[torch.Tensor, list[float]]:
    """The loss of a batch and its margins. DPO: Rafailov et al. 2023, eq. 7; robust DPO: Ray
    Chowdhury et al. 2024, eq. 10; conservative DPO: Mitchell 2023, eq. 3; CREAM: Wang et al. 2024,
    eq. 9."""
    preference, sft_tokens, margins = [], [], []
    for row in batch:
        chosen = reply_scores(model, row["prompt_ids"], row["chosen_ids"])
        rejected = reply_scores(model, row["prompt_ids"], row["rejected_ids"])
        ref_chosen, ref_rejected = reference[row["pair_id"]]
        s = BETA * ((chosen.sum() - ref_chosen) - (rejected.sum() - ref_rejected))
        right, wrong = torch.log1p(torch.exp(-s)), torch.log1p(torch.exp(s))
        if "robust" in losses:
            preference.append(((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing))
        else:
            opposite = 1 - CONSISTENCY if "cream" in losses else smoothing
            preference.append((1 - opposite) * right + opposite * wrong)
        sft_tokens.append(-chosen)
        margins.append(s.item())
    loss = torch.stack(preference).mean()
    return loss + losses.get("sft", 0.0) * torch.cat(sft_tokens).mean(), margins


@pytest.fixture(params=["our head", "stock head"])
def head(request, monkeypatch):
    if request.param == "stock head":
        for module in (trainer, reference_logps):
            monkeypatch.setattr(module, "score_replies_only", lambda model: None)


def golden_settings(losses: dict, smoothing: float) -> TrainSettings:
    changed = {"beta": BETA, "losses": losses, "label_smoothing": smoothing, "precision": "fp32", "learning_rate": 1e-3}
    return train_settings(changed)


@pytest.mark.usefixtures("head")
@pytest.mark.parametrize("name", LOSSES)
def test_loss_gradients_and_margins_are_those_of_the_formulas(tiny_model, tokenizer, tmp_path, name):
    losses, smoothing = LOSSES[name]
    settings = golden_settings(losses, smoothing)
    pairs = small_pairs(tokenizer, 4).with_columns(consistency=pl.lit(CONSISTENCY))
    rows = token_rows(pairs)
    reference = reference_logps.score_pairs(tiny_model, None, rows, settings.training, tokenizer.pad_token_id, "reference")
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for row in rows:
        for side, logp in zip(("chosen_ids", "rejected_ids"), reference[row["pair_id"]], strict=True):
            expected = reply_scores(plain, row["prompt_ids"], row[side]).sum().item()
            assert logp == pytest.approx(expected, abs=1e-3)

    # A policy that has left its reference, so that margins are not 0.
    torch.manual_seed(1)
    for parameter in plain.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    plain.save_pretrained(tmp_path / "moved")
    moved = AutoModelForCausalLM.from_pretrained(tmp_path / "moved", dtype=torch.float32)
    made = trainer.Trainer(
        moved,
        trainer.trainer_config(settings, training_run(), tmp_path),
        reference,
        train_dataset=trainer.as_dataset(pairs),
        processing_class=tokenizer,
    )
    made.model.train()
    loss = made.compute_loss(made.model, made.data_collator(list(made.train_dataset)))
    loss.backward()

    expected, margins = by_hand(plain, rows, reference, losses, smoothing)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)
    assert made._metrics["train"]["rewards/margins"] == [pytest.approx(sum(margins) / len(margins), abs=1e-3)]
    assert max(map(abs, margins)) > 0.1, "the test tests nothing where margins are 0"
    for (parameter, got), want in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        assert (got.grad - want.grad).norm() <= 1e-4 * want.grad.norm(), parameter


def test_the_first_steps_are_those_of_a_loop_written_out(tiny_model, tokenizer, tmp_path):
    losses, smoothing = LOSSES["sigmoid and sft"]
    settings, pairs = golden_settings(losses, smoothing), small_pairs(tokenizer, 12)
    rows = {row["pair_id"]: row for row in token_rows(pairs)}
    reference = reference_logps.score_pairs(
        tiny_model, None, list(rows.values()), settings.training, tokenizer.pad_token_id, "reference"
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    dataset = trainer.as_dataset(pairs)
    made = trainer.Trainer(
        model,
        trainer.trainer_config(settings, training_run(), tmp_path),
        reference,
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    made.train()
    logged = [entry for entry in made.state.log_history if "loss" in entry]

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    optimizer = torch.optim.RMSprop(plain.parameters(), lr=1e-3)
    order = list(SimilarLengths(list(dataset["length"]), 4, settings.seed, lambda: 0))
    steps = len(order) // 4
    for step in range(steps):
        # Warm-up over a tenth of the steps, at least one, from 0; then down to 0.
        warmup = math.ceil(0.1 * steps)
        rate = step / warmup if step < warmup else (steps - step) / (steps - warmup)
        optimizer.param_groups[0]["lr"] = 1e-3 * rate
        halves = [[rows[dataset[row]["pair_id"]] for row in order[4 * step + at : 4 * step + at + 2]] for at in (0, 2)]
        results = [by_hand(plain, half, reference, losses, smoothing) for half in halves]
        loss = sum(loss for loss, _ in results) / 2
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        assert logged[step]["loss"] == pytest.approx(loss.item(), abs=1e-4)
        assert logged[step]["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
        margins = [margin for _, half in results for margin in half]
        assert logged[step]["rewards/margins"] == pytest.approx(sum(margins) / 4, abs=1e-3)
    assert abs(logged[-1]["rewards/margins"]) > 0.1, "the steps moved nothing"
    for (parameter, got), want in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        assert (got - want).norm() <= 1e-4 * want.norm(), parameter
