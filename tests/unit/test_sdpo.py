"""Self-distillation from what users answered: the loss against its formula written out, and the
program as its rule calls it."""

import json
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from drift import cli, tables
from drift.settings.training import TrainSettings
from drift.training import sdpo
from tests.builders.training import launched, train_settings, training_run
from tests.builders.unpaired import small_replies

pytestmark = pytest.mark.slow


def sdpo_settings(**training) -> TrainSettings:
    return train_settings({"losses": {"sdpo": 1.0}, "precision": "fp32"} | training)


def token_logps(model, context: list[int], reply: list[int]) -> torch.Tensor:
    """log pi of each token of `reply`, from the logits of all positions."""
    ids = context + reply
    table = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return torch.stack([table[at - 1, ids[at]] for at in range(len(context), len(ids))])


def written_out(model, rows: list[dict]) -> torch.Tensor:
    """Kleine Buening et al. 2026: each reply by itself, in fp64."""
    losses = []
    for row in rows:
        policy = token_logps(model, row["prompt_token_ids"], row["reply_token_ids"])[2:]
        with torch.no_grad():
            teacher = token_logps(model, row["hindsight_token_ids"], row["reply_token_ids"])[2:]
        losses.append(-((teacher - policy.detach()) * policy).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("head", ["our head", "stock head"])
def test_loss_and_gradients_are_those_of_the_formula(tiny_model, tokenizer, tmp_path, monkeypatch, head):
    if head == "stock head":
        monkeypatch.setattr(sdpo, "score_replies_only", lambda *_, **__: None)
    rows, settings = small_replies(tokenizer, 4), sdpo_settings()
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    arguments = sdpo.arguments(settings, training_run(), tmp_path, rows)
    made = sdpo.Trainer(model, arguments, {}, train_dataset=sdpo.as_dataset(rows, settings), processing_class=tokenizer)
    loss = made.compute_loss(made.model, made.data_collator(list(made.train_dataset)))
    loss.backward()
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64)
    expected = written_out(plain, rows.to_dicts())
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-4)
    for (parameter, got), want in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        assert (got.grad - want.grad).norm() <= 1e-3 * want.grad.norm(), parameter


def test_loss_and_gradient_are_exact_where_log_probabilities_are(tiny_model, tokenizer, tmp_path):
    """In fp64: a stand-in for the model gives log-probabilities to be differentiated in."""
    rows, settings = small_replies(tokenizer, 3), sdpo_settings()
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    arguments = sdpo.arguments(settings, training_run(), tmp_path, rows)
    made = sdpo.Trainer(model, arguments, {}, train_dataset=sdpo.as_dataset(rows, settings), processing_class=tokenizer)
    batch = made.data_collator(list(made.train_dataset))
    torch.manual_seed(0)
    policy, teacher = (
        -5 * torch.rand(3, batch[f"{prefix}input_ids"].shape[1] - 1, dtype=torch.float64) for prefix in ("", "hindsight_")
    )
    policy.requires_grad_()

    def answer(input_ids, **_):
        return SimpleNamespace(log_probs=policy if torch.equal(input_ids, batch["input_ids"]) else teacher)

    loss = made.compute_loss(answer, batch)
    loss.backward()
    expected, slopes = 0.0, torch.zeros_like(policy)
    for number, row in enumerate(rows.iter_rows(named=True)):
        counted = range(2, row["reply_tokens"])
        for token in counted:
            at = len(row["prompt_token_ids"]) - 1 + token
            signal = (teacher[number, len(row["hindsight_token_ids"]) - 1 + token] - policy[number, at]).item()
            expected -= signal * policy[number, at].item() / len(counted) / 3
            slopes[number, at] = -signal / len(counted) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(policy.grad, slopes, rtol=0, atol=1e-6)
    assert made.signals != [0.0]


def test_replies_weigh_the_same_whatever_their_length_and_their_first_tokens_nothing():
    mask = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
    weights = sdpo.token_weights(mask).tolist()
    assert weights == pytest.approx([0, 0, 1 / 6, 1 / 6, 0, 0, 1 / 6, 1 / 6, 0, 0])


