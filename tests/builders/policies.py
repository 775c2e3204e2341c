"""The tables of a run that belong to its policies: prompts, samples, pairs, training,
evaluation."""

import json
from pathlib import Path

import numpy as np

from drift import tables
from drift.ledger import LedgerBook
from drift.metrics.behaviour import MEASURES
from tests.builders.texts import some_text, write


def build_prompts(root: Path, pools: dict[str, list[dict]]) -> None:
    """The prompts of the model from every pool (rows by pool; `heldout`: the benchmark's tasks),
    and the requests of the benchmark."""
    model = root / "qwen-0.5b"
    for pool, rows in pools.items():
        prompts = [
            {
                "prompt_id": row["prompt_id"],
                "prompt": row["prompt"],
                "prompt_token_ids": [1, 2, 3],
                "turns_trimmed": 0,
                "split": row.get("split", "test"),
                "cluster": row["cluster"],
                "feedback": row["feedback"],
                "chosen": row.get("chosen"),
                "rejected": row.get("rejected", row.get("baseline")),
            }
            for row in rows
        ]
        path = model / "eval/heldout/prompts.parquet" if pool == "heldout" else model / f"prompts/{pool}.parquet"
        write(prompts, tables.Prompts, path)
        book = LedgerBook(pool, "prompts", "prompts", 1)
        tables.write_table(book.table(), tables.Ledger, path.with_suffix(".ledger.parquet"))
    build_requests(model / "eval/heldout", pools["heldout"], "plain")


def build_requests(folder: Path, rows: list[dict], *kinds: str) -> None:
    """One request of each kind for every row."""
    requests = [
        {
            "request_id": f"{row['prompt_id']}#{kind}-0",
            "prompt_id": row["prompt_id"],
            "kind": kind,
            "sample": 0,
            "messages": row["prompt"],
            "prompt_token_ids": [1],
            "seed": 1,
        }
        for row in rows
        for kind in kinds
    ]
    write(requests, tables.Requests, folder / "requests.parquet")


def build_completions(folder: Path, rows: list[dict], *kinds: str) -> None:
    """Replies to those requests: 100 tokens read and 7 written each, in one shard."""
    completions = [completion(row, kind, "A", 100, 7, "any") for row in rows for kind in kinds]
    write(completions, tables.Completions, folder / "completions/1-of-1.parquet")


def completion(row: dict, kind: str, text: str, read: int, written: int, model: str) -> dict:
    """A reply to the request of that kind for a row."""
    return {
        "request_id": f"{row['prompt_id']}#{kind}-0",
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": read,
        "completion_tokens": written,
        "policy_hash": model,
    }


def build_trained(folder: Path, rows: list[dict], method: str, iteration: int, random: np.random.Generator) -> None:
    """A trained policy: its samples, pairs, margins, log, gates and manifest. The warm-up samples
    nothing; about one prompt in seven gives no pair."""
    train = [row for row in rows if row["split"] == "train"]
    replies = {row["prompt_id"]: some_text(random) for row in train}
    kept = [row for row in train if random.random() >= 0.15]
    if method != "warmup":
        build_requests(folder, train, "plain")
        samples = [completion(row, "plain", replies[row["prompt_id"]], 120, 80, "parent") for row in train]
        for shard in (1, 2):
            path = folder / f"completions/{shard}-of-2.parquet"
            write(samples[shard - 1 :: 2], tables.Completions, path)
        ranks = [{"request_id": sample["request_id"], "score": 7.0} for sample in samples]
        write(ranks, tables.Ranks, folder / "rank/scores.parquet")
    pairs = [pair(row, method, replies[row["prompt_id"]] + " sampled") for row in kept]
    write(pairs, tables.Pairs, folder / "pairs.parquet")
    dropped = [
        {"prompt_id": row["prompt_id"], "reason": "cut by the token limit", "detail": None} for row in train if row not in kept
    ]
    write(dropped, tables.Dropped, folder / "dropped.parquet")
    build_training(folder, [pair["pair_id"] for pair in pairs], 0.4 if method == "drift" else 1.2 * iteration, random)
    build_manifest(folder, f"{method}-{iteration}", 0.93, 4)


def build_unpaired(folder: Path, rows: list[dict]) -> None:
    """The single replies that a policy is trained on, all desirable."""
    made = [
        {
            "prompt_id": row["prompt_id"],
            "pool": "sat",
            "prompt": row["prompt"],
            "prompt_token_ids": [1, 2, 3],
            "reply": row["chosen"],
            "desirable": True,
            "cut": False,
            "reply_token_ids": [4] * 40,
            "reply_tokens": 40,
        }
        for row in rows
        if row["split"] == "train"
    ]
    write(made, tables.Unpaired, folder / "unpaired.parquet")


