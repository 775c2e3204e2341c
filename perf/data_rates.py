"""How long raw conversations take to become pools, and how much memory: `make bench-data` or
`python perf/data_rates.py --help`.

Builds shards in WildChat-1M's schema from real ShareGPT text (windows of consecutive exchanges, as
many to a conversation as WildChat has, and a number in front so that none is a copy of another),
then has the pipeline make the pools of them, near-duplicates and a benchmark of 1,000 ShareGPT
prompts kept out. On a smaller number of conversations the same programs run side by side with the
same clauses as `datasets` map and filter (perf/stock_data.py, one process), and the rows are
compared.
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
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from common import measured
from tests.conftest import snakemake, tiny_config
from tests.shards import wildchat_1m

from drift.config import CorrectionAllusions, Decontamination, Filters, LabelNoise
from drift.downloads import fetch, folder_name
from drift.sources import sharegpt
from drift.sources.conversations import frames
from drift.sources.exchanges import exchanges
from pools import REPLIES

REPOSITORY = Path(__file__).resolve().parents[1]

SHARD = 50_000
MEAN_TURNS = 2.5
PROMPTS = 1_000
POOLS = ("dsat", "sat", "corrections", "wordless")
POOL_SETTINGS = {
    "labeler": "lexical",
    "label_noise": LabelNoise().model_dump(),
    "allusions": CorrectionAllusions().model_dump(),
    "seed": 42,
    "pick": "hash",
    "test_conversations": 100,
    "test_correction_conversations": 50,
    "max_dsat": None,
    "max_sat": None,
    "max_corrections": 491,
    "filters": Filters().model_dump(),
    "decontamination": Decontamination().model_dump(),
}


def sharegpt_exchanges() -> tuple[pl.DataFrame, str]:
    """Users' messages and replies of ShareGPT, conversation by conversation."""
    address = yaml.safe_load((REPOSITORY / "examples/sharegpt.yaml").read_text())["data"]["sources"]["sharegpt"]["path"]
    folder = REPOSITORY / "downloads" / folder_name(address)
    if not folder.is_dir():
        # Whole or not at all: the pipeline takes a folder that is there for fetched.
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            (Path(temporary) / "files").mkdir()
            fetch(address, Path(temporary) / "files")
            (Path(temporary) / "files").rename(folder)
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


def write_prompts(file: Path) -> None:
    """A benchmark of PROMPTS of ShareGPT's own opening messages: some of the conversations hold
    one."""
    said = sharegpt_exchanges()
    openings = said.unique("conversation", keep="first", maintain_order=True)["user"].unique(maintain_order=True)
    chosen = openings.filter(openings.str.len_chars() > 20).sample(PROMPTS, seed=0)
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"id": f"p{n}", "prompt": text}) + "\n" for n, text in enumerate(chosen))


