"""Training on single replies: the loss against its formula written out, and the program as its rule
calls it."""

import json
import math
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from drift import cli, plugins, tables
from drift.chat import without_end
from drift.settings.training import LabelWeightSettings, TrainSettings
from drift.training import kto, reference_logps
from tests.builders.training import launched, train_settings, training_run
from tests.builders.unpaired import small_replies

pytestmark = pytest.mark.slow

BETA = 0.4
WEIGHTS = {"desirable": 1.5, "undesirable": 0.7}


def kto_settings(losses: float = 1.0, weights: dict | None = None, **training) -> TrainSettings:
    asked = LabelWeightSettings.model_validate({"desirable": None, "undesirable": None} | (weights or {}))
    return train_settings({"beta": BETA, "losses": {"kto": losses}} | training, label_weights=asked)


def made_trainer(rows, settings, reference, model, tokenizer, folder) -> kto.Trainer:
    arguments = kto.arguments(settings, training_run(), folder, rows)
    dataset = kto.as_dataset(rows, settings)
    return kto.Trainer(model, arguments, reference, train_dataset=dataset, processing_class=tokenizer)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def written_out(logps, reference, desirable, z, weights) -> tuple[float, list[float]]:
    """The mean KTO loss of some replies (Ethayarajh et al. 2024), and its slope in each log
    pi(y|x): w (1 - sigma(a)) has the slope -w sigma(a) (1 - sigma(a)) in a."""
    total, slopes = 0.0, []
    for logp, ref, good in zip(logps, reference, desirable, strict=True):
        sign, weight = (1, weights["desirable"]) if good else (-1, weights["undesirable"])
        value = sigmoid(sign * BETA * ((logp - ref) - z))
        total += weight * (1 - value)
        slopes.append(-weight * value * (1 - value) * sign * BETA / len(logps))
    return total / len(logps), slopes