def test_a_step_along_the_loss_moves_the_policy_towards_its_teacher(tiny_model, tokenizer):
    rows = small_replies(tokenizer, 6).to_dicts()
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64)

    def replies(context: str) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat([token_logps(model, row[context], row["reply_token_ids"])[2:] for row in rows])

    teacher, before = replies("hindsight_token_ids"), replies("prompt_token_ids")
    written_out(model, rows).backward()
    for parameter in model.parameters():
        parameter.data -= 1e-3 * parameter.grad
    moved = replies("prompt_token_ids") - before
    assert ((teacher - before) * moved).sum() > 0


@pytest.fixture
def run_sdpo(run_train, tokenizer, tmp_path):
    """`run_train` on replies that users answered; `run_sdpo.command` likewise."""
    rows = small_replies(tokenizer, 16)
    tables.write_table(rows, tables.Unpaired, tmp_path / "unpaired.parquet")

    def options(training: dict | None) -> dict:
        return {"training": {"losses": {"sdpo": 1.0}} | (training or {}), "rows": tmp_path / "unpaired.parquet"}

    def program(folder, training: dict | None = None, **changed) -> dict:
        return run_train(folder, **options(training), **changed)

    program.command = lambda folder, training: run_train.command(folder, **options(training))
    return program


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}])
def test_the_program_trains_and_resumes_to_the_same_weights(run_sdpo, tmp_path, lora):
    training = {"lora": lora, "learning_rate": 1e-2 if lora else 1e-4}
    whole = run_sdpo(tmp_path / "whole", training)
    assert whole["steps_done"] == whole["steps_planned"] == 4
    gates = {row["gate"]: row for row in json.loads((tmp_path / "whole/gates.json").read_text())["gates"]}
    assert all(row["passed"] for row in gates.values())
    assert {"nothing cut in hindsight", "training prompt = fitted prompt", "no held-out conversation"} <= gates.keys()
    assert "the reference is the start" not in gates, "there is none"
    log = tables.read_table(tables.TrainLog, tmp_path / "whole/train.parquet")
    assert {"loss", "signal", "grad_norm"} <= set(log["metric"])
    with pytest.raises(cli.StageError, match="stopped after 1 of 4 steps"):
        run_sdpo(tmp_path / "stopped", training, run={"deadline": 0.0, "checkpoint_steps": 50})
    resumed = run_sdpo(tmp_path / "stopped", training)
    assert (resumed["weights_sha256"], resumed["remainder_sha256"]) == (whole["weights_sha256"], whole["remainder_sha256"])


def test_two_devices_train_what_one_does(run_sdpo, tokenizer, tmp_path, warm_environments):
    """The last step is filled up."""
    tables.write_table(small_replies(tokenizer, 17), tables.Unpaired, tmp_path / "unpaired.parquet")
    precise = {"precision": "fp32", "learning_rate": 1e-4}
    run_sdpo(tmp_path / "one", precise)
    done = launched(run_sdpo.command(tmp_path / "two", precise), "ddp", warm_environments["cpu"])
    assert done.returncode == 0, done.stderr[-4000:]
    logs = [tables.read_table(tables.TrainLog, tmp_path / folder / "train.parquet") for folder in ("one", "two")]
    for metric in ("loss", "grad_norm", "signal"):
        one, two = (log.filter(metric=metric)["value"].to_list() for log in logs)
        assert len(one) == 5
        assert one == pytest.approx(two, rel=1e-3, abs=1e-5), metric
    one, two = (AutoModelForCausalLM.from_pretrained(tmp_path / folder / "policy").state_dict() for folder in ("one", "two"))
    for name, weights in one.items():
        assert (weights - two[name]).norm() < 1e-2 * weights.norm(), name


def test_replies_that_nobody_answered_are_refused(run_sdpo, tmp_path):
    path = tmp_path / "unpaired.parquet"
    rows = tables.read_table(tables.Unpaired, path)
    none = pl.lit(None, dtype=rows.schema["hindsight_token_ids"])
    tables.write_table(rows.with_columns(hindsight_token_ids=none), tables.Unpaired, path)
    with pytest.raises(cli.StageError, match=r"unpaired\.parquet has replies without an answer of their user"):
        run_sdpo(tmp_path / "run")
