"""Time the scoring of 10 policies on WildBench and AlpacaEval at full size, with 1,000 resamples each; fail past 30 s.

    python tests/bench_scores.py

Verdicts are drawn: one judge's scores and another's comparisons with three references for 1,024 tasks, and preferences for 805.
Length control is fitted with difficulties and regularising rows as the published one is. Times the stage as the pipeline runs
it, reading and writing included, on two cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
# What follows is found in this folder, so it cannot stand above with the other imports (E402).
sys.path.insert(0, str(SCRIPTS))

from drift import tables  # noqa: E402
from drift.metrics import wildbench  # noqa: E402

LIMIT = 30.0  # seconds
SIZES = {"wildbench": 1024, "alpacaeval": 805}
JUDGES = {"wildbench": ["scorer", "comparer"], "alpacaeval": ["weigher"]}
REFERENCES = ("gpt4t", "haiku", "llama")
POLICIES = [("base", -1), ("warmup", 0)] + [(method, k) for method in ("drift", "spin") for k in (1, 2, 3, 4)]


def write(rows: pl.DataFrame, schema, path: Path) -> None:
    """`rows` as a table, columns that are not there null."""
    columns = schema.create_empty().schema
    tables.write_table(
        rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in columns.items() if name not in rows.columns),
        schema,
        path,
    )


def make_tasks(root: Path, random: np.random.Generator) -> None:
    for benchmark, n in SIZES.items():
        groups = [sorted(random.choice(wildbench.GROUPS, int(random.integers(1, 4)), replace=False).tolist()) for _ in range(n)]
        rows = pl.DataFrame(
            {
                "prompt_id": [f"{benchmark}-{at:04}" for at in range(n)],
                "prompt": [[{"role": "user", "content": "?"}]] * n,
                "categories": groups if benchmark == "wildbench" else None,
                "difficulty": random.normal(0, 1, n) if benchmark == "alpacaeval" else None,
            },
        )
        write(rows, tables.Tasks, root / f"{benchmark}.parquet")
    gamed = {"preference": random.random(1610), "std_delta_len": random.normal(0, 2, 1610)}
    pl.DataFrame(gamed | {"instruction_difficulty": random.normal(0, 1, 1610)}).write_csv(root / "df_gamed.csv")


def make_policy(folder: Path, gain: float, random: np.random.Generator) -> None:
    """Answers, verdicts of every judge and log-probabilities; a larger gain is a better policy."""
    for benchmark, n in SIZES.items():
        at = pl.DataFrame({"prompt_id": [f"{benchmark}-{number:04}" for number in range(n)], "sample": 0})
        lengths = random.integers(200, 4000, n)
        answers = at.with_columns(
            response=pl.lit("text"), finish_reason=pl.lit("stop"), completion_tokens=pl.Series(lengths // 4)
        )
        write(answers, tables.Responses, folder / "eval" / benchmark / "responses.parquet")
        shared = at.with_columns(vote=0, policy_chars=pl.Series(lengths))
        place = folder / "eval" / benchmark / "judge"
        if benchmark == "alpacaeval":
            share = 1 / (1 + np.exp(-random.normal(gain - 1, 4, n)))
            rows = shared.with_columns(
                request_id="prompt_id",
                kind=pl.lit("pairwise"),
                opponent=pl.lit("baseline"),
                order=pl.Series(np.where(random.random(n) < 0.5, "AB", "BA")),
                preference=pl.Series(share),
                mass=0.999,
                opponent_chars=pl.Series(random.integers(200, 4000, n)),
            )
            write(rows, tables.Judgments, place / "weigher/judgments.parquet")
            continue
        scores = np.clip(np.round(random.normal(6 + gain, 1.7, n)), 1, 10)
        rows = shared.with_columns(request_id="prompt_id", kind=pl.lit("score"), score=pl.Series(scores))
        write(rows, tables.Judgments, place / "scorer/judgments.parquet")
        compared = [
            shared.with_columns(
                request_id=pl.col("prompt_id") + f"#{reference}",
                kind=pl.lit("pairwise"),
                opponent=pl.lit(reference),
                order=pl.lit("AB"),
                outcome=pl.Series(np.clip(np.round(random.normal(gain, 1, n)), -2, 2).astype(int)),
                opponent_chars=pl.Series(random.integers(200, 4000, n)),
            )
            for reference in REFERENCES
        ]
        write(pl.concat(compared), tables.Judgments, place / "comparer/judgments.parquet")
    pairs = {"pair_id": [f"pair-{at}" for at in range(50)], "chosen_logp": random.normal(-50 + gain, 5, 50)}
    write(
        pl.DataFrame(pairs | {"rejected_logp": random.normal(-60, 5, 50)}),
        tables.Logps,
        folder / "eval/heldout-pairs/logps.parquet",
    )


def main() -> None:
    random = np.random.default_rng(1)
    benchmarks = {name: {"kind": name, "judges": dict.fromkeys(judges)} for name, judges in JUDGES.items()}
    settings = json.dumps({"beta": 0.1, "bootstrap": 1000, "seed": 42, "benchmarks": benchmarks})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_tasks(root, random)
        command = [sys.executable, str(SCRIPTS / "scores.py"), "--settings", settings]
        for number, (method, k) in enumerate(POLICIES):
            make_policy(root / f"{method}{k}", 0.05 * number, random)
            command += ["--policy", "model", method, str(k), str(root / f"{method}{k}")]
        command += ["--tasks", *(str(root / f"{benchmark}.parquet") for benchmark in SIZES)]
        command += ["--gamed", "alpacaeval", str(root / "df_gamed.csv")]
        command += ["--scores", str(root / "scores.parquet"), "--comparisons", str(root / "comparisons.parquet")]
        cores = sorted(os.sched_getaffinity(0))[:2]
        os.sched_setaffinity(0, cores)
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        made = [
            len(tables.read_table(getattr(tables, name), root / f"{name.lower()}.parquet"))
            for name in ("Scores", "Comparisons")
        ]
    print(
        f"{len(POLICIES)} policies x ({' + '.join(f'{n:,}' for n in SIZES.values())}) items, 1,000 resamples each: {made[0]} scores "
        f"and {made[1]} comparisons in {seconds:.1f} s on {len(cores)} cores; at most {LIMIT:.0f} s"
    )
    if seconds > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
