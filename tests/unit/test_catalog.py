"""The catalog has a commented view a kind of table, over all its files, and its keys resolve."""

import json
import os
import shutil
from pathlib import Path

import duckdb
import pytest

import catalog
from drift import layout, tables
from tests.builders.pairs import pair_row, pairs_table
from tests.builders.run import build_catalog, build_results, policies, stage
from tests.builders.texts import write

SEEDS = (1, 42)
LATER = ("data/iter2", "qwen-0.5b/drift/seed42/iter2/data")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    root = build_results(folder, SEEDS)
    build_later(root)
    for shard in root.rglob("completions/*.parquet"):
        usage = {"shard": 1, "shards": 1, "requests": 18, "finish_reasons": {"stop": 17, "length": 1}, "seconds": 2.5}
        shard.with_suffix(".json").write_text(json.dumps(usage))
    build_catalog(folder)
    return folder


def build_later(root: Path) -> None:
    """Data that come after the start: for all policies, and for one that users talk to."""
    for folder in LATER:
        for table in ("*.parquet", "contamination/*.parquet", "labelers/*/classes/*.parquet"):
            for path in (root / "data").glob(table):
                copy = root / folder / path.relative_to(root / "data")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        (root / folder / "prompts").mkdir()
        shutil.copytree(root / "qwen-0.5b/prompts", root / folder / "prompts/qwen-0.5b")


def test_later_data_have_the_iteration_and_where_they_are_of_a_policy_its_keys(run):
    keys = run.execute("SELECT DISTINCT model, method, iteration, seed FROM later_dsat ORDER BY ALL NULLS FIRST").fetchall()
    assert keys == [(None, None, 2, None), ("qwen-0.5b", "drift", 2, 42)]
    assert count(run, "FROM later_dsat") == 2 * count(run, "FROM dsat"), "and they are not among those of the start"
    fitted = run.execute("SELECT DISTINCT model, method, pool FROM later_prompts ORDER BY ALL NULLS FIRST").fetchall()
    assert ("qwen-0.5b", None, "dsat") in fitted
    assert ("qwen-0.5b", "drift", "dsat") in fitted


@pytest.fixture
def run(home, monkeypatch):
    monkeypatch.chdir(home)
    with duckdb.connect("results/demo/catalog.duckdb", read_only=True) as connection:
        yield connection


def count(connection, sql: str) -> int:
    return connection.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]


@pytest.mark.parametrize("name", catalog.VIEWS)
def test_view_has_rows_columns_and_comments(run, name):
    view = catalog.VIEWS[name]
    described = {column: kind for column, kind, *_ in run.execute(f"DESCRIBE {name}").fetchall()}
    expected = {key: catalog.KEYS[key][0] for key in view.keys} | {key: kind for key, (kind, _) in view.columns.items()}
    plain = {column: kind.replace('"', "") for column, kind in described.items()}
    assert plain == {column: kind.replace('"', "") for column, kind in expected.items()}
    assert count(run, f"FROM {name}") > 0
    assert run.execute("SELECT comment FROM duckdb_views() WHERE view_name = ?", [name]).fetchone() == (view.description,)
    bare = "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND coalesce(comment, '') = ''"
    assert run.execute(bare, [name]).fetchall() == []


@pytest.mark.parametrize("name", catalog.VIEWS)
def test_view_without_files_is_empty_but_typed(name):
    with duckdb.connect() as connection:
        for statement in catalog.statements("nowhere", []):
            connection.execute(statement)
        described = {column: kind for column, kind, *_ in connection.execute(f"DESCRIBE {name}").fetchall()}
        view = catalog.VIEWS[name]
        assert list(described) == [*view.keys, *view.columns]
        assert count(connection, f"FROM {name}") == 0


