"""Open a whole run to SQL: a DuckDB file with one view per kind of table, over all files of that kind.

Reads:  the tables, policy.json and gates.json under --results.
Writes: a DuckDB database (--catalog) that holds views only, no rows: it stays small and always shows the files as they are.

The views hold the path of --results exactly as it is given. Give it relative to the repository root and open the catalog from
there: `duckdb results/demo/catalog.duckdb`. A table that exists once per policy has the parts of its path as columns: model,
method (base, warmup or the method's name), iteration (-1 base, 0 warm-up, k after iteration k).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from drift import cli, files, tables

STORAGE_VERSION = "v1.2.0"
_NAME = r"[^/]+"
_MODEL = rf"(?P<model>(?!(?:data|eval|judges|state|benchmarks|logs)/){_NAME})"  # folders that no model can be named after
_POLICY = rf"{_MODEL}/(?:(?P<first>base|warmup)|(?P<method>{_NAME})/iter(?P<number>\d+))"
_BENCHMARK = rf"(?P<benchmark>{_NAME})"
_EVAL = rf"{_POLICY}/eval/{_BENCHMARK}"
_JUDGE = rf"{_EVAL}/judge/(?P<judge>{_NAME})"
_TRIAL = rf"judges/(?P<judge>{_NAME})/validation/{_BENCHMARK}"  # a judge tried on published figures: no policy, so null

KEYS = {  # columns that come from a path: type, description
    "model": ("VARCHAR", "name of the base model in the configuration"),
    "method": ("VARCHAR", "the method's name; base and warmup before the first iteration; null: shared by all policies"),
    "iteration": ("INTEGER", "-1 base, 0 warm-up, k after iteration k; null: shared by all policies"),
    "pool": ("VARCHAR", "dsat, sat, corrections or the benchmark's name"),
    "benchmark": ("VARCHAR", "name of the benchmark; heldout-pairs: the held-out corrections; null: sampling for training"),
    "judge": ("VARCHAR", "name of the judge; null: the policy's own answers"),
    "labeler": ("VARCHAR", "name of the rubric labeler; null: nothing to do with labels"),
}
POLICY_KEYS = ("model", "method", "iteration")
EVAL_KEYS = (*POLICY_KEYS, "benchmark")


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | int | None) -> str:
    """`value` as an SQL literal."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def duckdb_type(dtype: pl.DataType) -> str:
    """The DuckDB type in which a Parquet column of a polars type is read."""
    if isinstance(dtype, pl.List):
        return duckdb_type(dtype.inner) + "[]"
    if isinstance(dtype, pl.Struct):
        return "STRUCT(" + ", ".join(f"{quoted(field.name)} {duckdb_type(field.dtype)}" for field in dtype.fields) + ")"
    if isinstance(dtype, pl.Datetime):
        return "TIMESTAMP"
    simple = {pl.String: "VARCHAR", pl.Int32: "INTEGER", pl.Int64: "BIGINT", pl.Float64: "DOUBLE", pl.Boolean: "BOOLEAN"}
    return simple[dtype.base_type()]


@dataclass(frozen=True)
class View:
    """A view: its columns (name -> type and description), patterns of its files' paths, and how files are read."""

    description: str
    columns: dict[str, tuple[str, str]]
    paths: tuple[str, ...]
    keys: tuple[str, ...]
    reader: str = "read_parquet({files}, hive_partitioning = false)"


def table_view(schema, *paths: str, keys: tuple[str, ...] = ()) -> View:
    """The view of a table kind; its comments are the schema's docstring and descriptions."""
    dtypes = schema.create_empty().schema
    columns = {name: (duckdb_type(dtypes[name]), column.description or "") for name, column in schema.columns().items()}
    return View(" ".join((schema.__doc__ or "").split()), columns, paths, keys)


