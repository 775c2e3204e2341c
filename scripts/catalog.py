"""Open a whole run to SQL: a DuckDB file with a view a kind of table, over all files of it.

Reads:  the tables, policy.json and gates.json under --results.
Writes: a DuckDB database (--catalog) of views alone, which always show the files as they are.

The views hold the path of --results exactly as it is given. Give it relative to the repository root
and open the catalog from there: `duckdb results/demo/catalog.duckdb`. From any other folder say
where that is: `SET file_search_path = '/path/to/repository'`. A table that exists once for
every policy has the parts of its path as columns: model, method (base, warmup or the method's
name), iteration (-1 base, 0 warm-up, k after iteration k), seed (0 for base and warm-up, which all
seeds share). `FROM dictionary` explains every column, `FROM explain('pairs')` those of one view.
"""

import _python  # noqa: F401 - before what may be missing
import re
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

from drift import cli, files, layout, tables
from drift.metrics import pair_lengths, trace
from drift.names import HELDOUT_PAIRS
from drift.tables import json_files

# Older shells than the library that writes it should open the catalog too.
STORAGE_VERSION = "v1.2.0"

# Columns that come from a file's path: type and description. They come first, in this order.
KEYS = {
    "model": ("VARCHAR", "name of the base model in the configuration"),
    "method": ("VARCHAR", "the method's name; base and warmup before the first iteration; null: shared by all policies"),
    "iteration": ("INTEGER", "-1 base, 0 warm-up, k after iteration k; null: shared by all policies"),
    "seed": ("INTEGER", "row of seeds that it was sampled and trained with; 0: base and warm-up; null: shared by all policies"),
    "pool": ("VARCHAR", "dsat, sat, corrections, wordless or the benchmark's name"),
    "benchmark": ("VARCHAR", f"name of the benchmark; {HELDOUT_PAIRS}: the held-out corrections; null: about training pairs"),
    "judge": ("VARCHAR", "name of the judge; null: the policy's own answers"),
    "rater": ("VARCHAR", "the judge or the ranker that rated pairs, by its name in the configuration"),
    "labeler": ("VARCHAR", "name of the labeler that has a model; null: not about labels"),
    "explored": ("INTEGER", "the iteration whose policies, and the base model, are compared"),
    "kind": ("VARCHAR", "what was published: pairwise (preferences) or score"),
}

# What the wildcards of drift.layout stand for in a path, where that is not just a name.
_WILDCARDS = {
    # No model is called like a folder of the run.
    "model": rf"(?P<model>(?!(?:{'|'.join(sorted(layout.reserved('model')))})/)[^/]+)",
    "policy": f"(?P<policy>{layout.BASE}|{layout.trained_by()})",
    "trained": f"(?P<policy>{layout.trained_by()})",
    "table": f"(?P<pool>{'|'.join(tables.POOLS)})",
    "later": f"(?P<later>{layout.later()})",
    "i": r"\d+",
    "n": r"\d+",
}


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
    simple = {
        pl.String: "VARCHAR",
        pl.Int32: "INTEGER",
        pl.Int64: "BIGINT",
        pl.Float32: "FLOAT",
        pl.Float64: "DOUBLE",
        pl.Boolean: "BOOLEAN",
    }
    return simple[dtype.base_type()]