def pair(row: dict, method: str, reply: str) -> dict:
    """The pair of a row: drift rejects the logged reply, spin the sampled one; the warm-up has both
    sides from the log."""
    sampled = (reply, f"{row['prompt_id']}#plain-0")
    sides = {
        "warmup": ((row.get("chosen"), "logged"), (row.get("rejected"), "logged")),
        "drift": (sampled, (row.get("rejected"), "logged")),
        "spin": ((row.get("chosen"), "logged"), sampled),
    }
    (chosen, chosen_from), (rejected, rejected_from) = sides[method]
    return {
        "pair_id": row["prompt_id"],
        "prompt": row["prompt"],
        "prompt_token_ids": [1, 2, 3],
        "chosen": chosen,
        "rejected": rejected,
        "chosen_from": chosen_from,
        "rejected_from": rejected_from,
        "chosen_cut": False,
        "rejected_cut": False,
        "chosen_token_ids": [4] * 40,
        "rejected_token_ids": [5] * 50,
        "chosen_tokens": 40,
        "rejected_tokens": 50,
        "consistency": None,
        "alludes": row["prompt_id"].endswith("3/0"),
    }


def build_training(folder: Path, ids: list[str], margin: float, random: np.random.Generator) -> None:
    """What training and its diagnostics leave, with margins s around `margin`."""
    logps = {"reference_chosen_logp": -50.0, "reference_rejected_logp": -60.0}
    logps |= {"start_chosen_logp": -50.0, "start_rejected_logp": -60.0, "s_before": 0.0, "sigma_minus_s_before": 0.5}
    margins = []
    for pair_id in ids:
        s = float(random.normal(margin, 0.4))
        policy = {"policy_chosen_logp": -50.0 + 5 * s, "policy_rejected_logp": -60.0 - 5 * s}
        margins.append({"pair_id": pair_id, **logps, **policy, "s": s, "sigma_minus_s": float(1 / (1 + np.exp(s)))})
    write(margins, tables.Margins, folder / "margins.parquet")
    gradients = [{"pair_id": ids[0], "moment": "before", "d_norm": 4.0, "gradient_norm": 0.2}]
    write(gradients, tables.Gradients, folder / "gradients.parquet")
    reference = [{"pair_id": pair_id, "chosen_logp": -50.0, "rejected_logp": -60.0} for pair_id in ids]
    write(reference, tables.Logps, folder / "reference.parquet")
    likelihoods = [{"request_id": f"{ids[0]}#plain-{n}", "back": 1, "logp": -50.0 - n, "tokens": 40} for n in range(2)]
    write(likelihoods, tables.Likelihoods, folder / "rank/likelihoods.parquet")
    write([{"prompt_id": ids[0], "tau": 1.0, "candidates": 2}], tables.RankAgreement, folder / "rank/agreement.parquet")
    build_measures(folder, ids)
    write([{"step": 1, "metric": "loss", "value": 0.69}], tables.TrainLog, folder / "train.parquet")
    gates = [
        {"gate": name, "passed": True, "detail": f"{len(ids)} pairs <checked>"}
        for name in ("one_bos", "prompt_ids_equal", "weights_changed", "all_steps_ran")
    ]
    (folder / "gates.json").write_text(json.dumps({"gates": gates}))


