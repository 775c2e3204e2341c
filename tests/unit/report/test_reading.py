"""The catalog and the configuration as the report reads them."""

import pytest

from drift import cli
from drift.report.answers import side_by_side
from drift.report.pair_tables import sampled_pairs
from drift.report.reading import Catalog, Policy, configured, read_config
from tests.builders.run import CONFIG


def test_missing_table_is_named_with_its_cure(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(cli.StageError, match="Run from the folder where the catalog was made"):
        Catalog(str(home / "results/demo/catalog.duckdb")).query("SELECT * FROM scores")


def test_missing_catalog_is_named_with_its_cure(tmp_path):
    with pytest.raises(cli.StageError, match=r"catalog\.py"):
        Catalog(str(tmp_path / "none.duckdb"))


def test_configuration_of_a_run_is_read_back(home, tmp_path):
    assert read_config(home / "results/demo/config.resolved.yaml") == CONFIG
    (tmp_path / "old.yaml").write_text("run: demo\nrounds: 3\n")
    with pytest.raises(cli.StageError, match=r"(?s)old\.yaml: .*unknown key.*run the pipeline again"):
        read_config(tmp_path / "old.yaml")


def test_policies_of_earlier_runs_are_left_out_and_others_in_order():
    rows = [
        {"model": "qwen-0.5b", "method": method, "iteration": iteration, "seed": seed}
        for method, iteration, seed in (
            *(("spin", 1, 42), ("older", 1, 42), ("drift", 2, 42), ("drift", 1, 42), ("drift", 1, 9), ("drift", 1, 0)),
            *(("drift", 3, 42), ("warmup", 0, 0), ("base", -1, 0)),
        )
    ] + [{"model": "older", "method": "base", "iteration": -1, "seed": 0}]
    kept = [(row["method"], row["iteration"], row["seed"]) for row in configured(rows, CONFIG)]
    assert kept == [
        *(("base", -1, 0), ("warmup", 0, 0)),
        *(("drift", 1, 0), ("drift", 1, 42), ("drift", 2, 42), ("spin", 1, 42)),
    ]
    without_warmup = [row["method"] for row in configured(rows, CONFIG.model_copy(update={"methods": ["spin"]}))]
    assert without_warmup == ["base", "spin"], "which starts from the base model"


def test_the_last_policies_are_those_of_the_configurations_last_iteration(catalog):
    """One that had more iterations before has their policies in its folder."""
    fewer = CONFIG.model_copy(update={"iterations": 1})
    last = {(method, 1) for method in CONFIG.methods}
    assert {(found.policy.method, found.policy.iteration) for found in side_by_side(catalog, fewer)} == last
    assert {(pair.policy.method, pair.policy.iteration) for pair in sampled_pairs(catalog, fewer)} == last


def test_a_policy_has_one_name_with_what_tells_it_from_others_of_the_run():
    base, warmup, second = Policy("m", "base", -1, 0), Policy("m", "warmup", 0, 0), Policy("m", "drift", 2, 7)
    assert [policy.named(CONFIG) for policy in (base, warmup, second)] == ["the base model", "the warm-up", "drift iteration 2"]
    several = CONFIG.model_copy(update={"seeds": [7, 8], "models": {"m": None, "n": None}})
    assert second.named(several) == "drift iteration 2 (seed 7) of m"
    assert base.named(several) == "the base model of m"