def apart(function: Callable, *arguments: object) -> None:
    """Call it in a process of its own: the system counts a parent's memory as its children's."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()


def shards_of(folder: Path, conversations: int) -> Path:
    """The folder of so many conversations, built where it is not there."""
    shards = folder / f"shards-{conversations}"
    if not shards.is_dir():
        building = folder / "building"
        building.mkdir(parents=True)
        apart(build, building, conversations)
        building.rename(shards)
    return shards


def configuration(folder: Path, shards: Path) -> dict:
    """A run of everything at its defaults, with a benchmark to keep out."""
    prompts = folder / "prompts.jsonl"
    if not prompts.is_file():
        apart(write_prompts, prompts)
    config = tiny_config(folder / "no-model", folder / "no-logs")
    config["data"]["sources"] = {"wildchat": {"kind": "wildchat", "path": str(shards)}}
    config["evaluation"]["benchmarks"]["sharegpt"] = {
        **config["evaluation"]["benchmarks"]["heldout"],
        "kind": "prompts",
        "path": str(prompts),
    }
    return config


def whole(folder: Path, conversations: int) -> None:
    """Run the pipeline on so many conversations, and print what each stage took."""
    shards = shards_of(folder, conversations)
    config = configuration(folder, shards)
    size = sum(file.stat().st_size for file in shards.iterdir()) / 1e9
    print(f"{conversations:,} conversations, {size:.2f} GB of shards", flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    start = time.monotonic()
    snakemake(folder, config, "--forceall", "pairs_all")
    seconds, peak = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    data = folder / "results" / config["run"]
    for record in sorted(data.glob("timings/**/*.jsonl"), key=lambda path: path.stat().st_mtime):
        took = json.loads(record.read_text().splitlines()[-1])
        print(f"{record.parent.name:8} {took['s']:7.1f} s, {took['max_rss'] / 1e3:.2f} GB")
    less = " (or less: building took as much)" if peak == before else ""
    print(f"{'all':8} {seconds:7.1f} s, {peak / 1e6:.2f} GB at most{less}")
    for table in ("turns", "labels", *POOLS, "quarantine"):
        print(f"{table}: {pq.read_metadata(data / 'data' / f'{table}.parquet').num_rows:,} rows")
    counted = "SELECT lineage, reason, dropped FROM read_parquet($1) WHERE dropped > 0 ORDER BY lineage, step"
    for lineage, reason, dropped in duckdb.execute(counted, [str(data / "data/ledgers/pools.parquet")]).fetchall():
        print(f"  {lineage}: {dropped:,} dropped: {reason}")


def side_by_side(folder: Path, conversations: int) -> None:
    """Our three programs against the stock way, one after the other on the same shards; print the
    ratio, and compare the rows."""
    shards, ours, stock = shards_of(folder, conversations), folder / "ours", folder / "stock"
    tasks, settings = ours / "tasks.parquet", json.dumps(POOL_SETTINGS)
    configuration(folder, shards)
    ours.mkdir(exist_ok=True)
    python, scripts = sys.executable, REPOSITORY / "scripts"
    asked = json.dumps({"seed": 42, "kind": "prompts", "max_tasks": None})
    measured(python, scripts / "tasks.py", "--source", folder / "prompts.jsonl", "--settings", asked, "--tasks", tasks)
    table = {name: ours / f"{name}.parquet" for name in ("turns", "labels", *POOLS, "quarantine")}
    sources = json.dumps({"sources": {"wildchat": {"kind": "wildchat"}}})
    labelers = json.dumps({"labelers": {"lexical": {"kind": "lexical"}}})
    ledger = ("--ledger", ours / "ledger.parquet")
    written = [word for name in (*POOLS, "quarantine") for word in (f"--{name}", table[name])]
    programs = [
        ("turns", "--source", f"wildchat={shards}", "--turns", table["turns"], "--settings", sources),
        ("labels", "--turns", table["turns"], "--labels", table["labels"], "--settings", labelers),
        (
            "pools",
            "--turns",
            table["turns"],
            "--labels",
            table["labels"],
            "--benchmark",
            f"sharegpt={tasks}",
            *written,
            "--settings",
            settings,
        ),
    ]
    took = [measured(python, scripts / f"{name}.py", *words, *ledger) for name, *words in programs]
    program = REPOSITORY / "perf/stock_data.py"
    theirs = measured(python, program, "--shards", shards, "--benchmark", tasks, "--folder", stock, "--settings", settings)
    mine, memory = sum(stage["seconds"] for stage in took), max(stage["memory"] for stage in took)
    print(f"{conversations:,} conversations, side by side:")
    print(f"turns, labels and pools     {mine:7.1f} s, {memory:.2f} GiB")
    print(f"datasets, one process       {theirs['seconds']:7.1f} s, {theirs['memory']:.2f} GiB")
    print(f"ratio                       {theirs['seconds'] / mine:7.1f}")
    for pool in ("dsat", "sat", "corrections"):
        stocked = pl.read_parquet(stock / f"{pool}.parquet")
        rows = pl.read_parquet(table[pool]).rename({name: plain for plain, name in REPLIES[pool].items()})
        shared = [name for name in stocked.columns if name in rows.columns]
        rows, stocked = (frame.select(shared).sort("prompt_id") for frame in (rows, stocked))
        same = rows.equals(stocked.cast(dict(rows.schema)))
        print(f"{pool}: {rows.height:,} rows and {stocked.height:,}: {'the same' if same else 'NOT THE SAME'}")
        if not same:
            either = pl.concat([rows.select("prompt_id"), stocked.select("prompt_id")])
            print("  in one alone:", either.filter(~pl.col("prompt_id").is_duplicated())["prompt_id"].head(5).to_list())


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--conversations", type=int, default=1_000_000, help="for the pipeline as a whole; 0: not at all")
    command.add_argument("--side-by-side", type=int, default=50_000, help="for both ways; 0: not at all")
    command.add_argument("--folder", type=Path, help="keep shards and tables there; shards that are there are used")
    arguments = command.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.conversations:
            whole(folder, arguments.conversations)
        if arguments.side_by_side:
            side_by_side(folder, arguments.side_by_side)


if __name__ == "__main__":
    main()