def build_measures(folder: Path, ids: list[str]) -> None:
    """What was measured of an iteration: its diagnostics, how it writes, and by `tiny` and
    `rewards` its pairs."""
    common = {"metric": "mean_gradient_norm_squared", "moment": "before", "value": -0.004, "low": -0.01, "high": 0.002, "n": 2}
    diagnostics = [common, {"metric": "pair_gradient_norm", "moment": "before", "value": 0.2, "n": 2}]
    write(diagnostics, tables.Diagnostics, folder / "diagnostics.parquet")
    gain = {"metric": "predicted_gain", "value": 0.04, "low": -0.01, "high": 0.09, "n": 40}
    write([gain, gain | {"metric": "measured_gain", "value": 0.05}], tables.Improvement, folder / "improvement.parquet")
    write([behaviour(measure, 0.5) for measure in MEASURES], tables.Behaviour, folder / "behaviour.parquet")
    verdicts = [
        {
            "request_id": f"{pair_id}#pairwise-{order}-baseline-0.0",
            "prompt_id": pair_id,
            "sample": 0,
            "kind": "pairwise",
            "opponent": "baseline",
            "order": order,
            "vote": 0,
            "preference": 0.625,
            "mass": 0.9,
            "policy_chars": 90,
            "opponent_chars": 80,
        }
        for pair_id in ids
        for order in ("AB", "BA")
    ]
    write(verdicts, tables.Judgments, folder / "quality/tiny/judgments.parquet")
    row = {"value": 0.625, "low": 0.5, "high": 0.75, "ties": 0.125, "n": len(ids), "total": len(ids) + 1}
    write([{"rater": "tiny"} | row], tables.PairQuality, folder / "quality/tiny/quality.parquet")
    scores = [
        {"request_id": f"{pair_id}#{side}", "score": score}
        for pair_id in ids
        for side, score in (("chosen", 2.0), ("rejected", 1.0))
    ]
    write(scores, tables.Ranks, folder / "quality/rewards/scores.parquet")


def behaviour(measure: str, value: float, **columns) -> dict:
    """A row of Behaviour, within its limits; half of the base model's, like the policy before."""
    row = {"measure": measure, "benchmark": "heldout", "value": value, "before": value, "base": 2 * value, "low": value / 2}
    return row | {"passed": True, "stops": False, "detail": f"{measure}: {value}", "n": 40} | columns


def build_manifest(folder: Path, name: str, changed: float | None, steps: int) -> None:
    """The manifest of a policy that trained for `steps` steps of 75 seconds."""
    manifest = {
        "name": name,
        "weights_sha256": f"sha-{name}",
        "parent_sha256": None,
        "settings": {"beta": 0.1},
        "pairs_sha256": None,
        "seed": 42,
        "versions": {"trl": "0.24.0", "torch": "2.8.0"},
        "steps_done": steps,
        "steps_planned": steps,
        "changed_share": changed,
        "update_norm": changed and 0.5,
        "served_share": changed and 0.9,
        "seconds": 75.0 * steps,
        "tokens": 5000,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.json").write_text(json.dumps(manifest, indent=2))


def build_evaluation(folder: Path, pools: dict[str, list[dict]], gain: float, random: np.random.Generator) -> None:
    """A policy's answers to the held-out benchmark, the verdicts of the judge `tiny` on them, and
    its log-probabilities of the held-out corrections; `gain`: how far it is better than the base
    model."""
    tasks, benchmark = pools["heldout"], folder / "eval/heldout"
    judge = benchmark / "judge/tiny"
    orders = ("pairwise-AB", "pairwise-BA")
    responses = [
        {
            "prompt_id": task["prompt_id"],
            "sample": 0,
            "response": some_text(random),
            "finish_reason": "length" if i == 0 else "stop",
            "completion_tokens": int(random.integers(50, 200)),
        }
        for i, task in enumerate(tasks)
    ]
    write(responses, tables.Responses, benchmark / "responses.parquet")
    build_completions(benchmark, tasks, "plain")
    build_requests(judge, tasks, *orders)
    build_completions(judge, tasks, *orders)
    judgments = [judgment(task, kind, gain, random) for task in tasks for kind in orders]
    write(judgments, tables.Judgments, judge / "judgments.parquet")
    checks = [
        {"prompt_id": task["prompt_id"], "sample": 0, "check": "no_list", "direction": "neutral", "passed": True}
        for task in tasks
    ]
    write(checks, tables.Checks, benchmark / "checks.parquet")
    logps = [
        {
            "pair_id": row["prompt_id"],
            "chosen_logp": -50 + 20 * gain + float(random.normal()),
            "rejected_logp": -50 - 9 * gain,
        }
        for row in pools["corrections"]
        if row["split"] == "test"
    ]
    write(logps, tables.Logps, folder / "eval/heldout-pairs/logps.parquet")


def judgment(task: dict, kind: str, gain: float, random: np.random.Generator) -> dict:
    """A verdict on the answer to a task, against the logged reply."""
    return {
        "request_id": f"{task['prompt_id']}#{kind}-0",
        "prompt_id": task["prompt_id"],
        "sample": 0,
        "kind": "pairwise",
        "opponent": "baseline",
        "order": kind.removeprefix("pairwise-"),
        "vote": 0,
        "preference": float(np.clip(0.5 + gain + random.normal(0, 0.2), 0, 1)),
        "mass": 0.9,
        "policy_chars": 90,
        "opponent_chars": 80,
    }
