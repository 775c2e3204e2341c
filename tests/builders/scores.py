"""A run of four policies as scores.py reads it, and the command line that names its tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from drift import tables
from drift.layout import PolicyName
from tests.builders.judgments import frame, judgment

# The names of the policies of the run.
START = ("m/base", "m/warmup")
POLICIES = (*START, "m/drift/seed42/iter1", "m/spin/seed42/iter1")
HELDOUT = {"heldout": {"kind": "heldout", "judges": {"tiny": "abc"}}}
N = 12


def build_run(root: Path, policies: Sequence[str] = POLICIES) -> Path:
    """Tasks, two of a user; corrections; and of every policy answers, one judge's verdicts in both
    orders, and log-probabilities."""
    random = np.random.default_rng(7)
    items = [f"t{number:02}" for number in range(N)]
    prompt = [{"role": "user", "content": "?"}]
    rows = [
        {"prompt_id": item, "cluster": f"u{number // 2}", "prompt": prompt, "baseline": "No."}
        for number, item in enumerate(items)
    ]
    tables.write_table(frame(rows, tables.Tasks), tables.Tasks, root / "data/benchmarks/heldout.parquet")
    write_corrections(root, [f"p{pair}" for pair in range(8)])
    for number, policy in enumerate(policies):
        evaluated = root / policy / "eval"
        responses = [
            {"prompt_id": item, "sample": 0, "response": "Yes.", "finish_reason": "stop", "completion_tokens": 5 + number}
            for item in items
        ]
        tables.write_table(frame(responses, tables.Responses), tables.Responses, evaluated / "heldout/responses.parquet")
        verdicts = [
            judgment(item, order, preference=float(np.clip(0.4 + 0.1 * number + random.normal(0, 0.2), 0, 1)))
            for item in items
            for order in ("AB", "BA")
        ]
        tables.write_table(frame(verdicts), tables.Judgments, evaluated / "heldout/judge/tiny/judgments.parquet")
        logps = [
            {"pair_id": f"p{pair}", "chosen_logp": -50 + number + random.normal(), "rejected_logp": -55.0 - number}
            for pair in range(8)
        ]
        tables.write_table(frame(logps, tables.Logps), tables.Logps, evaluated / "heldout-pairs/logps.parquet")
    return root


def write_corrections(root: Path, pairs: list[str]) -> None:
    """Held-out corrections of these names, each of a user of its own."""
    same = {
        "source": "s",
        "rejected": "No.",
        "chosen": "Yes.",
        "feedback": "Wrong.",
        "prompt": [{"role": "user", "content": "?"}],
    }
    same |= {"turn": 0, "split": "test", "flipped": False, "alludes": False}
    rows = [{"prompt_id": pair, "conversation_id": pair, "cluster": pair} | same for pair in pairs]
    tables.write_table(frame(rows, tables.Corrections), tables.Corrections, root / "data/corrections.parquet")


def score_arguments(
    root: Path,
    benchmarks: dict,
    folder: Path,
    policies: Sequence[str] = POLICIES,
    bootstrap: int = 200,
    extra: Mapping[str, Path] = {},
    heldout_pairs: bool = True,
    metric: str = "win_rate",
) -> list[str]:
    """The options of scores.py for the results in `root`, laid out as a run's; it writes to
    `folder`.

    benchmarks: the settings of the same name. extra: files by BENCHMARK/NAME. The primary family is
    every method against drift by `metric`.
    """
    options: list[object] = ["--corrections", root / "data/corrections.parquet"]
    options += ["--tasks", root / "data/benchmarks/{benchmark}.parquet"]
    answered = root / "{policy}/eval/{benchmark}"
    options += ["--checks", answered / "checks.parquet"]
    options += ["--responses", answered / "responses.parquet", "--judgments", answered / "judge/{judge}/judgments.parquet"]
    options += ["--logps", root / "{policy}/eval/heldout-pairs/logps.parquet"]
    for name, path in extra.items():
        options += ["--file", *name.split("/"), path]
    for policy in policies:
        model, made = policy.split("/", 1)
        name = PolicyName.parse(made)
        options += ["--policy", policy, model, name.method, name.iteration, name.seed]
    primary = {"metrics": {name: [metric] for name in benchmarks}, "against": "drift"}
    settings = {"beta": 0.1, "bootstrap": bootstrap, "seed": 42, "benchmarks": benchmarks, "primary": primary, "starts": {}}
    settings["heldout_pairs"] = heldout_pairs
    options += ["--settings", json.dumps(settings)]
    options += ["--scores", folder / "scores.parquet", "--comparisons", folder / "comparisons.parquet"]
    return [str(option) for option in options]