def json_reader(columns: dict[str, tuple[str, str]]) -> str:
    """How files of one JSON object each are read; a key that an object does not have is null."""
    types = ", ".join(f"{quoted(name)}: {literal(kind)}" for name, (kind, _) in columns.items())
    return "read_json({files}, columns = {{" + types + "}})"


_MANIFEST = {  # what policies shows of a policy.json; a key that a manifest does not have is null
    "name": ("VARCHAR", "the policy's name"),
    "weights_sha256": ("VARCHAR", "hash of the weights; completions.policy_hash refers to it"),
    "parent_sha256": ("VARCHAR", "hash of the policy that the iteration started from; null for the base model"),
    "pairs_sha256": ("VARCHAR", "hash of the pairs it was trained on; null for the base model"),
    "settings": ("JSON", "the training settings"),
    "seed": ("BIGINT", "seed of the training"),
    "versions": ("JSON", "versions of the libraries that trained it"),
    "steps_done": ("BIGINT", "optimizer steps that ran"),
    "steps_planned": ("BIGINT", "optimizer steps that were planned"),
    "changed_share": ("DOUBLE", "share of the weights that changed, 0 to 1; null for the base model"),
    "seconds": ("DOUBLE", "training time in seconds"),
    "tokens": ("BIGINT", "tokens trained on, as the trainer counts them"),
}
POLICIES = View(
    "One row per policy: its policy.json, which is written last and names everything that made it.",
    _MANIFEST,
    (rf"{_POLICY}/policy\.json",),
    POLICY_KEYS,
    json_reader(_MANIFEST),
)
GATES = View(
    "The correctness gates of every policy: a gate that does not pass fails its stage.",
    {
        "gate": ("VARCHAR", "name of the check"),
        "passed": ("BOOLEAN", "whether it held"),
        "detail": ("VARCHAR", "what was counted or compared"),
    },
    (rf"{_POLICY}/gates\.json",),
    POLICY_KEYS,
    "(SELECT unnest(gates, recursive := true) FROM "
    "read_json({files}, columns = {{gates: 'STRUCT(gate VARCHAR, passed BOOLEAN, detail VARCHAR)[]'}}))",
)
_USAGE = {
    "shard": ("BIGINT", "number of the shard, from 1"),
    "shards": ("BIGINT", "of how many"),
    "requests": ("BIGINT", "requests of the shard, all of which have a completion"),
    "finish_reasons": ("JSON", "completions by finish_reason"),
    "prompt_tokens": ("BIGINT", "tokens read"),
    "completion_tokens": ("BIGINT", "tokens written"),
    "seconds": ("DOUBLE", "time to answer, without the start"),
    "start_seconds": ("DOUBLE", "time to start the engine"),
    "calls": ("BIGINT", "requests sent to an endpoint, repetitions included; null for a model that ran here, as the next five"),
    "answered": ("BIGINT", "requests that the endpoint answered in this job"),
    "reused": ("BIGINT", "requests that it had answered before"),
    "failed": ("BIGINT", "requests that got no answer"),
    "errors": ("JSON", "the commonest reasons, and how many requests each"),
    "usd": ("DOUBLE", "what the job cost, by the configured prices"),
    "models": ("VARCHAR[]", "completions.policy_hash of the shard"),
    "settings": ("JSON", "the settings of the generation"),
    "requests_sha256": ("VARCHAR", "hash of the table of requests"),
    "completions_sha256": ("VARCHAR", "hash of the shard"),
    "versions": ("JSON", "versions of the libraries"),
}
GENERATIONS = View(
    "One row per shard of completions: what it took, what it cost, how replies ended, and what made it.",
    _USAGE,
    (rf"{_POLICY}/completions/{_NAME}\.json", rf"{_EVAL}/completions/{_NAME}\.json", rf"{_JUDGE}/completions/{_NAME}\.json"),
    (*EVAL_KEYS, "judge"),
    json_reader(_USAGE),
)
VIEWS = {
    "turns": table_view(tables.Turns, r"data/turns\.parquet"),
    "labels": table_view(tables.Labels, r"data/labels\.parquet"),
    "agreement": table_view(tables.Agreement, r"data/agreement\.parquet"),
    "quarantine": table_view(tables.Quarantine, r"data/quarantine\.parquet"),
    "contamination": table_view(tables.Contamination, rf"data/contamination/{_NAME}\.parquet"),
    "dsat": table_view(tables.Dsat, r"data/dsat\.parquet"),
    "sat": table_view(tables.Sat, r"data/sat\.parquet"),
    "corrections": table_view(tables.Corrections, r"data/corrections\.parquet"),
    "tasks": table_view(tables.Tasks, rf"data/benchmarks/{_BENCHMARK}\.parquet", keys=("benchmark",)),
    "prompts": table_view(
        tables.Prompts,
        rf"{_MODEL}/prompts/(?P<pool>dsat|sat|corrections)\.parquet",
        rf"{_MODEL}/eval/(?P<pool>{_NAME})/prompts\.parquet",
        keys=("model", "pool"),
    ),
    "requests": table_view(
        tables.Requests,
        rf"{_POLICY}/requests\.parquet",
        rf"{_MODEL}/eval/{_BENCHMARK}/requests\.parquet",
        rf"{_JUDGE}/requests\.parquet",
        rf"{_TRIAL}/requests\.parquet",
        rf"data/labelers/(?P<labeler>{_NAME})/requests\.parquet",
        keys=(*EVAL_KEYS, "judge", "labeler"),
    ),
    "completions": table_view(
        tables.Completions,
        rf"{_POLICY}/completions/{_NAME}\.parquet",
        rf"{_EVAL}/completions/{_NAME}\.parquet",
        rf"{_JUDGE}/completions/{_NAME}\.parquet",
        rf"{_TRIAL}/completions/{_NAME}\.parquet",
        rf"data/labelers/(?P<labeler>{_NAME})/completions/{_NAME}\.parquet",
        keys=(*EVAL_KEYS, "judge", "labeler"),
    ),
    "ranks": table_view(tables.Ranks, rf"{_POLICY}/rank/(?:scores|rewards)\.parquet", keys=POLICY_KEYS),
    "pairs": table_view(tables.Pairs, rf"{_POLICY}/pairs\.parquet", keys=POLICY_KEYS),
    "dropped": table_view(tables.Dropped, rf"{_POLICY}/dropped\.parquet", keys=POLICY_KEYS),
    "train": table_view(tables.TrainLog, rf"{_POLICY}/train\.parquet", keys=POLICY_KEYS),
    "margins": table_view(tables.Margins, rf"{_POLICY}/margins\.parquet", keys=POLICY_KEYS),
    "gradients": table_view(tables.Gradients, rf"{_POLICY}/gradients\.parquet", keys=POLICY_KEYS),
    "diagnostics": table_view(tables.Diagnostics, rf"{_POLICY}/diagnostics\.parquet", keys=POLICY_KEYS),
    "reference_logps": table_view(tables.Logps, rf"{_POLICY}/reference\.parquet", keys=POLICY_KEYS),
    "responses": table_view(tables.Responses, rf"{_EVAL}/responses\.parquet", keys=EVAL_KEYS),
    "judgments": table_view(
        tables.Judgments, rf"{_JUDGE}/judgments\.parquet", rf"{_TRIAL}/judgments\.parquet", keys=(*EVAL_KEYS, "judge")
    ),
    "published": table_view(tables.Published, r"eval/validation/(?P<kind>pairwise|score)/published\.parquet"),
    "validation": table_view(tables.Validation, r"eval/validation\.parquet"),
    "logps": table_view(tables.Logps, rf"{_EVAL}/logps\.parquet", keys=EVAL_KEYS),
    "scores": table_view(tables.Scores, r"eval/scores\.parquet"),
    "comparisons": table_view(tables.Comparisons, r"eval/comparisons\.parquet"),
    "ledger": table_view(tables.Ledger, r"data/ledger\.parquet"),
    "generations": GENERATIONS,
    "policies": POLICIES,
    "gates": GATES,
}


