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
from drift.chat import load_tokenizer
from drift.metrics.resampling import Clusters, bounded_mean
from drift.training import cpu_packing
from drift.training.divergences import divergences, own_replies
from drift.training.logps import pair_logps, recompute_layers
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
    first = diagnostics.sample(rows, "pair_id", 5, 42)
    assert first == diagnostics.sample(rows[::-1], "pair_id", 5, 42) != diagnostics.sample(rows, "pair_id", 5, 43)
    assert len(diagnostics.sample(rows, "pair_id", 50, 42)) == 20


def pair(number: int, chosen: list[int], rejected: list[int]) -> dict:
    return {"pair_id": f"s:{number}/0", "prompt_ids": [1, 4, 9], "chosen_ids": chosen, "rejected_ids": rejected}


def test_layers_that_are_computed_again_give_the_same_gradients_and_keep_less():
    rows = [pair(0, [5, 7, 2], [6, 2]), pair(1, [3, 2], [8, 8, 2]), pair(2, [9, 2], [4, 2])]
    sigma = dict.fromkeys([row["pair_id"] for row in rows], 0.5)
    found, kept = [], []
    for again in (False, True):
        model = small_llama().eval()
        if again:
            recompute_layers(model)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: (sizes.append(tensor.numel()), tensor)[1], lambda t: t):  # noqa: B023
            pair_logps(model, rows[0])
        kept.append(sum(sizes))
        found.append(diagnostics.gradients(model, rows, sigma, 0.1))
    for pair_id, values in found[0].items():
        assert found[1][pair_id] == pytest.approx(values, rel=1e-5)
    assert kept[1] < kept[0] / 2


@pytest.mark.parametrize("copies", [1, 2], ids=["two pairs", "four"])
def test_pairs_that_pull_against_each_other_have_gradients_and_no_common_one(copies):
    """A pair and its mirror image."""
    mirrors = [[5, 7, 2], [6, 2]]
    rows = [pair(number, *mirrors[:: 1 if number % 2 else -1]) for number in range(2 * copies)]
    beta, half = 0.1, dict.fromkeys([row["pair_id"] for row in rows], 0.5)
    found = diagnostics.gradients(small_llama(), rows, half, beta)
    norm = found["s:0/0"][0]
    assert norm > 0.1
    square = (beta * 0.5 * norm) ** 2
    # Of the others of four pairs one pulls along and two against it; of two pairs one against it.
    expected = {2: -square, 4: (1 - 2) * square / 3}[len(rows)]
    for other, product in found.values():
        assert other == pytest.approx(norm, rel=1e-4)
        assert product == pytest.approx(expected, rel=1e-4)


def noisy_pairs(count: int, planted: bool) -> list[dict]:
    """Pairs of random replies of seven tokens. planted: every y+ begins alike; else either side of
    a pair is y+ by a coin, so that the gradient has no expectation."""
    random, rows = torch.Generator().manual_seed(1), []
    for number in range(count):
        a, b = (torch.randint(6, 32, (6,), generator=random).tolist() for _ in range(2))
        a = [5, 5, 5, *a[3:]]
        if not planted and torch.rand(1, generator=random) < 0.5:
            a, b = b, a
        rows.append(pair(number, [*a, 2], [*b, 2]))
    return rows


@pytest.mark.parametrize("planted", [False, True])
def test_the_norm_of_the_mean_gradient_is_no_noise_floor(planted):
    rows, beta = noisy_pairs(32, planted), 0.1
    half = dict.fromkeys([row["pair_id"] for row in rows], 0.5)
    found = diagnostics.gradients(small_llama(), rows, half, beta)
    norms = [(pair_id, "before", norm, beta * 0.5 * norm, product) for pair_id, (norm, product) in found.items()]
    table = pl.DataFrame(norms, schema=tables.Gradients.create_empty().schema, orient="row")
    estimates = diagnostics.signal(table)
    squared, ratio = estimates["mean_gradient_norm_squared"], estimates["gradient_signal_to_noise"]
    floor = table["gradient_norm"].pow(2).mean() / 32
    assert squared.n == 32
    if planted:
        assert squared.low > 2 * floor
        assert ratio.low > 0.1
    else:
        assert squared.low < 0 < squared.high
        assert abs(squared.value) < floor / 2, "the norm of the plain mean would have been the floor's root"
        assert abs(ratio.value) < 0.02


@pytest.mark.parametrize("read", ["one after the other", "in one go"])
def test_a_pairs_gradient_is_that_of_its_loss(read):
    model, beta, sigma = small_llama(), 0.1, 0.3
    if read == "in one go":
        assert cpu_packing.prepare(model)
    norm, product = diagnostics.gradients(model, [pair(0, [5, 7, 2], [6, 2])], {"s:0/0": sigma}, beta)["s:0/0"]
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
    assert norm * beta * sigma == pytest.approx(expected, rel=1e-4)
    assert product is None, "there is no other pair"