@pytest.mark.parametrize(
    ("child", "parent", "keys"),
    [
        ("labels", "turns", "conversation_id, turn"),
        ("dsat", "turns", "conversation_id, turn"),
        ("sat", "turns", "conversation_id, turn"),
        ("corrections", "turns", "conversation_id, turn"),
        ("(FROM completions WHERE benchmark IS NULL)", "requests", "model, method, iteration, seed, request_id"),
        (
            "(FROM completions WHERE judge IS NOT NULL)",
            "requests",
            "model, method, iteration, seed, benchmark, judge, request_id",
        ),
        (
            "(FROM completions WHERE benchmark IS NOT NULL AND judge IS NULL)",
            "(FROM requests WHERE method IS NULL)",
            "model, benchmark, request_id",
        ),
        ("judgments", "completions", "model, method, iteration, seed, benchmark, judge, request_id"),
        ("margins", "pairs", "model, method, iteration, seed, pair_id"),
        ("(SELECT * RENAME (prompt_id AS pair_id) FROM pair_judgments)", "pairs", "model, method, iteration, seed, pair_id"),
        ("pair_quality", "pair_judgments", "model, method, iteration, seed, rater"),
        ("responses", "tasks", "benchmark, prompt_id"),
        ("judgments", "responses", "model, method, iteration, seed, benchmark, prompt_id"),
        ("judgments", "tasks", "benchmark, prompt_id"),
        ("pairs", "policies", "model, method, iteration, seed"),
        ("gates", "policies", "model, method, iteration, seed"),
        ("(FROM scores WHERE seed > 0 OR iteration < 1)", "policies", "model, method, iteration, seed"),
        ("(SELECT prompt_id FROM requests)", "prompts", "prompt_id"),
        ("(SELECT pair_id AS prompt_id, model FROM pairs)", "prompts", "model, prompt_id"),
        ("(SELECT pair_id AS prompt_id FROM logps)", "corrections", "prompt_id"),
        ("(SELECT model, prompt_id, prompt FROM prompts WHERE pool = 'dsat')", "dsat", "prompt_id, prompt"),
    ],
)
def test_keys_resolve(run, child, parent, keys):
    assert count(run, f"FROM {child}") > 0
    assert count(run, f"SELECT * FROM {child} ANTI JOIN {parent} USING ({keys})") == 0


def test_every_policy_is_told_apart_by_its_path(run, home):
    expected = {(name.method, name.iteration, name.seed) for name, _ in policies(home / "results/demo", SEEDS)}
    assert len(expected) == 2 + 2 * 2 * 2
    assert set(run.execute("SELECT method, iteration, seed FROM policies").fetchall()) == expected
    assert set(run.execute("SELECT DISTINCT method, iteration, seed FROM logps").fetchall()) == expected
    assert set(run.execute("SELECT DISTINCT judge FROM judgments").fetchall()) == {("tiny",)}


def test_all_shards_are_in(run):
    assert count(run, "FROM completions WHERE (method, iteration, seed) = ('drift', 1, 42) AND benchmark IS NULL") == 18


def test_what_a_shard_took_and_how_its_replies_ended_can_be_asked(run):
    sql = (
        "SELECT requests, finish_reasons ->> 'length', seconds, calls FROM generations WHERE method = 'drift' AND iteration = 1"
    )
    assert run.execute(f"{sql} AND benchmark IS NULL").fetchone() == (18, "1", 2.5, None)


def test_dictionary_explains_every_column_of_every_view(run):
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    explained = run.execute('SELECT "view", "column", type, description FROM dictionary').fetchall()
    assert {(view, column) for view, column, *_ in explained} == set(run.execute(columns).fetchall())
    assert [row for row in explained if not row[3]] == []
    assert ("pairs", "iteration", "INTEGER", catalog.KEYS["iteration"][1]) in explained
    described = dict(run.execute("FROM views").fetchall())
    assert described.keys() == catalog.VIEWS.keys() | catalog.DERIVED.keys() | catalog.DICTIONARY.keys()
    assert all(described.values())


@pytest.mark.parametrize("name", catalog.DERIVED | catalog.DICTIONARY)
def test_a_view_over_views_has_the_columns_that_it_declares(run, name):
    declared = {column: kind for column, (kind, _) in (catalog.DERIVED | catalog.DICTIONARY)[name][1].items()}
    assert {column: kind for column, kind, *_ in run.execute(f"DESCRIBE {name}").fetchall()} == declared


def lengths(tmp_path, written: dict[str, list[dict]], dropped: dict[str, int]) -> list[dict]:
    """The view pair_lengths over pairs of policies of the model `m`, by policy, and of so many
    prompts without a pair."""
    root = tmp_path / "results"
    for policy, rows in written.items():
        tables.write_table(pairs_table(rows), tables.Pairs, root / f"m/{policy}/pairs.parquet")
        lost = [{"prompt_id": f"lost:{number}", "reason": "any", "detail": None} for number in range(dropped.get(policy, 0))]
        write(lost, tables.Dropped, root / f"m/{policy}/dropped.parquet")
    with duckdb.connect() as connection:
        for statement in catalog.statements(str(root), catalog.result_files(str(root))):
            connection.execute(statement)
        return connection.sql("FROM pair_lengths").pl().to_dicts()


def pair_of(pair_id: str, chosen: int, rejected: int, **columns) -> dict:
    """A pair whose sides have so many tokens."""
    return pair_row(pair_id, {"prompt": [1], "chosen": [2] * chosen, "rejected": [3] * rejected}, **columns)