@pytest.mark.parametrize("moved", [[2.0, 4.0, -1.0, 1.5], [-3.0, 1.0, -1.0, 0.0]], ids=["KL above 0", "KL below 0 is 0"])
def test_loss_and_gradient_are_those_of_the_formula(tiny_model, tokenizer, tmp_path, moved):
    """In fp64: a stand-in for the model gives log-probabilities to be differentiated in."""
    rows, settings = small_replies(tokenizer, 4), kto_settings(weights=WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    made = made_trainer(rows, settings, dict.fromkeys(rows["prompt_id"], (0.0, 0.0)), model, tokenizer, tmp_path)
    batch = made.data_collator(list(made.train_dataset))
    torch.manual_seed(0)
    reference = -20 + 3 * torch.randn(4, dtype=torch.float64)
    logps = (reference + 4 * torch.randn(4, dtype=torch.float64)).requires_grad_()
    other = -30 + torch.randn(4, dtype=torch.float64)
    batch |= {"ref_logps": reference, "ref_KL_logps": other}

    def answer(input_ids, **_):
        # All of a sequence's log-probability on its first token: that is its sum.
        is_other = input_ids.shape == batch["KL_input_ids"].shape and torch.equal(input_ids, batch["KL_input_ids"])
        sums = other + torch.tensor(moved, dtype=torch.float64) if is_other else logps
        table = torch.nn.functional.pad(sums[:, None], (0, input_ids.shape[1] - 2))
        return SimpleNamespace(log_probs=table, entropy=torch.zeros_like(table), mean_logits=torch.zeros_like(table))

    made.model_wrapped = type("Model", (), {"eval": lambda self: self, "__call__": lambda self, **asked: answer(**asked)})()
    made.moved = made.mean_moved([batch])
    assert made.moved.item() == pytest.approx(sum(moved) / 4, abs=1e-9)
    loss = made.compute_loss(answer, batch)
    loss.backward()
    z = max(0.0, sum(moved) / 4)
    expected, slopes = written_out(logps.tolist(), reference.tolist(), batch["label"].tolist(), z, WEIGHTS)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert logps.grad.tolist() == pytest.approx(slopes, abs=1e-6)


def reply_logp(model, prompt: list[int], reply: list[int]) -> torch.Tensor:
    ids = prompt + reply
    table = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return torch.stack([table[at - 1, ids[at]] for at in range(len(prompt), len(ids))]).sum()


def test_the_first_steps_are_those_of_a_loop_written_out(tiny_model, tokenizer, tmp_path):
    """Reference, batches, y' and its mean over a step of two batches, weights, gradients,
    optimizer."""
    rows, settings = small_replies(tokenizer, 12), kto_settings(precision="fp32", learning_rate=1e-3)
    tokens = kto.token_rows(rows, settings)
    reference = reference_logps.score_pairs(tiny_model, None, tokens, settings.training, tokenizer.pad_token_id, "reference")
    # A reference that finds y' less likely: KL is above 0 from the first step.
    reference = {pair_id: (own, other - 0.3 * place) for place, (pair_id, (own, other)) in enumerate(reference.items())}
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    made = made_trainer(rows, settings, reference, model, tokenizer, tmp_path)
    made.train()
    logged = [entry for entry in made.state.log_history if "loss" in entry]

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    optimizer = torch.optim.RMSprop(plain.parameters(), lr=1e-3)
    desirable = dict(rows.select("prompt_id", "desirable").iter_rows())
    # 4 desirable replies and 8 others: both labels weigh the same together.
    weight = {True: 2.0, False: 1.0}
    steps = len(tokens) // 4
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * (step if step < 1 else (steps - step) / (steps - 1))
        batch = tokens[4 * step : 4 * step + 4]
        with torch.no_grad():
            others = [reply_logp(plain, row["prompt_ids"], row["rejected_ids"]) for row in batch]
        moved = [logp.item() - reference[row["pair_id"]][1] for logp, row in zip(others, batch, strict=True)]
        z = max(0.0, sum(moved) / 4)
        losses = []
        for row in batch:
            good = desirable[row["pair_id"]]
            r = reply_logp(plain, row["prompt_ids"], row["chosen_ids"]) - reference[row["pair_id"]][0]
            losses.append(weight[good] * (1 - torch.sigmoid((1 if good else -1) * BETA * (r - z))))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        assert logged[step]["kl"] == pytest.approx(z, abs=1e-3)
        assert logged[step]["loss"] == pytest.approx(loss.item(), abs=1e-4)
        assert logged[step]["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
    assert logged[0]["kl"] > 0.1
    assert abs(logged[-1]["rewards/rejected"]) > 0.1, "the steps moved nothing"
    for (parameter, got), want in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        assert (got - want).norm() <= 1e-4 * want.norm(), parameter


def test_another_reply_is_the_one_before_it_in_a_devices_batch():
    assert kto.preceding(["a", "b", "c", "d", "e", "f"], 3) == ["c", "a", "b", "f", "d", "e"]
    assert kto.preceding(["a", "b", "c", "d", "e"], 2) == ["b", "a", "d", "c", "a"], "the last batch is e and a"
    assert kto.preceding(["a", "b", "c"], 4) == ["c", "a", "b"], "none is its own"


@pytest.mark.parametrize(
    ("asked", "weights", "said"),
    [
        (
            {},
            (2.0, 1.0),
            "4 desirable replies of weight 2, 8 undesirable ones of 1: the former weigh 1.00 times as much, within",
        ),
        ({"desirable": 2.6}, (2.6, 1.0), "weigh 1.30 times as much, within"),
        ({"desirable": 1.0}, (1.0, 1.0), "weigh 0.50 times as much, outside the authors' 1 to 4/3"),
    ],
)
def test_both_labels_weigh_the_same_unless_asked(tokenizer, capsys, asked, weights, said):
    rows, settings = small_replies(tokenizer, 12), kto_settings(weights=asked)
    assert kto.label_weights(rows, settings.label_weights) == weights
    gates = kto.Gates()
    kept, _ = kto.selected(gates, rows, [], {}, settings)
    assert kept.equals(rows)
    (gate,) = gates.results
    assert said in gate["detail"]
    assert ("warning: 4 desirable" in capsys.readouterr().err) == ("outside" in said)
    assert kto.arguments(kto_settings(3.0, asked), training_run(), "x", rows).desirable_weight == 3 * weights[0]


# As the rule calls it


@pytest.fixture
def run_kto(run_train, tokenizer, tmp_path):
    """`run_train` on single replies; `run_kto.command` likewise."""
    rows = small_replies(tokenizer, 16)
    tables.write_table(rows, tables.Unpaired, tmp_path / "unpaired.parquet")

    def options(changed: dict) -> dict:
        settings = {"label_weights": {"desirable": None, "undesirable": None}} | changed.pop("settings", {})
        training = {"losses": {"kto": 1.0}} | changed.pop("training", {})
        return {"settings": settings, "training": training, "rows": tmp_path / "unpaired.parquet"} | changed

    def program(folder, **changed) -> dict:
        return run_train(folder, **options(changed))

    program.command = lambda folder, **changed: run_train.command(folder, **options(changed))
    return program


def test_single_replies_are_trained_on_through_the_program_and_resumed_to_the_same_weights(run_kto, tmp_path):
    whole = run_kto(tmp_path / "whole")
    assert whole["steps_done"] == whole["steps_planned"] == 4
    gates = {row["gate"]: row for row in json.loads((tmp_path / "whole/gates.json").read_text())["gates"]}
    assert all(row["passed"] for row in gates.values())
    assert gates["scored reply = trained reply"]["detail"] == "16 replies"
    assert "within the authors' 1 to 4/3" in gates["label weights"]["detail"]
    log = tables.read_table(tables.TrainLog, tmp_path / "whole/train.parquet")
    assert {"loss", "kl", "rewards/chosen", "rewards/rejected"} <= set(log["metric"])
    assert tables.read_table(tables.Logps, tmp_path / "whole/reference.parquet").is_empty()
    for step in (1, 2):
        with pytest.raises(cli.StageError, match=f"stopped after {step} of 4 steps"):
            run_kto(tmp_path / "stopped", run={"deadline": 0.0, "checkpoint_steps": 50})
    resumed = run_kto(tmp_path / "stopped")
    assert (resumed["weights_sha256"], resumed["remainder_sha256"]) == (whole["weights_sha256"], whole["remainder_sha256"])


def test_adapters_resume_to_the_same_weights(run_kto, tmp_path):
    lora = {"training": {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": "all-linear"}, "learning_rate": 1e-2}}
    whole = run_kto(tmp_path / "whole", **lora)
    with pytest.raises(cli.StageError, match="stopped after 1 of 4"):
        run_kto(tmp_path / "stopped", run={"deadline": 0.0}, **lora)
    assert run_kto(tmp_path / "stopped", **lora)["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.parametrize("launcher", ["ddp", "fsdp2"])
def test_two_devices_train_what_one_does(run_kto, tokenizer, tmp_path, warm_environments, launcher):
    """TRL by itself would compare the replies of both devices in one and of one in the other. The
    last step is filled up."""
    tables.write_table(small_replies(tokenizer, 17), tables.Unpaired, tmp_path / "unpaired.parquet")
    precise = {"training": {"precision": "fp32"}}
    run_kto(tmp_path / "one", **precise)
    done = launched(run_kto.command(tmp_path / "two", **precise), launcher, warm_environments["cpu"])
    assert done.returncode == 0, done.stderr[:30000]
    logs = [tables.read_table(tables.TrainLog, tmp_path / folder / "train.parquet") for folder in ("one", "two")]
    for metric in ("loss", "kl", "grad_norm"):
        one, two = (log.filter(metric=metric)["value"].to_list() for log in logs)
        assert one == pytest.approx(two, rel=1e-3, abs=1e-5), metric
    one, two = (AutoModelForCausalLM.from_pretrained(tmp_path / folder / "policy").state_dict() for folder in ("one", "two"))
    for name, weights in one.items():
        assert (weights - two[name]).norm() < 1e-2 * weights.norm(), name


PLANTED = {
    "a reply of other tokens": (
        {"reply_token_ids": pl.col("reply_token_ids").list.reverse()},
        "'scored reply = trained reply' failed: 2 of 16 replies",  # it is the y' of another one too
    ),
    "a prompt of others": (
        {"prompt_token_ids": pl.col("prompt_token_ids").list.reverse()},
        "'sampling prompt = training prompt'",
    ),
    "one that is cut and is not": ({"cut": ~pl.col("cut")}, "'scored reply = trained reply' failed"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_stopped_before_the_first_step(run_kto, tmp_path, fault):
    path, (changed, said) = tmp_path / "unpaired.parquet", PLANTED[fault]
    rows = tables.read_table(tables.Unpaired, path)
    one = pl.col("prompt_id") == "s:3/0"
    columns = [pl.when(one).then(value).otherwise(pl.col(name)).alias(name) for name, value in changed.items()]
    tables.write_table(rows.with_columns(columns), tables.Unpaired, path)
    with pytest.raises(cli.StageError, match=said):
        run_kto(tmp_path / "run")
    assert not list((tmp_path / "run").glob("state/*/checkpoint-*"))


def test_a_cut_reply_is_trained_on_without_an_end_of_turn(run_kto, tokenizer, tmp_path):
    path, end = tmp_path / "unpaired.parquet", tokenizer.eos_token_id
    rows = tables.read_table(tables.Unpaired, path).to_dicts()
    rows[3] |= {"cut": True, "reply_token_ids": without_end(rows[3]["reply_token_ids"], end)}
    tables.write_table(pl.DataFrame(rows, schema=tables.Unpaired.create_empty().schema), tables.Unpaired, path)
    assert run_kto(tmp_path / "run")["steps_done"] == 4
    log = tables.read_table(tables.TrainLog, tmp_path / "run/train.parquet")
    (first,) = log.filter(metric="rewards/rejected", step=1)["value"]
    assert abs(first) < 1e-2, "the reference has scored the same tokens"


def test_replies_of_one_label_are_refused(run_kto, tmp_path):
    path = tmp_path / "unpaired.parquet"
    rows = tables.read_table(tables.Unpaired, path)
    tables.write_table(rows.with_columns(desirable=pl.lit(True)), tables.Unpaired, path)
    with pytest.raises(cli.StageError, match=r"unpaired\.parquet has replies of one label alone, and KTO needs both"):
        run_kto(tmp_path / "run")


def test_each_loss_of_single_replies_has_its_own_trainer():
    assert plugins.trainer_of(["kto"]) == "kto"
    assert plugins.trainer_of(["sigmoid", "sft"]) == plugins.trainer_of([]) == "pairs"