def test_the_divergence_is_the_exact_sum_over_the_vocabulary_of_each_reply():
    policy, other = small_llama(), small_llama()
    rows = [
        {"prompt_id": "a", "prompt_ids": [1, 4, 9], "reply_ids": [5, 7, 2]},
        {"prompt_id": "b", "prompt_ids": [1], "reply_ids": [3]},
    ]
    assert divergences(policy, other, rows) == [0.0, 0.0]
    other.lm_head.weight.data += 0.5 * torch.randn_like(other.lm_head.weight)
    expected = []
    for row in rows:
        ids, first = torch.tensor([row["prompt_ids"] + row["reply_ids"]]), len(row["prompt_ids"]) - 1
        terms = []
        for position in range(first, ids.shape[1] - 1):
            p, q = (model(ids).logits[0, position].softmax(-1) for model in (policy, other))
            terms.append((p * (p / q).log()).sum().item())
        expected.append(sum(terms) / len(terms))
    assert divergences(policy, other, rows) == pytest.approx(expected, rel=1e-4)


def test_a_reply_counts_once_however_long_it_is():
    clusters = Clusters.alone(["a", "b", "c", "d"])
    estimate = bounded_mean(["a", "b", "c"], [0.1, 0.2, 0.6], clusters, resamples=200, seed=1)
    assert estimate.value == pytest.approx(0.3)
    assert 0.1 <= estimate.low < 0.3 < estimate.high <= 0.6
    assert estimate.n == 3


def test_own_replies_are_drawn_as_the_policy_would_and_by_the_prompt_alone(tiny_model):
    ids = load_tokenizer(tiny_model).encode("What is a river?")
    rows = [{"prompt_id": f"p{number}", "prompt_ids": [*ids, *ids[:number]], "reply_ids": []} for number in range(3)]
    replies = own_replies(tiny_model, rows, max_tokens=6, seed=1)
    assert [row["prompt_id"] for row in replies] == ["p0", "p1", "p2"]
    assert [row["prompt_ids"] for row in replies] == [row["prompt_ids"] for row in rows]
    assert all(1 <= len(row["reply_ids"]) <= 6 for row in replies)
    assert own_replies(tiny_model, rows[::-1], max_tokens=6, seed=1) == replies[::-1]
    assert own_replies(tiny_model, rows, max_tokens=6, seed=2) != replies


def test_lemma_1s_bound_holds_and_the_events_are_counted():
    table = diagnostics.margins(BEFORE, BEFORE, AFTER, beta=0.1)
    sigma = dict(table.select("pair_id", "sigma_minus_s").iter_rows())
    norms = pl.DataFrame(
        [
            {"pair_id": pair_id, "moment": moment, "d_norm": 3.0, "gradient_norm": 0.1 * weight * 3.0, "mean_product": 0.01}
            for pair_id, after in sigma.items()
            for moment, weight in (("before", 0.5), ("after", after))
        ]
    )
    pairs = pl.DataFrame({"chosen_tokens": [4, 5, 6], "rejected_tokens": [10, 20, 30]})
    rows = diagnostics.summary(table, pairs, norms, beta=0.1)
    value = {(row["metric"], row["moment"]): row["value"] for row in rows}
    assert value["p_sigma_ge_0.4", "after"] == pytest.approx(2 / 3), "0.5 and 0.574 are above, 0.378 is not"
    assert value["p_sigma_ge_0.5", "before"] == 1.0
    assert value["lemma1_bound_0.4", "after"] == pytest.approx(0.1 * 0.4 * (2 / 3) * 3.0)
    for tau in diagnostics.THRESHOLDS:
        assert value[f"lemma1_bound_{tau}", "after"] <= value["pair_gradient_norm", "after"]
    assert value["chosen_logp_fell", "after"] == pytest.approx(1 / 3)
    assert (value["chosen_tokens", "before"], value["rejected_tokens", "before"]) == (5.0, 20.0)
    assert value["lemma1_bound_0.5", "before"] == value["pair_gradient_norm", "before"], "what it shows of any method"
    assert value["mean_gradient_norm_squared", "before"] == pytest.approx(0.01)
    tables.Diagnostics.validate(pl.DataFrame(rows, schema=tables.Diagnostics.create_empty().schema))


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
            "settings": json.dumps(
                {"seed": 1, "reference": "previous", "pairs": 4, "prompts": 3, "max_tokens": 5, "training": training}
            ),
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
        whole = table.filter(pl.col("metric").is_in(["mean_gradient_norm_squared", "kl_previous", "kl_logged_previous"]))
        assert (whole["low"] <= whole["value"]).all()
        assert (whole["value"] <= whole["high"]).all()
        assert whole.height == 4
        return value | {"margins": tables.read_table(tables.Margins, options["margins"])}

    moved, still = measured(tmp_path / "policy", "moved"), measured(tiny_model, "still")
    assert still["margins"]["s"].to_list() == [0.0] * 16, "scored in other batches, or another precision, than the reference"
    assert still["kl_previous", "after"] == still["kl_logged_previous", "after"] == 0.0
    assert moved["kl_previous", "after"] == moved["kl_initial", "after"] > 0.0
    assert moved["kl_logged_previous", "after"] == moved["kl_logged_initial", "after"] != moved["kl_previous", "after"]
    assert moved["margins"]["s"].mean() > 0.1
    assert moved["rejected_logp", "after"] < moved["rejected_logp", "before"] == still["rejected_logp", "after"]
    assert moved["mean_gradient_norm_squared", "before"] <= moved["pair_gradient_norm", "before"] ** 2 * (1 + 1e-6)
