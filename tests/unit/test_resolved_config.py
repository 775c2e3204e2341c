"""The configuration that a run keeps is complete, readable and the one that ran."""

import yaml

from drift.config import load
from tests.builders.run import CONFIG, run_stage, stage


def test_configuration_is_written_with_its_defaults_in_the_declared_order(tmp_path):
    run_stage("resolved_config.py", "--settings", CONFIG.model_dump_json(), "--config", "config.yaml", cwd=tmp_path)
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert written == CONFIG.model_dump(mode="json") == load(written)
    assert list(written)[:3] == ["run", "seeds", "iterations"]


def test_key_that_does_not_exist_is_named(tmp_path):
    done = stage("resolved_config.py", "--settings", '{"rounds": 3}', "--config", "config.yaml", cwd=tmp_path)
    assert done.returncode != 0
    assert "rounds: Extra inputs are not permitted" in done.stderr
    assert not (tmp_path / "config.yaml").exists()
