"""Generate: a table of requests and a model in, a table of completions out.

Everything an engine does goes through here: sampling positives, answering benchmarks, judging. One job is one shard: every
n-th request of the table, so a shard's composition depends on the table alone and a shard that is made again is the same.
"""

import json
import time
from pathlib import Path

import polars as pl

from drift import cli, policies
from drift.engines import load_engine
from drift.tables import Completions, Requests, read_table, write_table


def shard(requests: pl.DataFrame, number: int, count: int) -> pl.DataFrame:
    """Rows number-1, number-1+count, ... of the table in key order."""
    return requests.sort("request_id").gather_every(count, offset=number - 1)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--requests", required=True)
    command.add_argument("--policy", required=True, type=Path, help="folder of the model")
    command.add_argument("--manifest", required=True, type=Path, help="its policy.json")
    command.add_argument("--shard", required=True, nargs=2, type=int, metavar=("I", "N"), help="which of how many, from 1")
    command.add_argument("--engine", type=json.loads, default={}, help="JSON object of how the engine runs here")
    command.add_argument("--completions", required=True, help="table to write")
    arguments = command.parse_args()

    manifest = policies.read_manifest(arguments.manifest)
    requests = shard(read_table(Requests, arguments.requests), *arguments.shard)
    started = time.monotonic()
    engine = load_engine(arguments.policy, arguments.settings, arguments.engine)
    ready = time.monotonic()
    rows = engine.generate(requests.to_dicts())
    seconds = time.monotonic() - ready
    schema = Completions.create_empty().schema
    completions = pl.DataFrame(rows, schema={name: schema[name] for name in schema if name != "policy_hash"})
    if set(completions["request_id"]) != set(requests["request_id"]):
        raise cli.StageError("the engine did not answer every request; run again, and report it if it stays so")
    write_table(completions.with_columns(policy_hash=pl.lit(manifest["weights_sha256"])), Completions, arguments.completions)

    reasons = dict(completions["finish_reason"].value_counts().sort("finish_reason").iter_rows())
    read, written = completions["prompt_tokens"].sum(), completions["completion_tokens"].sum()
    print(
        f"{requests.height} requests, {read} tokens read, {written} written in {seconds:.1f} s "
        f"({written / seconds:.0f} tokens/s) after {ready - started:.1f} s of engine start; finished by {reasons}"
    )


if __name__ == "__main__":
    cli.run(main)