def test_the_lengths_of_pairs_are_counted_by_policy(tmp_path):
    sampled = {"chosen_finish": "length", "chosen_cut": True, "chosen_from": "a#plain-0"}
    first = [
        pair_of("a", 10, 40, **sampled, rejected_cut=True),
        pair_of("b", 20, 20, rejected_cut=True),
        pair_of("c", 60, 30),
        pair_of("d", 30, 31),
    ]
    one, two, warmup = lengths(
        tmp_path,
        {
            "drift/seed42/iter1": first,
            "drift/seed42/iter2": [pair_of("c", 5, 6), pair_of("e", 7, 6)],
            "warmup": [pair_of("a", 1, 2)],
        },
        {"drift/seed42/iter1": 6},
    )
    assert (warmup["method"], warmup["shared_with_first"]) == ("warmup", None)
    assert (one["prompts"], one["pairs"], one["shared_with_first"]) == (10, 4, 1.0)
    assert (two["prompts"], two["pairs"], two["shared_with_first"]) == (2, 2, 0.5)
    assert (one["chosen_tokens"], one["rejected_tokens"], one["chosen_shorter"]) == (30.0, 30.25, 0.5)
    assert [one[f"chosen_tokens_{part}"] for part in ("q1", "median", "q3")] == [17.5, 25.0, 37.5]
    assert (one["chosen_sampled_cut"], one["chosen_logged_cut"]) == (0.25, 0.0)
    assert (one["rejected_sampled_cut"], one["rejected_logged_cut"]) == (0.0, 0.5)


def test_prompts_are_shared_with_the_first_iteration_of_the_same_method_alone(tmp_path):
    rows = lengths(
        tmp_path,
        {
            "drift/seed42/iter1": [pair_of("a", 1, 2)],
            "drift/seed42/iter2": [pair_of("b", 1, 2)],
            "spin/seed42/iter1": [pair_of("b", 1, 2)],
        },
        {},
    )
    assert [row["shared_with_first"] for row in rows] == [1.0, 0.0, 1.0]


def test_usage_of_judges_and_labelers_is_among_the_generations():
    shards = (
        "m/drift/seed42/iter1/completions/1-of-2.json",
        "m/drift/seed42/iter1/quality/tiny/completions/1-of-1.json",
        "m/base/eval/heldout/completions/1-of-1.json",
        "m/base/eval/heldout/judge/tiny/completions/1-of-1.json",
        "judges/tiny/validation/heldout/completions/1-of-1.json",
        "data/labelers/rubric/completions/1-of-1.json",
    )
    groups = catalog.grouped(catalog.VIEWS["generations"], list(shards))
    keys = {files[0]: tuple(keys.values()) for keys, files in groups}
    assert [keys[shard] for shard in shards] == [
        ("m", "drift", 1, 42, None, None, None),
        ("m", "drift", 1, 42, None, "tiny", None),
        ("m", "base", -1, 0, "heldout", None, None),
        ("m", "base", -1, 0, "heldout", "tiny", None),
        (None, None, None, None, "heldout", "tiny", None),
        (None, None, None, None, None, None, "rubric"),
    ]


def test_every_view_is_over_patterns_of_the_layout():
    names = [name for view in catalog.VIEWS.values() for name in view.patterns]
    assert set(names) <= layout.PATTERNS.keys()
    assert len(set(names)) == len(names), "a file in two views of one kind"


def test_order_of_files_does_not_matter():
    iterations = [f"m/{method}/seed42/iter{k}" for method in ("drift", "spin") for k in (1, 2, 10)]
    files = [
        f"{folder}/{file}"
        for folder in iterations
        for file in ("pairs.parquet", "completions/1-of-2.parquet", "completions/2-of-2.parquet")
    ]
    assert catalog.statements("r", files) == catalog.statements("r", files[::-1])


def test_ledgers_of_prompts_are_not_prompts(run):
    assert {pool for (pool,) in run.execute("SELECT DISTINCT pool FROM prompts").fetchall()} == {
        "dsat",
        "sat",
        "corrections",
        "heldout",
    }
    assert count(run, "SELECT * FROM prompts WHERE prompt IS NULL") == 0


def test_iterations_are_numbers():
    groups = catalog.grouped(catalog.VIEWS["pairs"], [f"m/drift/seed42/iter{k}/pairs.parquet" for k in (10, 2)])
    assert [keys["iteration"] for keys, _ in groups] == [2, 10]


@pytest.mark.parametrize(
    "stray",
    [
        "state/drift/seed42/iter1/pairs.parquet",
        "m/drift/seed42/iter1/old/pairs.parquet",
        "m/drift/seed42/iterx/pairs.parquet",
        "m/drift/iter1/pairs.parquet",
        "pairs.parquet",
    ],
)
def test_stray_files_are_left_out(stray):
    assert catalog.grouped(catalog.VIEWS["pairs"], [stray]) == []


