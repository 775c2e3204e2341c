"""What an iteration did, measured: against numbers worked out by hand, and on policies whose
distance is known."""

import json
import math
import sys

import polars as pl
import pytest
import torch

import diagnostics
from drift import tables
from drift.training import cpu_packing
from tests.builders.training import small_llama

BEFORE = {"s:0/0": (-10.0, -20.0), "s:1/0": (-10.0, -20.0), "s:2/0": (-10.0, -20.0)}
AFTER = {"s:0/0": (-10.0, -20.0), "s:1/0": (-8.0, -23.0), "s:2/0": (-12.0, -19.0)}


def test_a_margin_is_how_far_a_pair_has_moved_from_the_reference_towards_its_chosen_side():
    moved = diagnostics.margins(BEFORE, BEFORE, AFTER, beta=0.1)
    assert moved["s"].to_list() == pytest.approx([0.0, 0.5, -0.3])
    assert moved["sigma_minus_s"].to_list() == pytest.approx([0.5, 1 / (1 + math.exp(0.5)), 1 / (1 + math.exp(-0.3))])
    assert moved["s_before"].to_list() == [0.0] * 3
    assert moved["sigma_minus_s_before"].to_list() == [0.5] * 3
    tables.Margins.validate(moved)


def test_against_another_reference_the_margin_before_the_iteration_is_not_zero():
    moved = diagnostics.margins(BEFORE, AFTER, BEFORE, beta=0.1)
    assert moved["s_before"].to_list() == pytest.approx([0.0, 0.5, -0.3])
    assert moved["s"].to_list() == pytest.approx([0.0] * 3)


def test_the_sample_is_the_same_in_whatever_order_the_pairs_come():
    rows = [{"pair_id": f"s:{number}/0"} for number in range(20)]
    assert diagnostics.sample(rows, 5, 42) == diagnostics.sample(rows[::-1], 5, 42) != diagnostics.sample(rows, 5, 43)
    assert len(diagnostics.sample(rows, 50, 42)) == 20


def pair(number: int, chosen: list[int], rejected: list[int]) -> dict:
    return {"pair_id": f"s:{number}/0", "prompt_ids": [1, 4, 9], "chosen_ids": chosen, "rejected_ids": rejected}


def test_norms_of_single_gradients_and_of_their_mean_are_told_apart():
    """A pair and its mirror image pull against each other: each has a gradient, their mean has
    none."""
    rows = [pair(0, [5, 7, 2], [6, 2]), pair(1, [6, 2], [5, 7, 2])]
    norms, mean = diagnostics.gradients(small_llama(), rows, {"s:0/0": 0.5, "s:1/0": 0.5}, beta=0.1)
    assert norms["s:0/0"] == pytest.approx(norms["s:1/0"], rel=1e-4)
    assert norms["s:0/0"] > 0.1
    assert mean < 1e-5 * norms["s:0/0"]


@pytest.mark.parametrize("read", ["one after the other", "in one go"])
def test_a_pairs_gradient_is_that_of_its_loss(read):
    model, beta, sigma = small_llama(), 0.1, 0.3
    if read == "in one go":
        assert cpu_packing.prepare(model)
    norms, mean = diagnostics.gradients(model, [pair(0, [5, 7, 2], [6, 2])], {"s:0/0": sigma}, beta)
    plain = small_llama()
    logps = []
    for reply in ([5, 7, 2], [6, 2]):
        table = plain(torch.tensor([[1, 4, 9, *reply]])).logits[0].log_softmax(-1)
        logps.append(sum(table[2 + position, token] for position, token in enumerate(reply)))
    s = math.log(1 / sigma - 1)
    # The reference is chosen so that sigma(-s) is `sigma`.
    loss = -torch.nn.functional.logsigmoid(beta * ((logps[0] - logps[1]) - (logps[0] - logps[1]).detach()) + s)
    loss.backward()
    expected = sum(parameter.grad.pow(2).sum().item() for parameter in plain.parameters() if parameter.grad is not None) ** 0.5
    assert mean == pytest.approx(expected, rel=1e-4)
    assert norms["s:0/0"] * beta * sigma == pytest.approx(expected, rel=1e-4)


