"""Tokens written per second: our `sample` rule against the released code's way, on the same prompts
and this machine.

Half of the prompts go to the released way, all to ours, the other half to the released way again: a
machine whose speed drifts treats both alike. `make bench-generate` runs it on every fourth of 256
prompts, up to 128 tokens each, in some ten minutes on two cores; `SHARD="1 1"` takes all of them,
and some forty.
"""

import argparse
import json
import sys
from pathlib import Path

import yaml
from common import FOLDER, REPOSITORY, measured, rule, rule_seconds

REQUESTS = FOLDER / "drift/seed42/iter1/requests.parquet"


def released(shard: list[str], half: int) -> dict:
    """The released code's way on one half of the prompts of a shard."""
    sampling = yaml.safe_load((REPOSITORY / "perf/run.yaml").read_text())["sampling"]
    decoding = {"temperature": 0.7, "top_p": 0.9} | {
        key: sampling[key] for key in ("top_k", "repetition_penalty", "max_tokens")
    }
    options = ("--requests", REQUESTS, "--policy", FOLDER / "base/policy", "--settings", json.dumps(decoding))
    return measured(sys.executable, "perf/released_generate.py", *options, "--shard", *shard, "--half", half)


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--shard", nargs=2, default=["1", "4"], metavar=("I", "N"), help="which of how many, from 1")
    shard = command.parse_args().shard

    name = "-of-".join(shard)
    completions = FOLDER / f"drift/seed42/iter1/completions/{name}.parquet"
    halves = [released(shard, 0)]
    ours = rule(completions)
    halves.append(released(shard, 1))
    usage = json.loads((REPOSITORY / completions.with_suffix(".json")).read_text())

    theirs = {key: sum(half[key] for half in halves) for key in ("tokens", "start", "generating")}
    rates = {
        "released way": (theirs["tokens"], theirs["generating"], theirs["start"] / 2, max(half["memory"] for half in halves)),
        "ours": (usage["completion_tokens"], usage["seconds"], usage["start_seconds"], ours["memory"]),
    }
    print(f"{usage['requests']} prompts, {usage['prompt_tokens']} tokens to read")
    print(f"{'':<14}{'written':>9}{'seconds':>9}{'tokens/s':>10}{'start':>8}{'with start':>12}{'GiB':>6}")
    for way, (tokens, seconds, start, memory) in rates.items():
        whole = tokens / (seconds + start)
        print(f"{way:<14}{tokens:>9}{seconds:>9.0f}{tokens / seconds:>10.1f}{start:>8.0f}{whole:>12.1f}{memory:>6.1f}")
    (their_tokens, their_seconds, their_start, _), (tokens, seconds, start, _) = rates.values()
    spread = [half["generating"] / half["tokens"] for half in halves]
    job = rule_seconds(Path(f"sample/smollm2-135m/drift/seed42/iter1/{name}.jsonl"))
    print(
        f"ratio {tokens / seconds / (their_tokens / their_seconds):.2f}, with engine start "
        f"{tokens / (seconds + start) / (their_tokens / (their_seconds + their_start)):.2f}; "
        f"the released way's two halves differ by {max(spread) / min(spread):.2f} in speed; "
        f"our whole job took {job:.0f} s"
    )


if __name__ == "__main__":
    main()
