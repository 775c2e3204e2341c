"""Whether an iteration's pairs teach what users want: against slopes that are worked out, and gains
that are known."""

import json
import sys

import polars as pl
import pytest
import torch

import improvement
from drift import tables
from drift.chat import load_tokenizer, render
from drift.settings.training import ImprovementSettings
from drift.training import cpu_packing, directional
from drift.training.logps import reply_logp
from tests.builders.texts import write
from tests.builders.training import small_llama

SETTINGS = ImprovementSettings(seed=1, answers=2000, pairs=32, temperature=0.7)
PROMPT = [1, 4, 9]


def moved(step: float, seed: int = 3):
    """A policy and what `step` times a random direction makes of it; the direction is in `.grad` of
    the first."""
    model, other = small_llama(), small_llama()
    generator = torch.Generator().manual_seed(seed)
    for parameter, changed in zip(model.parameters(), other.parameters(), strict=True):
        parameter.grad = torch.randn(parameter.shape, generator=generator)
        changed.data += step * parameter.grad
    return model, other


@pytest.mark.parametrize("packed", [False, True])
def test_a_derivative_is_what_a_small_step_does_to_a_reply_and_the_direction_stays(packed):
    model, there = moved(1e-3)
    back = moved(-1e-3)[1]
    if packed:
        assert all(cpu_packing.prepare(one) for one in (model, there, back))
    before = [parameter.grad.clone() for parameter in model.parameters()]
    replies = [(PROMPT, [5, 7, 2]), (PROMPT[:1], [6])]
    found = directional.derivatives(model, replies, 0.7)
    expected = [(reply_logp(there, *reply, 0.7) - reply_logp(back, *reply, 0.7)).item() / 2e-3 for reply in replies]
    assert found == pytest.approx(expected, rel=5e-3)
    assert all(torch.equal(parameter.grad, kept) for parameter, kept in zip(model.parameters(), before, strict=True))


def test_the_direction_of_pairs_is_the_mean_of_what_makes_their_margins_grow():
    model = small_llama()
    rows = [
        {"pair_id": str(number), "prompt_ids": PROMPT, "chosen_ids": [5, 2], "rejected_ids": [6 + number, 2]}
        for number in range(2)
    ]
    directional.towards_pairs(model, rows)
    plain = small_llama()
    margin = sum(reply_logp(plain, PROMPT, row["chosen_ids"]) - reply_logp(plain, PROMPT, row["rejected_ids"]) for row in rows)
    (margin / 2).backward()
    for parameter, expected in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(parameter.grad, expected.grad, atol=1e-6)


