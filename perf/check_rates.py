"""How fast code checks answers: `make bench-checks` or `python perf/check_rates.py --help`.

2,000 answers of some hundred words with three checks each; fails above 2 s of CPU. With IFEval's
task file its instructions too, which lm-eval's code checks strictly and loosely: each prompt stands
in for an answer to itself.
"""

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import checks as stage
import tasks
from drift import benchmarks, tables
from drift.downloads import fetch

ANSWERS, SECONDS = 2000, 2.0
WORDS = (60, 240)  # of an answer
CHECKS = (
    {"name": "words", "arguments": {"at_most": 120}},
    {"name": "sentences", "arguments": {"at_least": 3}},
    {"name": "paragraphs", "arguments": {"at_most": 2}},
    {"name": "includes", "arguments": {"phrase": "for example"}},
    {"name": "ends_with", "arguments": {"text_at_end": "?"}},
    {"name": "no_digits"},
    {"name": "no_list"},
)


def some_answer(chance: random.Random) -> str:
    """Sentences in paragraphs."""
    words = [chance.choice(("owls", "fly", "at", "night,", "and", "for example", "hear. They", "3", "see.\n\nSome"))]
    words += [
        chance.choice(("owls", "fly", "low.", "Mice", "hide", "well,", "or\n- not")) for _ in range(chance.randint(*WORDS))
    ]
    return " ".join(words)


def timed(kind: str, found: pl.DataFrame, answers: list[str], files: dict[str, Path]) -> tuple[float, int]:
    """Seconds of CPU that the checks of `answers`, one a task, take, and how many there are."""
    rows = [
        {"prompt_id": name, "sample": 0, "response": answer, "finish_reason": "stop", "completion_tokens": 1}
        for name, answer in zip(found["prompt_id"], answers, strict=True)
    ]
    responses = pl.DataFrame(rows, schema=tables.Responses.create_empty().schema)
    started = time.process_time()
    checks = stage.check(found, responses, benchmarks.load(kind).check, files)
    return time.process_time() - started, checks.height


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("ifeval", nargs="?", type=Path, help="IFEval's task file")
    arguments = command.parse_args()
    chance, kind = random.Random(0), benchmarks.load("checks")
    rows = [
        {"prompt_id": str(number), "cluster": str(number)}
        | kind.task({"prompt": "Tell me of owls.", "checks": chance.sample(CHECKS, 3)})
        for number in range(ANSWERS)
    ]
    found = pl.DataFrame(rows, schema=tables.Tasks.create_empty().schema)
    seconds, n = timed("checks", found, [some_answer(chance) for _ in rows], {})
    print(f"{ANSWERS:,} answers, {n:,} checks: {seconds:.2f} s of CPU")
    if arguments.ifeval:
        found = tasks.collect(benchmarks.load("ifeval"), arguments.ifeval)
        with TemporaryDirectory() as folder:
            files = {}
            for name, address in benchmarks.check_files("ifeval").items():
                files[name] = Path(folder, name)
                files[name].mkdir()
                fetch(address, files[name])
            took, n = timed("ifeval", found, [prompt[0]["content"] for prompt in found["prompt"].to_list()], files)
        print(f"IFEval, {found.height:,} answers, {n:,} checks, strict and loose: {took:.2f} s of CPU")
    if seconds > SECONDS:
        raise SystemExit(f"more than {SECONDS:g} s of CPU")


if __name__ == "__main__":
    main()
