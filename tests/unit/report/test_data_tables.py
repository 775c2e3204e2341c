"""What the report says of benchmark prompts in the conversations."""

import duckdb
import pytest

from drift.report.data_tables import contamination
from drift.report.reading import Catalog
from tests.builders.run import CONFIG

COLUMNS = "pool VARCHAR, prompt_id VARCHAR, benchmark VARCHAR, task VARCHAR, how VARCHAR, evidence VARCHAR"


@pytest.fixture
def catalog(tmp_path):
    """A catalog in which later data hold the row of the start once more, and others."""
    path = str(tmp_path / "catalog.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE tasks AS SELECT 'late' AS benchmark, unnest(['t1', 't2', 't3', 't4']) AS prompt_id")
        for name in ("quarantine", "contamination"):
            connection.execute(f"CREATE TABLE {name} ({COLUMNS})")
            connection.execute(f"CREATE TABLE later_{name} (iteration INTEGER, {COLUMNS})")
            for row in ("1, 'c1/0', 't1'", "2, 'c1/0', 't1'", "2, 'c2/0', 't2'", "2, 'c3/0', 't2'", "3, 'c4/0', 't3'"):
                iteration, prompt, task = row.split(", ")
                later, number = ("", "") if iteration == "1" else ("later_", f"{iteration}, ")
                values = f"{number}'dsat', {prompt}, 'late', {task}, 'ngram', 'words'"
                connection.execute(f"INSERT INTO {later}{name} VALUES ({values})")
    return Catalog(path)


def test_prompts_in_later_data_are_counted_each_once_up_to_the_last_iteration(catalog):
    found = contamination(catalog, CONFIG)
    assert found.counts == [{"pool": "dsat", "benchmark": "late", "how": "ngram", "n": 3}]
    assert {row.prompt_id for row in found.examples} == {"c1/0", "c2/0", "c3/0"}
    assert found.late == [{"benchmark": "late", "tasks": 4, "held": 2, "rows": 3}]
