"""Time the scoring of 10 policies on WildBench and AlpacaEval at full size, with 1,000 resamples
each; fail past 30 s.

    python tests/bench_scores.py

Verdicts are drawn: one judge's scores and another's comparisons with three references for 1,024
tasks, and preferences for 805. Length control is fitted with difficulties and regularising rows as
the published one is. Times the stage as the pipeline runs it, reading and writing included, on two
cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from drift import tables
from drift.metrics import wildbench
from tests.builders.scores import score_arguments

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "scripts"

LIMIT = 30.0  # seconds
SIZES = {"wildbench": 1024, "alpacaeval": 805}
JUDGES = {"wildbench": ["scorer", "comparer"], "alpacaeval": ["weigher"]}
REFERENCES = ("gpt4t", "haiku", "llama")
POLICIES = ["base", "warmup"] + [f"{method}/seed42/iter{k}" for method in ("drift", "spin") for k in (1, 2, 3, 4)]


def write(rows: pl.DataFrame, schema, path: Path) -> None:
    """`rows` as a table, columns that are not there null."""
    columns = schema.create_empty().schema
    tables.write_table(
        rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in columns.items() if name not in rows.columns),
        schema,
        path,
    )


def make_tasks(root: Path, random: np.random.Generator) -> None:
    """Tasks with groups or difficulties, and regularising rows of length control."""
    for benchmark, n in SIZES.items():
        groups = [sorted(random.choice(wildbench.GROUPS, int(random.integers(1, 4)), replace=False).tolist()) for _ in range(n)]
        rows = pl.DataFrame(
            {
                "prompt_id": [f"{benchmark}-{number:04}" for number in range(n)],
                "prompt": [[{"role": "user", "content": "?"}]] * n,
                "categories": groups if benchmark == "wildbench" else None,
                "difficulty": random.normal(0, 1, n) if benchmark == "alpacaeval" else None,
            },
        )
        write(rows, tables.Tasks, root / f"data/benchmarks/{benchmark}.parquet")
    gamed = {"preference": random.random(1610), "std_delta_len": random.normal(0, 2, 1610)}
    pl.DataFrame(gamed | {"instruction_difficulty": random.normal(0, 1, 1610)}).write_csv(root / "df_gamed.csv")


def make_policy(folder: Path, gain: float, random: np.random.Generator) -> None:
    """Answers, verdicts of every judge and log-probabilities; a larger gain is a better policy."""
    for benchmark, n in SIZES.items():
        keys = pl.DataFrame({"prompt_id": [f"{benchmark}-{number:04}" for number in range(n)], "sample": 0})
        lengths = random.integers(200, 4000, n)
        answers = keys.with_columns(
            response=pl.lit("text"), finish_reason=pl.lit("stop"), completion_tokens=pl.Series(lengths // 4)
        )
        write(answers, tables.Responses, folder / "eval" / benchmark / "responses.parquet")
        answered = keys.with_columns(vote=0, policy_chars=pl.Series(lengths))
        judges = folder / "eval" / benchmark / "judge"
        if benchmark == "alpacaeval":
            write(preferences(answered, gain, random), tables.Judgments, judges / "weigher/judgments.parquet")
        else:
            scores = np.clip(np.round(random.normal(6 + gain, 1.7, n)), 1, 10)
            scored = answered.with_columns(request_id="prompt_id", kind=pl.lit("score"), score=pl.Series(scores))
            write(scored, tables.Judgments, judges / "scorer/judgments.parquet")
            write(outcomes(answered, gain, random), tables.Judgments, judges / "comparer/judgments.parquet")
    pairs = {"pair_id": [f"pair-{number}" for number in range(50)], "chosen_logp": random.normal(-50 + gain, 5, 50)}
    write(
        pl.DataFrame(pairs | {"rejected_logp": random.normal(-60, 5, 50)}),
        tables.Logps,
        folder / "eval/heldout-pairs/logps.parquet",
    )


def preferences(answered: pl.DataFrame, gain: float, random: np.random.Generator) -> pl.DataFrame:
    """Judgments of comparisons with the baseline."""
    n = len(answered)
    share = 1 / (1 + np.exp(-random.normal(gain - 1, 4, n)))
    return answered.with_columns(
        request_id="prompt_id",
        kind=pl.lit("pairwise"),
        opponent=pl.lit("baseline"),
        order=pl.Series(np.where(random.random(n) < 0.5, "AB", "BA")),
        preference=pl.Series(share),
        mass=0.999,
        opponent_chars=pl.Series(random.integers(200, 4000, n)),
    )


def outcomes(answered: pl.DataFrame, gain: float, random: np.random.Generator) -> pl.DataFrame:
    """Judgments in five levels of comparisons with every reference."""
    n = len(answered)
    compared = [
        answered.with_columns(
            request_id=pl.col("prompt_id") + f"#{reference}",
            kind=pl.lit("pairwise"),
            opponent=pl.lit(reference),
            order=pl.lit("AB"),
            outcome=pl.Series(np.clip(np.round(random.normal(gain, 1, n)), -2, 2).astype(int)),
            opponent_chars=pl.Series(random.integers(200, 4000, n)),
        )
        for reference in REFERENCES
    ]
    return pl.concat(compared)


def make_run(root: Path) -> list[str]:
    """The tables of the run, and the options of scores.py for them."""
    random = np.random.default_rng(1)
    make_tasks(root, random)
    policies = [f"model/{policy}" for policy in POLICIES]
    for number, name in enumerate(policies):
        make_policy(root / name, 0.05 * number, random)
    benchmarks = {name: {"kind": name, "judges": dict.fromkeys(judges)} for name, judges in JUDGES.items()}
    gamed = {"alpacaeval/gamed": root / "df_gamed.csv"}
    return score_arguments(root, benchmarks, root, policies, bootstrap=1000, extra=gamed)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        command = [sys.executable, str(SCRIPTS / "scores.py"), *make_run(root)]
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