def path_keys(match: re.Match) -> dict[str, str | int]:
    """The key columns that a path stands for."""
    keys = {name: part for name, part in match.groupdict().items() if part is not None}
    first, number = keys.pop("first", None), keys.pop("number", None)
    if first is not None:
        return {**keys, "method": first, "iteration": {"base": -1, "warmup": 0}[first]}
    return keys if number is None else {**keys, "iteration": int(number)}


def grouped(view: View, files: list[str]) -> list[tuple[dict, list[str]]]:
    """Those of `files` (relative to the results) that the view is over, in groups of equal keys, all of it sorted."""
    groups: dict[tuple, list[str]] = {}
    for file in sorted(files):
        for match in filter(None, (re.fullmatch(path, file) for path in view.paths)):
            keys = path_keys(match)
            groups.setdefault(tuple(keys.get(name) for name in view.keys), []).append(file)
    ordered = sorted(groups.items(), key=lambda group: [(value is not None, value) for value in group[0]])
    return [(dict(zip(view.keys, values, strict=True)), found) for values, found in ordered]


def select(view: View, results: str, keys: dict, files: list[str]) -> str:
    """The query over one group of files."""
    paths = "[" + ", ".join(literal(f"{results}/{file}") for file in files) + "]"
    constants = [f"{literal(value)}::{KEYS[name][0]} AS {quoted(name)}" for name, value in keys.items()]
    return f"SELECT {', '.join([*constants, *map(quoted, view.columns)])} FROM {view.reader.format(files=paths)}"