@dataclass(frozen=True)
class View:
    """A view over all files of some patterns of drift.layout, by their names."""

    description: str
    columns: dict[str, tuple[str, str]]  # type and description by name, without the keys
    patterns: tuple[str, ...]
    reader: str = "read_parquet({files}, hive_partitioning = false)"
    # Keys that the path has under another name (wildcard -> key), or does not have (key -> value).
    renamed: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    # Columns that a key of the view would hide, by the name that they are shown under.
    shown_as: dict[str, str] = field(default_factory=dict)
    # SQL of columns that the files do not have.
    computed: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns: what any of the patterns, or `fixed`, says that the rows do not."""
        names = {name for pattern in self.patterns for name in path_pattern(pattern).groupindex}
        if names & {"policy", "later"}:
            names |= {"model", *(part.name for part in fields(layout.PolicyName))}
        names = {self.renamed.get(name, name) for name in names} | self.fixed.keys()
        return tuple(name for name in KEYS if name in names and name not in self.columns)

    def key_values(self, file: str) -> dict[str, str | int | None] | None:
        """The keys of a file (relative to the results); None where the view is not over it."""
        match = next(filter(None, (path_pattern(pattern).fullmatch(file) for pattern in self.patterns)), None)
        if match is None:
            return None
        parts = {self.renamed.get(name, name): part for name, part in match.groupdict().items() if part is not None}
        if "later" in parts:
            later = layout.LaterData.parse(parts["later"])
            parts |= {"model": later.model or parts.get("model"), "iteration": later.iteration}
            parts |= vars(later.policy) if later.policy else {}
        if "policy" in parts:
            parts |= vars(layout.PolicyName.parse(parts["policy"]))
        return {name: (self.fixed | parts).get(name) for name in self.keys}


@cache
def path_pattern(name: str) -> re.Pattern:
    """A pattern of drift.layout as a regular expression, its wildcards as named groups."""
    parts = re.split(r"\{(\w+)\}", layout.PATTERNS[name])
    texts, wildcards = map(re.escape, parts[::2]), parts[1::2]
    groups = [_WILDCARDS.get(wildcard, f"(?P<{wildcard}>[^/]+)") for wildcard in wildcards]
    return re.compile("".join(text + group for text, group in zip(texts, [*groups, ""], strict=True)))


# The key of a prompt, where a table has it under another name (with ~1, ~2, ... after it where a
# pair is trained on again) or in two columns.
_OF_PAIR = r"regexp_replace(pair_id, '~\d+$', '')"
_OF_TURN = "conversation_id || '/' || turn"
_PROMPT_ID = dict.fromkeys((tables.Pairs, tables.Margins, tables.Gradients, tables.Logps), _OF_PAIR)
_PROMPT_ID |= dict.fromkeys((tables.Turns, tables.Labels, tables.ClassProbabilities), _OF_TURN)


def table_view(schema, *patterns: str, **options: dict[str, str]) -> View:
    """The view of a kind of table; its comments are the schema's docstring and descriptions."""
    dtypes = schema.create_empty().schema
    shown_as = options.get("shown_as", {})
    columns = {
        shown_as.get(name, name): (duckdb_type(dtypes[name]), column.description or "")
        for name, column in schema.columns().items()
    }
    if prompt := _PROMPT_ID.get(schema):
        columns["prompt_id"] = ("VARCHAR", "prompts.prompt_id, by which every view that is about a prompt can be joined")
        options["computed"] = {"prompt_id": prompt}
    return View(" ".join((schema.__doc__ or "").split()), columns, patterns, **options)


def json_reader(columns: dict[str, tuple[str, str]]) -> str:
    """How files of one JSON object each are read; a key that an object does not have is null."""
    types = ", ".join(f"{quoted(name)}: {literal(kind)}" for name, (kind, _) in columns.items())
    return "read_json({files}, columns = {{" + types + "}})"


