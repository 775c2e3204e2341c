"""Configurations as files: what snakemake's reader would take without a word."""

import pytest

from drift.config import ConfigError
from drift.workflow.config_files import named, refuse_repeated_keys


def faults_of(tmp_path, text: str) -> str:
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        refuse_repeated_keys([tmp_path / "run.yaml"])
    return str(refused.value)


def test_a_key_that_stands_twice_is_refused_with_its_lines(tmp_path):
    text = "sampling: {temperature: 0.2}\nrun: a\nsampling: {n: 4}\n"
    assert f"sampling: stands twice in {tmp_path}/run.yaml, lines 1 and 3" in faults_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("data:\n  seed: 1\n  sources: {}\n  seed: 2\n", "data.seed"),
        ("models: {a: {path: x, path: y}}\n", "models.a.path"),
        ("rows: [{a: 1, a: 2}]\n", "rows.a"),
        ('"run": a\nrun: b\n', "run"),
        ("\ufeffrun: a\nrun: b\n", "run"),
        ('{"run": "a", "run": "b"}', "run"),
    ],
)
def test_keys_are_compared_in_every_section(tmp_path, text, key):
    assert f"  - {key}: stands twice" in faults_of(tmp_path, text)


def test_all_repeated_keys_are_listed(tmp_path):
    assert faults_of(tmp_path, "a: 1\nb: 1\na: 2\nb: 2\n").count("stands twice") == 2


@pytest.mark.parametrize(
    "text", ["a: {x: 1}\nb: {x: 1}\n", "a: &m {x: 1}\nb: {<<: *m, y: 2}\n", "- a\n- a\n", "", "a: [", "a:\t1\n\tb"]
)
def test_what_is_sound_or_no_yaml_at_all_is_left_to_snakemake(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    refuse_repeated_keys([tmp_path / "run.yaml", tmp_path / "missing.yaml"])


def test_the_command_line_may_call_a_run_by_a_number_and_a_file_may_not():
    assert named({"run": 2024, "seeds": [1]}, {"run": 2024}) == {"run": "2024", "seeds": [1]}
    assert named({"run": 2024}, {}) == {"run": 2024}, "a file has quotes for it"
    assert named({"run": True}, {"run": True}) == {"run": True}