def nothing(view: View) -> str:
    """A query with the view's columns and no rows."""
    types = {name: KEYS[name][0] for name in view.keys} | {name: kind for name, (kind, _) in view.columns.items()}
    return f"SELECT {', '.join(f'NULL::{kind} AS {quoted(name)}' for name, kind in types.items())} WHERE false"


def statements(results: str, files: list[str]) -> list[str]:
    """The SQL that makes all views and their comments; `files` are relative to `results`, in any order."""
    made = []
    for name, view in VIEWS.items():
        groups = [select(view, results, keys, found) for keys, found in grouped(view, files)]
        made.append(f"CREATE VIEW {quoted(name)} AS {' UNION ALL '.join(groups) or nothing(view)}")
        made.append(f"COMMENT ON VIEW {quoted(name)} IS {literal(view.description)}")
        comments = {key: KEYS[key][1] for key in view.keys} | {key: text for key, (_, text) in view.columns.items()}
        made += [f"COMMENT ON COLUMN {quoted(name)}.{quoted(key)} IS {literal(text)}" for key, text in comments.items()]
    return made


def result_files(results: str) -> list[str]:
    """The tables and manifests under `results`, relative to it."""
    root = Path(results)
    if not root.is_dir():
        raise cli.StageError(f"{results}: no such folder. Run the pipeline first, or give the folder of a run in --results.")
    return [file.relative_to(root).as_posix() for kind in ("*.parquet", "*.json") for file in root.rglob(kind)]


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--results", required=True, help="folder of a run, relative to the repository root")
    command.add_argument("--catalog", required=True, help="DuckDB database to write")
    arguments = command.parse_args()
    made = statements(arguments.results, result_files(arguments.results))
    with files.atomic_path(arguments.catalog) as temporary:
        temporary.unlink()  # DuckDB makes its own file, and takes an empty one for a broken database
        with duckdb.connect() as connection:
            # Older shells than the library that writes it should open the catalog too.
            connection.execute(f"ATTACH {literal(str(temporary))} AS catalog (STORAGE_VERSION '{STORAGE_VERSION}')")
            connection.execute("USE catalog")
            for statement in made:
                connection.execute(statement)


if __name__ == "__main__":
    cli.run(main)
