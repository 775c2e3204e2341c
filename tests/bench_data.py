"""How long raw conversations take to become pools, and how much memory: `make bench-data` or `python tests/bench_data.py --help`.

Builds shards in WildChat-1M's schema from real ShareGPT text (windows of consecutive exchanges, as many to a conversation as
WildChat has, and a number in front so that none is a copy of another), then runs the stages turns, labels and pools on them, one
after the other, as the pipeline does.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import subprocess
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
SCRIPTS = REPOSITORY / "scripts"
sys.path[:0] = [str(SCRIPTS), str(REPOSITORY)]

from drift.config import Data  # noqa: E402
from drift.fetch import fetch, folder_name  # noqa: E402
from drift.sources import sharegpt  # noqa: E402
from drift.sources.conversations import frames  # noqa: E402
from drift.sources.exchanges import exchanges  # noqa: E402
from tests.shards import wildchat_1m  # noqa: E402

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


def measure(program: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak gigabytes of a stage."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, str(SCRIPTS / program), *arguments], start_new_session=True)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{program} failed")
    return time.monotonic() - start, usage.ru_maxrss / 1e6


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--conversations", type=int, default=1_000_000)
    command.add_argument("--folder", type=Path, help="keep shards and tables there; shards that are there are used")
    arguments = command.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        shards = folder / f"shards-{arguments.conversations}"
        if not shards.is_dir():
            shards.mkdir(parents=True)
            # In a process of its own: the system counts a parent's memory as its children's.
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
                apart.submit(build, shards, arguments.conversations).result()
        size = sum(file.stat().st_size for file in shards.iterdir()) / 1e9
        data = Data(sources={"wildchat": {"kind": "wildchat", "path": str(shards)}}).model_dump(mode="json")
        tables = {name: str(folder / f"{name}.parquet") for name in ("turns", "labels", "dsat", "sat", "seed", "ledger")}
        sources = {"wildchat": {"kind": "wildchat", "mask": False}}
        stages = {
            "turns": ["--source", f"wildchat={shards}", "--settings", json.dumps({"sources": sources})],
            "labels": ["--turns", tables["turns"], "--settings", json.dumps({"labelers": data.pop("labelers")})],
            "pools": ["--turns", tables["turns"], "--labels", tables["labels"], "--settings", json.dumps(data | {"seed": 42})],
        }
        outputs = {"turns": ("turns", "ledger"), "labels": ("labels", "ledger"), "pools": ("dsat", "sat", "seed", "ledger")}
        measured = {}
        print(f"{arguments.conversations:,} conversations, {size:.2f} GB of shards")
        for stage, options in stages.items():
            options += [option for name in outputs[stage] for option in (f"--{name}", tables[name])]
            measured[stage] = measure(f"{stage}.py", *options)
            print(f"{stage:8} {measured[stage][0]:7.1f} s {measured[stage][1]:6.2f} GB", flush=True)
        print(
            f"{'all':8} {sum(seconds for seconds, _ in measured.values()):7.1f} s {max(peak for _, peak in measured.values()):6.2f} GB"
        )
        counts = {name: pl.scan_parquet(tables[name]).select(pl.len()).collect().item() for name in outputs["pools"][:3]}
        print(", ".join(f"{name}: {count:,}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