def test_shards_of_an_earlier_split_are_left_out(tmp_path):
    """Another number of shards makes others beside them, and nothing deletes those."""
    folders = ("m/base/eval/b/completions", "data/labelers/l/classes")
    times = {"1-of-3": 10, "2-of-3": 40, "3-of-3": 30, "1-of-2": 50, "2-of-2": 20, "1-of-10": 5}
    for folder in folders:
        for shard, time in times.items():
            for kind in ("parquet", "json"):
                path = tmp_path / folder / f"{shard}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                os.utime(path, (time, time))
    (tmp_path / "m/base/policy.json").touch()
    left = {f"{folder}/{shard}-of-2.{kind}" for folder in folders for shard in (1, 2) for kind in ("parquet", "json")}
    assert set(catalog.result_files(str(tmp_path))) == left | {"m/base/policy.json"}


def test_quotes_in_a_path_are_data(tmp_path):
    root = build_results(tmp_path)
    moved = root.with_name("it's; DROP")
    root.rename(moved)
    done = stage("catalog.py", "--results", moved, "--catalog", moved / "catalog.duckdb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(moved / "catalog.duckdb"), read_only=True) as connection:
        assert count(connection, "FROM pairs") > 0


def test_missing_folder_is_named(tmp_path):
    done = stage("catalog.py", "--results", "results/none", "--catalog", "c.duckdb", cwd=tmp_path)
    assert done.returncode == 1
    assert "results/none: no such folder" in done.stderr
    assert not (tmp_path / "c.duckdb").exists()


def test_a_prompt_has_one_name_in_every_view(run):
    for name in ("turns", "labels", "pairs", "margins", "gradients", "logps", "reference_logps"):
        assert count(run, f"FROM {name} WHERE prompt_id IS NULL") == 0
        assert (
            count(
                run, f"FROM {name} ANTI JOIN (SELECT conversation_id || '/' || turn AS prompt_id FROM turns) USING (prompt_id)"
            )
            == 0
        )
    assert count(run, "FROM pairs JOIN dsat USING (prompt_id) WHERE method = 'drift'") > 0


def test_a_pair_that_is_trained_on_again_is_of_its_prompt(tmp_path):
    root = tmp_path / "results"
    tables.write_table(pairs_table([pair_of("s:1/0~2", 1, 2)]), tables.Pairs, root / "m/drift/seed42/iter1/pairs.parquet")
    with duckdb.connect() as connection:
        for statement in catalog.statements(str(root), catalog.result_files(str(root))):
            connection.execute(statement)
        assert connection.execute("SELECT pair_id, prompt_id FROM pairs").fetchall() == [("s:1/0~2", "s:1/0")]


def test_a_score_is_traced_to_its_verdicts_answers_and_conversations(run):
    policy = "method = 'drift' AND iteration = 2 AND seed = 42 AND benchmark = 'heldout'"
    (score,) = run.execute(f"SELECT value FROM scores WHERE {policy} AND metric = 'win_rate'").fetchone() or (None,)
    verdicts = f"SELECT * FROM trace WHERE {policy} AND part = 'verdict'"
    items = f"SELECT prompt_id, avg(value) AS value FROM ({verdicts}) GROUP BY ALL"
    assert run.execute(f"SELECT avg(value) FROM ({items})").fetchone()[0] == pytest.approx(score)
    assert (
        count(run, f"{verdicts} AND answer = (SELECT response FROM responses WHERE {policy} AND prompt_id = trace.prompt_id)")
        > 0
    )
    said = f"SELECT * FROM ({verdicts}) JOIN turns USING (conversation_id, turn) WHERE other = response"
    assert count(run, said) == count(run, verdicts) > 0, "the answer to compare with is the logged reply"
    pairs = "SELECT * FROM trace WHERE method = 'drift' AND iteration = 2 AND seed = 42 AND part = 'training pair'"
    assert count(run, pairs) == count(run, "FROM pairs WHERE method = 'drift' AND iteration = 2 AND seed = 42")
    assert count(run, f"{pairs} AND conversation_id IS NULL") == 0


def test_every_view_is_explained_by_its_name(run):
    rows = run.execute("FROM explain('pairs')").fetchall()
    assert [row[0] for row in rows[:4]] == ["model", "method", "iteration", "seed"]
    assert all(description for *_, description in rows)


def test_outside_its_folder_the_catalog_works_where_that_folder_is_named(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with duckdb.connect(str(home / "results/demo/catalog.duckdb"), read_only=True) as connection:
        with pytest.raises(duckdb.IOException, match="results/demo"):
            connection.execute("FROM pairs")
        (cure,) = connection.execute("SELECT description FROM views WHERE view = 'views'").fetchone()
        assert "SET file_search_path" in cure
        connection.execute(f"SET file_search_path = '{home}'")
        assert count(connection, "FROM pairs") > 0