# What the description of a table of later data begins with.
LATER = "Of data that come after the start, by the iteration that learns from them, and with those of the start in them."
# Where something is asked of a model, by the names of layout.FOLDERS.
_ASKED = ("sampling", "sampling_of", "answers", "verdicts", "judge_validation", "labeling", "later_labeling")
VIEWS = {
    "turns": table_view(tables.Turns, "turns"),
    "labels": table_view(tables.Labels, "labels"),
    "class_probabilities": table_view(tables.ClassProbabilities, "class_probabilities"),
    "agreement": table_view(tables.Agreement, "agreement"),
    "quarantine": table_view(tables.Quarantine, "quarantine"),
    "contamination": table_view(tables.Contamination, "contamination"),
    "dsat": table_view(tables.Dsat, "dsat"),
    "sat": table_view(tables.Sat, "sat"),
    "corrections": table_view(tables.Corrections, "corrections"),
    "wordless": table_view(tables.Wordless, "wordless"),
    "tasks": table_view(tables.Tasks, "tasks"),
    "prompts": table_view(tables.Prompts, "prompts", "benchmark_prompts", renamed={"benchmark": "pool"}),
    "requests": table_view(
        tables.Requests,
        "sampling_requests",
        "sampling_of_requests",
        "benchmark_requests",
        "verdicts_requests",
        "judge_validation_requests",
        "labeling_requests",
        "later_labeling_requests",
        shown_as={"seed": "completion_seed"},
    ),
    "completions": table_view(tables.Completions, *(f"{asked}_completions" for asked in _ASKED)),
    "ranks": table_view(tables.Ranks, "judge_scores", "rewards", "implied_rewards"),
    "likelihoods": table_view(tables.Likelihoods, "likelihoods"),
    "rank_agreement": table_view(tables.RankAgreement, "rank_agreement"),
    "pairs": table_view(tables.Pairs, "pairs"),
    "unpaired": table_view(tables.Unpaired, "unpaired"),
    "dropped": table_view(tables.Dropped, "dropped"),
    "train": table_view(tables.TrainLog, "train_log"),
    "margins": table_view(tables.Margins, "margins"),
    "gradients": table_view(tables.Gradients, "gradients"),
    "diagnostics": table_view(tables.Diagnostics, "diagnostics"),
    "improvement": table_view(tables.Improvement, "improvement"),
    "behaviour": table_view(tables.Behaviour, "behaviour"),
    "pair_quality": table_view(tables.PairQuality, "pair_quality"),
    "pair_judgments": table_view(tables.Judgments, "pair_judgments"),
    "pair_scores": table_view(tables.Ranks, "pair_scores"),
    "reference_logps": table_view(tables.Logps, "reference_logps"),
    "responses": table_view(tables.Responses, "responses"),
    "checks": table_view(tables.Checks, "checks"),
    "embeddings": table_view(tables.Embeddings, "embeddings"),
    "answer_rewards": table_view(tables.AnswerRewards, "answer_rewards", "checked_rewards"),
    "exploration": table_view(tables.Exploration, "embedding_coverage", "map_coverage"),
    "maps": table_view(tables.Maps, "maps"),
    "landscapes": table_view(tables.Landscape, "landscape"),
    "judgments": table_view(tables.Judgments, "judgments", "published_judgments"),
    "published": table_view(tables.Published, "published"),
    "validation": table_view(tables.Validation, "validation"),
    "logps": table_view(tables.Logps, "logps", fixed={"benchmark": HELDOUT_PAIRS}),
    "scores": table_view(tables.Scores, "scores"),
    "comparisons": table_view(tables.Comparisons, "comparisons"),
    "ledger": table_view(tables.Ledger, "ledger"),
    "generations": View(
        "One row per shard of completions: what it took, what it cost, how replies ended, and what made it.",
        json_files.USAGE,
        ("comparing_usage", *(f"{asked}_usage" for asked in _ASKED)),
        json_reader(json_files.USAGE),
        renamed={"rater": "judge"},
    ),
    "policies": View(
        "One row per policy: its policy.json, which is written last and names everything that made it.",
        json_files.MANIFEST,
        ("manifest",),
        json_reader(json_files.MANIFEST),
    ),
    "gates": View(
        "The correctness gates of every policy: a gate that does not pass fails its stage.",
        json_files.GATES,
        ("gates",),
        "(SELECT unnest(gates, recursive := true) FROM "
        "read_json({files}, columns = {{gates: 'STRUCT(gate VARCHAR, passed BOOLEAN, detail VARCHAR)[]'}}))",
    ),
}
for _name in ("turns", "labels", "class_probabilities", "quarantine", "contamination", *tables.POOLS, "prompts"):
    VIEWS[f"later_{_name}"] = replace(
        VIEWS[_name], patterns=(f"later_{_name}",), renamed={}, description=f"{LATER} {VIEWS[_name].description}"
    )


def grouped(view: View, files: list[str]) -> list[tuple[dict, list[str]]]:
    """Those of `files` (relative to the results) that the view is over, by equal keys and
    sorted."""
    groups: dict[tuple, list[str]] = {}
    for file in sorted(files):
        if (keys := view.key_values(file)) is not None:
            groups.setdefault(tuple(keys.values()), []).append(file)
    ordered = sorted(groups.items(), key=lambda group: [(value is not None, value) for value in group[0]])
    return [(dict(zip(view.keys, values, strict=True)), members) for values, members in ordered]


def select(view: View, results: str, keys: dict, files: list[str]) -> str:
    """The query over one group of files."""
    paths = "[" + ", ".join(literal(f"{results}/{file}") for file in files) + "]"
    constants = [f"{literal(value)}::{KEYS[name][0]} AS {quoted(name)}" for name, value in keys.items()]
    stored = {shown: quoted(name) for name, shown in view.shown_as.items()} | view.computed
    columns = [f"{stored[name]} AS {quoted(name)}" if name in stored else quoted(name) for name in view.columns]
    return f"SELECT {', '.join([*constants, *columns])} FROM {view.reader.format(files=paths)}"