def test_the_divergence_is_the_exact_sum_over_the_vocabulary():
    policy, other = small_llama(), small_llama()
    rows = [{"prompt_ids": [1, 4, 9], "reply_ids": [5, 7, 2]}, {"prompt_ids": [1], "reply_ids": [3]}]
    assert diagnostics.kl(policy, other, rows) == 0.0
    other.lm_head.weight.data += 0.5 * torch.randn_like(other.lm_head.weight)
    total = 0.0
    for row in rows:
        ids, first = torch.tensor([row["prompt_ids"] + row["reply_ids"]]), len(row["prompt_ids"]) - 1
        for position in range(first, ids.shape[1] - 1):
            p, q = (model(ids).logits[0, position].softmax(-1) for model in (policy, other))
            total += (p * (p / q).log()).sum().item()
    assert diagnostics.kl(policy, other, rows) == pytest.approx(total / 4, rel=1e-4)


def test_lemma_1s_bound_holds_and_the_events_are_counted():
    table = diagnostics.margins(BEFORE, BEFORE, AFTER, beta=0.1)
    sigma = dict(table.select("pair_id", "sigma_minus_s").iter_rows())
    norms = pl.DataFrame(
        [
            {"pair_id": pair_id, "moment": moment, "d_norm": 3.0, "gradient_norm": 0.1 * weight * 3.0}
            for pair_id, after in sigma.items()
            for moment, weight in (("before", 0.5), ("after", after))
        ]
    )
    pairs = pl.DataFrame({"chosen_tokens": [4, 5, 6], "rejected_tokens": [10, 20, 30]})
    rows = diagnostics.summary(table, pairs, norms, {"before": 0.1, "after": 0.1}, beta=0.1)
    value = {(row["metric"], row["moment"]): row["value"] for row in rows}
    assert value["p_sigma_ge_0.4", "after"] == pytest.approx(2 / 3), "0.5 and 0.574 are above, 0.378 is not"
    assert value["p_sigma_ge_0.5", "before"] == 1.0
    assert value["lemma1_bound_0.4", "after"] == pytest.approx(0.1 * 0.4 * (2 / 3) * 3.0)
    for tau in diagnostics.THRESHOLDS:
        assert value[f"lemma1_bound_{tau}", "after"] <= value["pair_gradient_norm", "after"]
    assert value["chosen_logp_fell", "after"] == pytest.approx(1 / 3)
    assert (value["chosen_tokens", "before"], value["rejected_tokens", "before"]) == (5.0, 20.0)
    tables.Diagnostics.validate(pl.DataFrame(rows), cast=True)


@pytest.mark.slow
def test_an_iteration_is_measured_from_its_files_and_an_untrained_policy_has_not_moved(
    run_train,
    train_inputs,
    tiny_model,
    tmp_path,
    monkeypatch,
):
    run_train(tmp_path)
    training = {"beta": 0.1, "device_batch": 2, "max_length": 128, "precision": "bf16", "lora": None}

    def measured(trained, name: str) -> dict:
        options = {
            "settings": json.dumps({"seed": 1, "reference": "previous", "pairs": 4, "prompts": 3, "training": training}),
            "pairs": train_inputs / "pairs.parquet",
            "reference-logps": tmp_path / "reference.parquet",
            "heldout": train_inputs / "prompts.parquet",
            **{table: tmp_path / f"{name}-{table}.parquet" for table in ("margins", "gradients", "diagnostics")},
        }
        words = [str(word) for option, value in options.items() for word in (f"--{option}", value)]
        folders = [str(folder) for folder in (trained, tiny_model, tiny_model)]
        monkeypatch.setattr(sys, "argv", ["diagnostics.py", *words, "--policies", *folders])
        diagnostics.main()
        table = tables.read_table(tables.Diagnostics, options["diagnostics"])
        value = {(row["metric"], row["moment"]): row["value"] for row in table.iter_rows(named=True)}
        return value | {"margins": tables.read_table(tables.Margins, options["margins"])}

    moved, still = measured(tmp_path / "policy", "moved"), measured(tiny_model, "still")
    assert still["margins"]["s"].to_list() == [0.0] * 16, "scored in other batches, or another precision, than the reference"
    assert still["kl_previous", "after"] == 0.0
    assert moved["kl_previous", "after"] == moved["kl_initial", "after"] > 0.0
    assert moved["margins"]["s"].mean() > 0.1
    assert moved["rejected_logp", "after"] < moved["rejected_logp", "before"] == still["rejected_logp", "after"]
    assert 0 < moved["mean_gradient_norm", "before"] <= moved["pair_gradient_norm", "before"] * (1 + 1e-6)
