"""A small run with two methods of two iterations, as the pipeline leaves it: every table, by hand.

Half of its texts are hostile (see tests.builders.texts).
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from drift import tables
from drift.config import Config, Evaluation
from drift.layout import PolicyName
from drift.ledger import LedgerBook
from tests.builders.exploration import build_exploration
from tests.builders.policies import build_evaluation, build_manifest, build_prompts, build_trained, build_unpaired
from tests.builders.scores import HELDOUT, score_arguments
from tests.builders.texts import HOSTILE, chat, some_text, write
from tests.conftest import REPOSITORY

METHODS = ("drift", "spin")
SAMPLED = {"samples": 2, "decoding": {"temperature": 0.7}}
# The pool that each policy trains on, and how far it is better than the base model by iteration.
POOLS = {"warmup": "corrections", "drift": "dsat", "spin": "sat"}
GAINS = {
    "base": lambda _: 0.0,
    "warmup": lambda _: 0.02,
    "drift": lambda iteration: 0.05 + 0.06 * iteration,
    "spin": lambda iteration: 0.05 - 0.07 * iteration,
}


def evaluation(*, benchmarks: dict | None = None, judges: dict | None = None, **judge) -> Evaluation:
    """An evaluation with one judge, `tiny`, of these keys, and further `benchmarks` and
    `judges`."""
    return Evaluation.model_validate(
        {
            "benchmarks": {
                "heldout": {"kind": "heldout"},
                "late": {"kind": "prompts", "path": "late.jsonl", "keep_out": False, **SAMPLED},
                **(benchmarks or {}),
            },
            "judge": "tiny",
            "judges": {"tiny": {"path": "hf:x/y@z", **judge}, **(judges or {})},
            "bootstrap": 100,
        }
    )


CONFIG = Config.model_validate(
    {
        "run": "demo",
        "models": {"qwen-0.5b": {"path": "hf:Qwen/Qwen2.5-0.5B-Instruct@main"}},
        "methods": list(METHODS),
        "recipes": {
            "drift": {"prompts": "dsat", "chosen": "guided", "rejected": "logged", "start": "warmup"},
            "spin": {"prompts": "sat", "chosen": "logged", "rejected": "plain", "start": "base"},
        },
        "data": {
            "sources": {"wildchat": {"kind": "wildchat", "path": "wildchat/*.parquet"}},
            "labelers": {"rules": {"kind": "lexical"}},
            "labeler": "rules",
        },
        "rankers": {"rewards": {"path": "hf:x/reward@z"}},
        "exploration": {"benchmark": "late", "embedder": {"path": "hf:x/encoder@z"}, "reward": "rewards"},
        "evaluation": evaluation(trusted=False).model_dump(mode="json"),
    }
)


def build_data(root: Path, random: np.random.Generator) -> dict[str, list[dict]]:
    """The data of a run: 24 conversations of three exchanges, their labels and the benchmarks.

    Returns the rows of the pools, and under `heldout` the tasks of the held-out benchmark.
    """
    turns, labels, pools = [], [], {"dsat": [], "sat": [], "corrections": []}
    for number in range(24):
        conversation, texts = f"wildchat:{number:03d}", [some_text(random) for _ in range(6)]
        turns += [exchange(conversation, turn, texts) for turn in range(3)]
        row = {
            "conversation_id": conversation,
            "source": "wildchat",
            "split": "test" if number % 4 == 0 else "train",
            "cluster": conversation,
            "flipped": False,
        }
        label = {"labeler": "rules", "evidence": ["rule:again"], "score": 0.9}
        labels += [
            {"conversation_id": conversation, "turn": turn, "label": name, **label} for turn, name in enumerate(("DSAT", "SAT"))
        ]
        first = {**row, "prompt_id": f"{conversation}/0", "turn": 0, "prompt": chat(texts[0])}
        first |= {"rejected": texts[1], "feedback": texts[2]}
        pools["dsat"].append(first | label)
        pools["corrections"].append(first | {"chosen": texts[3] + " better", "alludes": number % 6 == 0})
        second = {**row, "prompt_id": f"{conversation}/1", "turn": 1, "prompt": chat(*texts[:3])}
        pools["sat"].append(second | label | {"chosen": texts[3], "feedback": texts[4]})
    write(turns, tables.Turns, root / "data/turns.parquet")
    write(labels, tables.Labels, root / "data/labels.parquet")
    said = [
        {name: row[name] for name in ("conversation_id", "turn")} | {"class_name": kind, "probability": share}
        for row in labels
        for kind, share in (("angry", 0.75), ("pleased", 0.25))
    ]
    write(said, tables.ClassProbabilities, root / "data/labelers/classifier/classes/1-of-1.parquet")
    write(
        [{name: first[name] for name in (*row, "prompt_id", "turn", "prompt", "rejected")} | label],
        tables.Wordless,
        root / "data/wordless.parquet",
    )
    for name, schema in (("dsat", tables.Dsat), ("sat", tables.Sat), ("corrections", tables.Corrections)):
        write(pools[name], schema, root / f"data/{name}.parquet")
    tasks = [
        {name: row[name] for name in ("prompt_id", "cluster", "prompt", "feedback")} | {"baseline": row["rejected"]}
        for row in pools["dsat"]
        if row["split"] == "test"
    ]
    write(tasks, tables.Tasks, root / "data/benchmarks/heldout.parquet")
    build_checks(root)
    return pools | {"heldout": tasks}


def exchange(conversation: str, turn: int, texts: list[str]) -> dict:
    """One exchange of a conversation whose messages are `texts`; the last one has no feedback."""
    user, response, *after = texts[2 * turn :]
    return {
        "conversation_id": conversation,
        "turn": turn,
        "source": "wildchat",
        "language": "English",
        "user": user,
        "response": response,
        "feedback": after[0] if after else None,
        "unseen": False,
        "flags": [],
    }


def build_checks(root: Path) -> None:
    """Checks of the data: agreement of the labels, and benchmark prompts in the conversations."""
    statistic = {"value": 0.91, "low": 0.79, "high": 0.98, "n": 175, "positives": 55, "given": 180}
    agreement = [
        {"labeler": "rules", "reference": "gold", "target": "DSAT", "metric": metric, **statistic}
        for metric in ("precision", "recall", "f1", "kappa")
    ]
    write(agreement, tables.Agreement, root / "data/agreement.parquet")
    held = {"pool": "dsat", "prompt_id": "c99/0", "benchmark": "arena", "task": "t7", "how": "ngram", "evidence": HOSTILE[0]}
    write([held], tables.Quarantine, root / "data/quarantine.parquet")
    late = [held | {"prompt_id": f"c9{n}/0", "benchmark": "late", "task": f"t{n % 2}"} for n in range(3)]
    write(late, tables.Contamination, root / "data/contamination/late.parquet")
    tasks = [{"prompt_id": f"t{n}", "cluster": f"t{n}", "prompt": chat("Why?")} for n in range(5)]
    write(tasks, tables.Tasks, root / "data/benchmarks/late.parquet")


def build_ledger(root: Path) -> None:
    """The lineages of a source, of a pool and of each method's first iteration."""
    source = LedgerBook("source wildchat", "turns", "records", 41210)
    source.drop("not English", 18350)
    source.drop("no user message", 0)
    source.drop("exact copy of another conversation", 2290)
    source.regroup("a conversation becomes its exchanges", "turns", 73555)
    source.drop("no reply in the log", 1210)
    source.drop("no feedback after the reply", 30040)
    source.drop("longer than max_chars", 2305)
    pool = LedgerBook("pool dsat", "pools", "replies", 40000)
    pool.drop("not labelled DSAT", 35200)
    pool.drop("too many of one conversation", 310)
    books = [source, pool]
    for method in METHODS:
        pairs = LedgerBook(f"qwen-0.5b {method} iteration 1", "pairs", "prompts", 4490)
        pairs.drop("cut by the token limit", 180)
        pairs.drop("empty reply", 0)
        pairs.drop("equal sides", 12)
        books.append(pairs)
    tables.write_table(pl.concat([book.table() for book in books]), tables.Ledger, root / "data/ledger.parquet")


