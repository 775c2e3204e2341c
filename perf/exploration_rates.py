"""How long it takes to embed and to map answers: `make bench-exploration MODEL=FOLDER`, or
`python perf/exploration_rates.py --help`.

1,000 answers of some 60 words of each of 8 policies, to 125 prompts, go through embed.py,
embedding_coverage.py and landscape.py as in a run. Prints seconds and CPU seconds of each.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from drift import tables
from drift.workflow.environments import ON_CPUS

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
POLICIES, PROMPTS, SAMPLES = 8, 125, 8
WORDS = (30, 120)  # of an answer
TOPICS = ("owls hunt at night", "rivers carry sand", "bread needs time", "old maps err", "markets open early", "snow is quiet")
MANNERS = ("in short", "as far as we know", "for example", "on the other hand", "first of all", "to be honest", "step by step")


def some_answer(chance: random.Random, about: list[str], manners: tuple[str, ...]) -> str:
    """Words on what a prompt is about, in the manner of a policy."""
    parts = [chance.choice(about if chance.random() < 0.7 else manners) for _ in range(chance.randint(*WORDS) // 3)]
    return ". ".join(parts) + "."


def write(rows: list[dict], schema: type, path: Path) -> Path:
    """A table of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write_table(pl.DataFrame(rows, schema=schema.create_empty().schema), schema, path)
    return path


def measured(program: str, *options: object) -> tuple[float, float]:
    """Seconds and CPU seconds of a stage."""
    before, started = os.times(), time.monotonic()
    words = [sys.executable, str(SCRIPTS / program), *map(str, options)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=ON_CPUS | os.environ)  # as in a run
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - started, spent


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("model", type=Path, help="folder of an encoder, such as all-MiniLM-L6-v2")
    command.add_argument("--maps", type=int, default=5, help="UMAPs of each kind")
    arguments = command.parse_args()
    chance, spent = random.Random(0), {}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prompts = [f"p{number:03d}" for number in range(PROMPTS)]
        about = {prompt: [f"{topic} {chance.randint(1, 99)}" for topic in chance.sample(TOPICS, 3)] for prompt in prompts}
        tasks = [{"prompt_id": name, "cluster": name, "prompt": [{"role": "user", "content": "Why?"}]} for name in prompts]
        options = ["--tasks", write(tasks, tables.Tasks, folder / "tasks.parquet")]
        for policy in range(POLICIES):
            method, iteration, seed = ("base", -1, 0) if policy == 0 else (f"method-{policy}", 1, 42)
            keys = [{"prompt_id": prompt, "sample": sample} for prompt in prompts for sample in range(SAMPLES)]
            manners = MANNERS[: 1 + policy]
            answers = [
                key
                | {"response": some_answer(chance, about[key["prompt_id"]], manners), "finish_reason": "stop"}
                | {"completion_tokens": 1}
                for key in keys
            ]
            responses = write(answers, tables.Responses, folder / method / "responses.parquet")
            rewards = [key | {"reward": chance.random()} for key in keys]
            embeddings, rewards = (
                folder / method / "embeddings.parquet",
                write(rewards, tables.AnswerRewards, folder / method / "r"),
            )
            took = measured(
                *("embed.py", "--responses", responses, "--model", arguments.model, "--settings", '{"max_length": null}'),
                *("--embeddings", embeddings),
            )
            spent["embed"] = [sum(pair) for pair in zip(spent.get("embed", (0, 0)), took, strict=True)]
            options += ["--policy", method, iteration, seed, embeddings, rewards]
        coverage = ("--settings", json.dumps({"bootstrap": 1000, "seed": 42}), "--coverage", folder / "coverage.parquet")
        spent["embedding_coverage"] = measured("embedding_coverage.py", *options, *coverage)
        made = [part for name in ("coverage", "maps", "landscape") for part in (f"--{name}", folder / f"map-{name}.parquet")]
        settings = json.dumps({"neighbours": 15, "maps": arguments.maps, "seed": 42})
        spent["landscape"] = measured("landscape.py", *options, "--settings", settings, *made)
    print(f"{POLICIES * PROMPTS * SAMPLES:,} answers of {POLICIES} policies, {arguments.maps} maps of each kind")
    spent["all"] = [sum(pair) for pair in zip(*spent.values(), strict=True)]
    for stage, (seconds, processor) in spent.items():
        print(f"{stage:<20} {seconds:6.0f} s, {processor:6.0f} s of CPU")


if __name__ == "__main__":
    main()