def nothing(view: View) -> str:
    """A query with the view's columns and no rows."""
    types = {name: KEYS[name][0] for name in view.keys} | {name: kind for name, (kind, _) in view.columns.items()}
    return f"SELECT {', '.join(f'NULL::{kind} AS {quoted(name)}' for name, kind in types.items())} WHERE false"


_OF_THIS_FILE = "database_name = current_database() AND schema_name = 'main' AND NOT internal"
# Views over other views. Columns as in View, and the query.
DERIVED = {
    "pair_lengths": (
        pair_lengths.DESCRIPTION,
        {key: KEYS[key] for key in pair_lengths.KEYS} | pair_lengths.COLUMNS,
        pair_lengths.QUERY,
    ),
    "trace": (trace.DESCRIPTION, {key: KEYS[key] for key in trace.KEYS} | trace.COLUMNS, trace.QUERY),
}
# The same over the comments of all of them, which DESCRIBE does not show.
DICTIONARY = {
    "views": (
        "One row per view: what it holds; FROM explain('NAME') explains its columns. Views read files relative to the folder where "
        "the run was started: where one says that no files are found, open the catalog there, or SET file_search_path to it.",
        {"view": ("VARCHAR", "name of the view"), "description": ("VARCHAR", "what its rows are")},
        f"SELECT view_name AS view, comment AS description FROM duckdb_views() WHERE {_OF_THIS_FILE} ORDER BY ALL",
    ),
    "dictionary": (
        "One row per column of every view: the data dictionary.",
        {
            "view": ("VARCHAR", "name of the view"),
            "position": ("INTEGER", "of the column in its view, from 1"),
            "column": ("VARCHAR", "name of the column"),
            "type": ("VARCHAR", "its DuckDB type"),
            "description": ("VARCHAR", "what it means, with units and what null stands for"),
        },
        'SELECT table_name AS view, column_index AS position, column_name AS "column", data_type AS type, '
        f"comment AS description FROM duckdb_columns() WHERE {_OF_THIS_FILE} ORDER BY view, position",
    ),
}


def created(name: str, query: str, description: str, comments: dict[str, str]) -> list[str]:
    """The SQL that makes a view and the comments on it and on its columns."""
    return [
        f"CREATE VIEW {quoted(name)} AS {query}",
        f"COMMENT ON VIEW {quoted(name)} IS {literal(description)}",
        *(f"COMMENT ON COLUMN {quoted(name)}.{quoted(key)} IS {literal(text)}" for key, text in comments.items()),
    ]


def statements(results: str, files: list[str]) -> list[str]:
    """The SQL that makes all views and their comments; `files` are relative to `results`, in any
    order."""
    made = []
    for name, view in VIEWS.items():
        groups = [select(view, results, keys, members) for keys, members in grouped(view, files)]
        comments = {key: KEYS[key][1] for key in view.keys} | {key: text for key, (_, text) in view.columns.items()}
        made += created(name, " UNION ALL ".join(groups) or nothing(view), view.description, comments)
    for name, (description, columns, query) in (DERIVED | DICTIONARY).items():
        made += created(name, query, description, {key: text for key, (_, text) in columns.items()})
    explained = 'SELECT "column", type, description FROM dictionary WHERE "view" = name ORDER BY position'
    return [*made, f"CREATE MACRO explain(name) AS TABLE {explained}"]


def result_files(results: str) -> list[str]:
    """The tables and manifests under `results` as they are now, relative to it."""
    root = Path(results)
    if not root.is_dir():
        raise cli.StageError(f"{results}: no such folder. Run the pipeline first, or give the folder of a run in --results.")
    found = [file.relative_to(root).as_posix() for kind in ("*.parquet", "*.json") for file in root.rglob(kind)]
    return layout.last_split(results, found)


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument("--results", required=True, help="folder of a run, relative to the repository root")
    command.add_argument("--catalog", required=True, help="DuckDB database to write")
    arguments = command.parse_args()
    made = statements(arguments.results, result_files(arguments.results))
    with files.atomic_path(arguments.catalog) as temporary:
        temporary.unlink()  # DuckDB makes its own file, and takes an empty one for a broken database
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {literal(str(temporary))} AS catalog (STORAGE_VERSION '{STORAGE_VERSION}')")
            connection.execute("USE catalog")
            for statement in made:
                connection.execute(statement)


if __name__ == "__main__":
    cli.run(main)