def planted(model, count: int, generator: torch.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers of one token that the policy samples at temperature 0.7, and their checks: each of
    three directions wants a token of its own."""
    with torch.no_grad():
        shares = (model(torch.tensor([PROMPT])).logits[0, -1] / 0.7).softmax(-1)
    tokens = torch.multinomial(shares, count, replacement=True, generator=generator).tolist()
    names = ("shorter", "neutral", "longer")
    answers = [
        {"prompt_id": f"p{number}", "sample": 0, "prompt_ids": PROMPT, "reply_ids": [token]}
        for number, token in enumerate(tokens)
    ]
    checks = [
        {"prompt_id": f"p{number}", "sample": 0, "check": names[number % 3], "direction": names[number % 3]}
        | {"passed": token % 4 == number % 3}
        for number, token in enumerate(tokens)
    ]
    return pl.DataFrame(answers), pl.DataFrame(checks)


def pass_rate(model) -> float:
    """J of a policy that is asked this prompt, exactly."""
    with torch.no_grad():
        shares = (model(torch.tensor([PROMPT])).logits[0, -1] / 0.7).softmax(-1)
    return sum(float(shares[wanted::4].sum()) for wanted in range(3)) / 3


def test_the_predicted_gain_is_the_slope_of_the_pass_rate():
    model, there = moved(0.01)
    exact = (pass_rate(there) - pass_rate(moved(-0.01)[1])) / 0.02
    answers, checks = planted(model, 900, torch.Generator().manual_seed(2))
    slope = improvement.Slope(model, answers, improvement.advantages(checks), SETTINGS)
    found = slope.along(lambda: None)
    assert found.low < exact < found.high
    assert found.high - found.low < 4 * abs(exact), "the answers say something"
    assert found.n == 900
    opposite = slope.along(lambda: [parameter.grad.neg_() for parameter in model.parameters()])
    assert opposite.value == pytest.approx(-found.value)


def test_an_advantage_is_over_the_answers_to_other_prompts_with_the_same_check():
    rows = [("a", 0, "x", True), ("a", 1, "x", False), ("b", 0, "x", True), ("c", 0, "x", False), ("d", 0, "y", True)]
    checks = pl.DataFrame(rows, schema=["prompt_id", "sample", "check", "passed"], orient="row")
    assert improvement.advantages(checks)["advantage"].to_list() == pytest.approx([0.5, -0.5, 1 - 1 / 3, -2 / 3, 0.0])


def test_pairs_are_told_apart_by_which_side_keeps_more():
    sides = {"s:a#1": (1.0, 0.5), "b": (0.0, 0.0), "c": (0.0, 1.0), "d": (1.0, 0.0)}
    ranks = [
        {"request_id": f"{pair}#{side}", "score": score}
        for pair, scores in sides.items()
        for side, score in zip(("chosen", "rejected"), scores, strict=True)
    ]
    signs = improvement.differences(pl.DataFrame(ranks))
    assert dict(signs.iter_rows()) == {"s:a#1": 1.0, "b": 0.0, "c": -1.0, "d": 1.0}
    found = improvement.shares(signs, seed=1)
    assert {name: share.value for name, share in found.items()} == {"p_imp": 0.5, "p_tie": 0.25, "p_worse": 0.25}
    assert found["p_imp"].low < 0.5 < found["p_imp"].high


def test_the_measured_gain_is_of_the_same_prompts_each_direction_counting_alike():
    rows = [(f"p{n}", 0, "longer" if n < 10 else "shorter") for n in range(40)]
    before = pl.DataFrame([(*row, False) for row in rows], schema=["prompt_id", "sample", "direction", "passed"], orient="row")
    after = before.with_columns(passed=(pl.col("direction") == "longer") | pl.col("prompt_id").is_in(["p10", "p11", "p12"]))
    found = improvement.measured_gain(before, after, seed=1)
    assert found.value == pytest.approx((1.0 + 0.1) / 2)
    assert found.low < found.value < found.high
    assert found.n == 40


@pytest.fixture
def written(tiny_model, tmp_path):
    """What the stage reads, of six prompts; of the answers one is cut and one is empty."""
    tokenizer = load_tokenizer(tiny_model)
    requests, responses, checks, after = [], [], [], []
    for number in range(6):
        key = {"prompt_id": f"p{number}", "sample": 0}
        chat = [{"role": "user", "content": f"Tell me about {number}."}]
        asked = {"request_id": f"p{number}#plain-0", "kind": "plain", "seed": 1, "messages": chat}
        requests.append(key | asked | {"prompt_token_ids": render(tokenizer, chat)})
        answer = {"response": "" if number == 5 else f"It is {number}.", "finish_reason": "length" if number == 4 else "stop"}
        responses.append(key | answer | {"completion_tokens": 4})
        found = key | {"check": "no_list", "direction": "neutral"}
        checks.append(found | {"passed": number % 2 == 0})
        after.append(found | {"passed": True})
    pairs, ranks = [], []
    for number in range(4):
        pair = {"pair_id": f"q{number}", "prompt": requests[0]["messages"], "prompt_token_ids": requests[0]["prompt_token_ids"]}
        for side, score in (("chosen", number % 2), ("rejected", 0)):
            pair |= {side: side, f"{side}_from": "logged", f"{side}_cut": False, f"{side}_tokens": 3}
            pair[f"{side}_token_ids"] = [10 + number, 20 if side == "chosen" else 30, tokenizer.eos_token_id]
            ranks.append({"request_id": f"q{number}#{side}", "score": float(score)})
        pairs.append(pair | {"alludes": False})
    rows = {"requests": (requests, tables.Requests), "responses": (responses, tables.Responses), "pairs": (pairs, tables.Pairs)}
    rows |= {"checks": (checks, tables.Checks), "checks-after": (after, tables.Checks), "ratings": (ranks, tables.Ranks)}
    for name, (table, schema) in rows.items():
        write(table, schema, tmp_path / f"{name}.parquet")
    return tmp_path, list(rows), tokenizer


def measured(folder, names, monkeypatch, policies, **settings) -> dict[str, dict]:
    values = {"seed": 1, "answers": 64, "pairs": 8, "temperature": 0.7} | settings
    words = [word for name in names for word in (f"--{name}", str(folder / f"{name}.parquet"))]
    words += ["--policies", *map(str, policies), "--settings", json.dumps(values)]
    monkeypatch.setattr(sys, "argv", ["improvement.py", *words, "--improvement", str(folder / "improvement.parquet")])
    improvement.main()
    table = tables.read_table(tables.Improvement, folder / "improvement.parquet")
    return {row["metric"]: row for row in table.iter_rows(named=True)}


def test_an_iteration_is_measured_from_its_files_and_a_policy_that_did_not_move_gains_nothing(written, tiny_model, monkeypatch):
    folder, names, _ = written
    found = measured(folder, names, monkeypatch, [tiny_model, tiny_model])
    assert found.keys() == {*improvement.SHARES.values(), "measured_gain", "predicted_gain", "lambda_imp", "lambda_rest"}
    assert found["measured_gain"]["value"] == pytest.approx(0.5)
    assert found["predicted_gain"]["value"] == 0.0
    assert found["predicted_gain"]["n"] == 5, "an empty answer has no gradient"
    assert found["lambda_imp"]["value"] != found["lambda_rest"]["value"]
    assert found["p_imp"]["value"] == 0.5


@pytest.mark.parametrize("settings", [{"answers": 0}, {"temperature": 0.0}], ids=["none wanted", "greedy"])
def test_without_sampled_answers_only_what_is_counted_is_there(written, monkeypatch, tmp_path, settings):
    folder, names, _ = written
    without = [name for name in names if name != "ratings"]
    found = measured(folder, without, monkeypatch, [tmp_path / "nowhere", tmp_path / "nowhere"], **settings)
    assert found.keys() == {"measured_gain"}


def test_of_a_policy_without_a_word_only_what_is_counted_is_there(written, tiny_model, monkeypatch, capsys):
    folder, names, _ = written
    responses = tables.read_table(tables.Responses, folder / "responses.parquet").with_columns(response=pl.lit(" "))
    write(responses.to_dicts(), tables.Responses, folder / "responses.parquet")
    found = measured(folder, names, monkeypatch, [tiny_model, tiny_model])
    assert found.keys() == {*improvement.SHARES.values(), "measured_gain"}
    assert "no answer" in capsys.readouterr().out


def test_an_answer_ends_where_the_policy_ended_it(written):
    folder, _, tokenizer = written
    requests, responses = (
        tables.read_table(schema, folder / f"{name}.parquet")
        for name, schema in (("requests", tables.Requests), ("responses", tables.Responses))
    )
    rows = {row["prompt_id"]: row["reply_ids"] for row in improvement.answers(requests, responses, tokenizer, 9, 1).to_dicts()}
    assert rows.keys() == {f"p{number}" for number in range(5)}
    ends = {
        prompt: ids[-1] == tokenizer.eos_token_id and ids.count(tokenizer.eos_token_id) == 1 for prompt, ids in rows.items()
    }
    assert ends == {"p0": True, "p1": True, "p2": True, "p3": True, "p4": False}
    assert improvement.answers(requests, responses, tokenizer, 2, 1).height == 2


def test_half_a_character_at_the_token_limit_is_no_part_of_an_answer(written):
    folder, _, tokenizer = written
    requests, responses = (
        tables.read_table(schema, folder / f"{name}.parquet")
        for name, schema in (("requests", tables.Requests), ("responses", tables.Responses))
    )
    split = responses.with_columns(
        response=pl.when(finish_reason="length").then(pl.col("response") + " \ufffd").otherwise("response")
    )
    found, plain = (
        {row["prompt_id"]: row["reply_ids"] for row in improvement.answers(requests, table, tokenizer, 9, 1).to_dicts()}
        for table in (split, responses)
    )
    assert tokenizer.decode(found["p4"]).rstrip() == tokenizer.decode(plain["p4"])