def build_validation(root: Path) -> None:
    """How far the judge agrees with 30 published scores."""
    published = [{"prompt_id": str(number), "score": 5.0} for number in range(30)]
    write(published, tables.Published, root / "eval/validation/score/published.parquet")
    row = {"judge": "tiny", "benchmark": "heldout", "metric": "spearman", "value": 0.125, "low": 0.0, "high": 0.25, "n": 30}
    write([row], tables.Validation, root / "eval/validation.parquet")


def build_timings(root: Path) -> None:
    """Timings of two jobs: one that Snakemake could not measure, and after each a broken record."""
    records = [{"s": 12.5, "max_rss": 2048.0, "cpu_time": 30.0}, {"s": 3700.0, "max_rss": "NA", "cpu_time": "NA"}]
    for rule, record in zip(("train", "generate"), records, strict=True):
        file = root / "timings" / rule / "drift-1.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(record | {"rule_name": [rule], "wildcards": {}}) + "\n{broken")


def policies(root: Path, seeds: Sequence[int] = CONFIG.seeds) -> list[tuple[PolicyName, Path]]:
    """Every policy of the run and its folder."""
    made = [PolicyName(method, k, seed) for method in METHODS for seed in seeds for k in (1, 2)]
    return [(name, root / "qwen-0.5b" / str(name)) for name in (PolicyName.parse("base"), PolicyName.parse("warmup"), *made)]


def build_results(home: Path, seeds: Sequence[int] = CONFIG.seeds) -> Path:
    """The run at home/results/demo with these seeds, scored and catalogued by the real stages."""
    root, random = home / "results/demo", np.random.default_rng(7)
    pools = build_data(root, random)
    build_ledger(root)
    build_prompts(root, pools)
    for name, folder in policies(root, seeds):
        if name.method == "base":
            build_manifest(folder, "base", None, 0)
        else:
            build_trained(folder, pools[POOLS[name.method]], name.method, name.iteration, random)
        build_evaluation(folder, pools, GAINS[name.method](name.iteration), random)
    # Of a method that the configuration no longer has.
    build_unpaired(root / "qwen-0.5b/kto/seed42/iter1", pools["sat"])
    build_validation(root)
    build_exploration(root, policies(root, seeds), CONFIG.iterations)
    build_timings(root)
    (root / "config.resolved.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json") | {"seeds": list(seeds)}))
    scored = [str(folder.relative_to(root)) for _, folder in policies(root, seeds)]
    run_stage("scores.py", *score_arguments(root, HELDOUT, root / "eval", scored), cwd=home)
    build_catalog(home)
    return root


def build_catalog(home: Path) -> None:
    """The catalog of home/results/demo, by the real stage."""
    run_stage("catalog.py", "--results", "results/demo", "--catalog", "results/demo/catalog.duckdb", cwd=home)


def render_page(home: Path) -> str:
    """The report of home/results/demo, by the real stage."""
    results = "results/demo"
    run_stage(
        "report.py",
        *("--results", results),
        *("--config", f"{results}/config.resolved.yaml"),
        *("--catalog", f"{results}/catalog.duckdb"),
        *("--timings", f"{results}/timings"),
        *("--report", f"{results}/report.html"),
        cwd=home,
    )
    return (home / results / "report.html").read_text(encoding="utf-8")


def stage(program: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a stage as the pipeline does."""
    command = [sys.executable, str(REPOSITORY / "scripts" / program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def run_stage(program: str, *arguments: object, cwd: Path) -> None:
    """Run a stage that must succeed."""
    done = stage(program, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
