"""Inputs of the rules that sum up a run."""

import json
import shutil

import pytest

from drift import layout
from drift.config import Config
from drift.workflow.report import ReportInputs, table_comments
from tests.builders.run import CONFIG
from tests.conftest import REPOSITORY

POLICIES = ["qwen-0.5b/base", "qwen-0.5b/warmup", "qwen-0.5b/drift/seed42/iter1", "qwen-0.5b/spin/seed42/iter1"]


@pytest.fixture
def inputs():
    return ReportInputs(CONFIG.model_dump(mode="json"), layout.paths("results/demo"), POLICIES)


def test_ledger_has_every_stage_every_pool_in_use_and_every_trained_policy(inputs):
    assert inputs.ledgers(None) == [
        "results/demo/data/ledgers/turns.parquet",
        "results/demo/data/ledgers/labels.parquet",
        "results/demo/data/ledgers/pools.parquet",
        "results/demo/qwen-0.5b/prompts/corrections.ledger.parquet",
        "results/demo/qwen-0.5b/prompts/dsat.ledger.parquet",
        "results/demo/qwen-0.5b/prompts/sat.ledger.parquet",
        "results/demo/qwen-0.5b/eval/heldout/prompts.ledger.parquet",
        "results/demo/qwen-0.5b/eval/late/prompts.ledger.parquet",
        "results/demo/qwen-0.5b/warmup/ledger.parquet",
        "results/demo/qwen-0.5b/drift/seed42/iter1/ledger.parquet",
        "results/demo/qwen-0.5b/spin/seed42/iter1/ledger.parquet",
    ]


def test_catalog_waits_for_what_is_made_only_sometimes(inputs):
    assert inputs.contamination(None) == ["results/demo/data/contamination/late.parquet"]
    assert inputs.validation(None) == [], "no published verdicts are configured"
    assert inputs.diagnostics(None)[0] == "results/demo/qwen-0.5b/warmup/diagnostics.parquet"
    assert len(inputs.diagnostics(None)) == len(inputs.behaviour(None)) == len(POLICIES) - 1


def test_report_names_metrics_and_verdicts_of_the_configured_kinds(inputs):
    names = [path.relative_to(REPOSITORY / "scripts/drift").as_posix() for path in inputs.plugins]
    assert names == ["benchmarks/heldout.py", "benchmarks/prompts.py", "verdicts/letter.py"]


def test_configuration_survives_the_way_to_the_program_in_its_order():
    config = CONFIG.model_dump(mode="json")
    benchmarks = dict(reversed(config["evaluation"]["benchmarks"].items()))
    config["evaluation"]["benchmarks"] = benchmarks
    text = ReportInputs(config, layout.paths("results/demo"), POLICIES).configuration(None)
    assert Config.model_validate_json(text) == CONFIG
    kept = list(json.loads(text)["evaluation"]["benchmarks"])
    assert kept == list(benchmarks) != sorted(kept), "some defaults are of the first one"


@pytest.fixture
def scripts(tmp_path):
    shutil.copytree(REPOSITORY / "scripts/drift/tables", tmp_path / "drift/tables")
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ('description="the user\'s message"', 'description="what the user wrote"', True),
        ('"""A benchmark\'s tasks."""', '"""Tasks of a benchmark."""', True),
        ("class Tasks", "# A comment.\nclass Tasks", False),
    ],
    ids=["description", "docstring", "comment"],
)
def test_comments_of_the_tables_change_with_what_the_catalog_shows(scripts, before, after, changes):
    module, original = scripts / "drift/tables/data.py", table_comments(scripts)
    assert before in module.read_text()
    module.write_text(module.read_text().replace(before, after))
    assert (table_comments(scripts) != original) == changes
