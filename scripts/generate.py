"""Generate: a table of requests and a model in, a table of completions out.

Reads:  a Requests table (--requests), and the model: its folder (--policy) and manifest
        (--manifest), or nothing where it is behind an endpoint.
Writes: one shard of Completions (--completions), and next to it a JSON of the work (--usage): what
        it cost, how replies ended, versions and hashes.

Everything that asks a model goes through here: sampling, answering benchmarks, labelling, judging.
A shard is every n-th request of the table, so its composition depends on the table alone, and a
shard that is made again is the same.
"""

import _python  # noqa: F401 - before what may be missing
import json
import time
from pathlib import Path

import polars as pl

from drift import cli, policies
from drift.engines import load_engine
from drift.engines.thoughts import parted
from drift.files import sha256, write_text
from drift.settings.sampling import EngineRuntime, GenerationSettings
from drift.tables import Completions, Requests, read_table, write_table


def shard(requests: pl.DataFrame, number: int, count: int) -> pl.DataFrame:
    """Rows number-1, number-1+count, ... of the table in the order of its keys."""
    return requests.sort("request_id").gather_every(count, offset=number - 1)


def usage(completions: pl.DataFrame) -> dict:
    """What a shard of Completions took: requests, how they ended, tokens read and written."""
    reasons = completions["finish_reason"].value_counts().sort("finish_reason")
    return {
        "requests": completions.height,
        "finish_reasons": dict(reasons.iter_rows()),
        "prompt_tokens": int(completions["prompt_tokens"].sum()),
        "completion_tokens": int(completions["completion_tokens"].sum()),
    }


def main() -> None:
    command = cli.parser(__doc__, GenerationSettings)
    command.add_argument("--requests", required=True, help="Requests table")
    command.add_argument("--policy", nargs="?", type=Path, help="folder of the model, unless it is behind an endpoint")
    command.add_argument("--manifest", nargs="?", type=Path, help="its policy.json")
    command.add_argument("--shard", required=True, nargs=2, type=int, metavar=("I", "N"), help="which of how many, from 1")
    command.add_argument(
        "--engine",
        required=True,
        type=EngineRuntime.model_validate_json,
        help="JSON object of how the engine runs here, which changes no reply",
    )
    command.add_argument("--state", type=Path, help="folder where the replies of an endpoint are kept for good")
    command.add_argument("--completions", required=True, help="table to write")
    command.add_argument("--usage", required=True, type=Path, help="JSON to write")
    arguments = command.parse_args()

    settings: GenerationSettings = arguments.settings
    model = policies.read_manifest(arguments.manifest)["weights_sha256"] if arguments.manifest else None
    requests = shard(read_table(Requests, arguments.requests), *arguments.shard)
    started = time.monotonic()
    longest = (requests["prompt_token_ids"].list.len().fill_null(0) + settings.max_tokens).to_list()
    engine = load_engine(arguments.policy, settings, arguments.engine, arguments.state, longest)
    ready = time.monotonic()
    rows = [{"policy_hash": model} | parted(row) for row in engine.generate(requests.to_dicts())]
    seconds = time.monotonic() - ready
    completions = pl.DataFrame(rows, schema=Completions.create_empty().schema)
    if set(completions["request_id"]) != set(requests["request_id"]):
        raise cli.StageError("the engine did not answer every request; run again, and report it if it happens again")
    write_table(completions, Completions, arguments.completions)

    done = usage(completions)
    done |= {"seconds": round(seconds, 3), "start_seconds": round(ready - started, 3)} | engine.usage
    done |= {
        "shard": arguments.shard[0],
        "shards": arguments.shard[1],
        "settings": settings.model_dump(mode="json"),
        "models": sorted(completions["policy_hash"].unique()),
        "requests_sha256": sha256(arguments.requests),
        "completions_sha256": sha256(arguments.completions),
        "versions": policies.versions(),
    }
    if arguments.policy:
        done |= policies.origin(arguments.engine.tensor_parallel)
    write_text(arguments.usage, json.dumps(done, indent=2, sort_keys=True) + "\n")
    print(
        f"{done['requests']} requests, {done['prompt_tokens']} tokens read, {done['completion_tokens']} written in "
        f"{seconds:.1f} s ({done['completion_tokens'] / seconds:.0f} tokens/s) after {ready - started:.1f} s of engine "
        f"start; finished by {done['finish_reasons']}"
    )


if __name__ == "__main__":
    cli.run(main)
