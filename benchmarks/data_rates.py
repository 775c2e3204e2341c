"""How long raw conversations take to become pools, and how much memory: `make bench-data` or `python tests/bench_data.py --help`.

Builds shards in WildChat-1M's schema from real ShareGPT text (windows of consecutive exchanges, as many to a conversation as
WildChat has, and a number in front so that none is a copy of another), then has the pipeline make the pools of them.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY)]

from tests.conftest import snakemake, tiny_config  # noqa: E402
from tests.shards import wildchat_1m  # noqa: E402

from drift.fetch import fetch, folder_name  # noqa: E402
from drift.sources import sharegpt  # noqa: E402
from drift.sources.conversations import frames  # noqa: E402
from drift.sources.exchanges import exchanges  # noqa: E402

SHARD = 50_000
MEAN_TURNS = 2.5


def sharegpt_exchanges() -> tuple[pl.DataFrame, str]:
    """Users' messages and replies of ShareGPT, conversation by conversation."""
    address = yaml.safe_load((REPOSITORY / "demo/run.yaml").read_text())["data"]["sources"]["sharegpt"]["path"]
    folder = REPOSITORY / "downloads" / folder_name(address)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        fetch(address, folder)
    parts = [exchanges(frame)[0] for frame in frames(sharegpt.read_conversations(sorted(folder.glob("*.json")), Counter()))]
    numbered = [part.with_columns(conversation=pl.col("id")) for part in parts]
    return pl.concat(numbered).filter(pl.col("response").is_not_null()).select("conversation", "user", "response")


def build(folder: Path, conversations: int) -> None:
    """Write the shards. The same number always gives the same shards."""
    said = sharegpt_exchanges()
    left = said.select(pl.len().over("conversation") - pl.int_range(pl.len()).over("conversation")).to_series().to_numpy()
    texts = said.select(pl.concat_list("user", "response").explode()).to_series().to_arrow().cast(pa.large_string())
    random = np.random.default_rng(0)
    for first in range(0, conversations, SHARD):
        count = min(SHARD, conversations - first)
        starts = random.integers(0, said.height, count)
        turns = np.minimum(random.geometric(1 / MEAN_TURNS, count), left[starts])
        lengths = turns * 2
        begins = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) - np.repeat(begins - starts * 2, lengths)
        shard = pl.Series(texts.take(pa.array(places)))
        shard = shard.scatter(begins, [f"[{first + n}] {text}" for n, text in enumerate(shard.gather(begins))])
        table = wildchat_1m(shard.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()), lengths, first)
        pq.write_table(table, folder / f"train-{first // SHARD:05d}.parquet")


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--conversations", type=int, default=1_000_000)
    command.add_argument("--folder", type=Path, help="keep shards and tables there; shards that are there are used")
    arguments = command.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        shards = folder / f"shards-{arguments.conversations}"
        if not shards.is_dir():
            building = folder / "building"
            building.mkdir(parents=True)
            # In a process of its own: the system counts a parent's memory as its children's.
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
                apart.submit(build, building, arguments.conversations).result()
            building.rename(shards)
        size = sum(file.stat().st_size for file in shards.iterdir()) / 1e9
        print(f"{arguments.conversations:,} conversations, {size:.2f} GB of shards", flush=True)
        config = tiny_config(folder / "no-model", folder / "no-logs")
        config["data"]["sources"] = {"wildchat": {"kind": "wildchat", "path": str(shards)}}
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        start = time.monotonic()
        snakemake(folder, config, "--forceall", "pairs_all")
        seconds, peak = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        data = folder / "results" / config["run"]
        for record in sorted(data.glob("benchmarks/*/all.jsonl"), key=lambda path: path.stat().st_mtime):
            print(f"{record.parent.name:8} {json.loads(record.read_text().splitlines()[-1])['s']:7.1f} s")
        print(
            f"all      {seconds:7.1f} s, {peak / 1e6:.2f} GB at most{' (or less: building took as much)' if peak == before else ''}"
        )
        for pool in ("dsat", "sat", "seed"):
            print(f"{pool}: {pq.read_metadata(data / 'data' / f'{pool}.parquet').num_rows:,}")


if __name__ == "__main__":
    main()
