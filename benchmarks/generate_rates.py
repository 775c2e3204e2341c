"""Tokens written per second: our `sample` rule against the released code's way, on the same prompts and this machine.

Half of the prompts go to the released way, all to ours, the other half to the released way again: a machine whose speed drifts
treats both alike. `make bench-generate` runs it; 256 prompts and up to 128 tokens each take some twenty minutes on two cores.
"""

import json
import sys
from pathlib import Path

import polars as pl
import yaml
from common import FOLDER, REPOSITORY, measured, rule, rule_seconds

REQUESTS = FOLDER / "drift/iter1/requests.parquet"
SHARD = FOLDER / "drift/iter1/completions/1-of-1.parquet"
RECORD = Path("sample/smollm2-135m/drift/iter1/1-of-1.jsonl")


def released(first: int, end: int) -> dict:
    """The released code's way on some rows."""
    sampling = yaml.safe_load((REPOSITORY / "benchmarks/run.yaml").read_text())["sampling"]
    decoding = {"temperature": 0.7, "top_p": 0.9} | {
        key: sampling[key] for key in ("top_k", "repetition_penalty", "max_tokens")
    }
    options = ("--requests", REQUESTS, "--policy", FOLDER / "base/policy", "--settings", json.dumps({"decoding": decoding}))
    return measured(sys.executable, "benchmarks/released_generate.py", *options, "--rows", first, end)


def main() -> None:
    rows = pl.read_parquet(REPOSITORY / REQUESTS).height
    halves = [released(0, rows // 2)]
    ours = rule(SHARD)
    halves.append(released(rows // 2, rows))
    account = json.loads((REPOSITORY / SHARD.with_suffix(".json")).read_text())

    theirs = {key: sum(half[key] for half in halves) for key in ("tokens", "start", "generating")}
    rates = {
        "released way": (theirs["tokens"], theirs["generating"], theirs["start"] / 2, max(half["memory"] for half in halves)),
        "ours": (account["completion_tokens"], account["seconds"], account["start_seconds"], ours["memory"]),
    }
    print(f"{rows} prompts, {account['prompt_tokens']} tokens to read")
    print(f"{'':<14}{'written':>9}{'seconds':>9}{'tokens/s':>10}{'start':>8}{'with start':>12}{'GiB':>6}")
    for name, (tokens, seconds, start, memory) in rates.items():
        whole = tokens / (seconds + start)
        print(f"{name:<14}{tokens:>9}{seconds:>9.0f}{tokens / seconds:>10.1f}{start:>8.0f}{whole:>12.1f}{memory:>6.1f}")
    (their_tokens, their_seconds, their_start, _), (tokens, seconds, start, _) = rates.values()
    spread = [seconds_per_token(half) for half in halves]
    print(
        f"ratio {tokens / seconds / (their_tokens / their_seconds):.2f}, with engine start "
        f"{tokens / (seconds + start) / (their_tokens / (their_seconds + their_start)):.2f}; "
        f"the released way's two halves differ by {max(spread) / min(spread):.2f} in speed; "
        f"our whole job took {rule_seconds(RECORD):.0f} s"
    )


def seconds_per_token(half: dict) -> float:
    """Of one half of the released way."""
    return half["generating"] / half["tokens"]


if __name__ == "__main__":
    main()
