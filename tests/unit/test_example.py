"""The example of the README, as it is: logs with feedback become pools."""

import shutil

import yaml

import status
import turns
from drift import tables
from tests.builders.sources import turns_settings
from tests.conftest import REPOSITORY, STAGE_PYTHON, snakemake

DSAT = {
    "support:1001/0": "This does not tell me any pressure.",
    "support:1002/0": "That is not helpful. Can I clean them?",
    "support:1003/0": "Your website says five. Which is it?",
    "support:1004/0": "Far too stiff, we say 'you' and use first names.",
    "support:1005/0": "I asked about repairs, not about what you sell.",
}


def test_every_reply_of_the_example_has_what_its_user_left(tmp_path):
    logs = {"support": REPOSITORY / "examples/chats.jsonl"}
    ledger = turns.write_turns(logs, turns_settings(support="logs"), tmp_path / "turns.parquet")
    assert ledger["dropped"].sum() == 0
    rows = tables.read_table(tables.Turns, tmp_path / "turns.parquet").to_dicts()
    disliked = {f"{row['conversation_id']}/{row['turn']}": row["feedback"] for row in rows if row["source_label"] == "DSAT"}
    assert disliked == DSAT | {"support:1007/0": None}
    assert sum(row["source_label"] == "SAT" for row in rows) == 5
    assert {row["user_id"] for row in rows if row["conversation_id"] in ("support:1001", "support:1002")} == {"support:1"}


def test_the_example_runs_as_the_readme_says(tmp_path):
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    config = yaml.safe_load((REPOSITORY / "examples/logs.yaml").read_text())
    config["environments"] = {"cpu": str(STAGE_PYTHON), "gpu": str(STAGE_PYTHON)}
    told = snakemake(tmp_path, config, "pairs_all").stderr
    assert "[3/3] pools: done in" in told
    assert "Finished jobid" not in told, "snakemake's own lines on jobs are numbers alone"
    assert status.last_start(tmp_path / "results/logs").state == "done"
    dsat = tables.read_table(tables.Dsat, tmp_path / "results/logs/data/dsat.parquet")
    assert dict(dsat.select("prompt_id", "feedback").rows()) == DSAT
    corrections = tables.read_table(tables.Corrections, tmp_path / "results/logs/data/corrections.parquet")
    assert set(corrections["prompt_id"]) == set(DSAT) - {"support:1005/0"}


def test_a_log_that_is_none_is_refused_on_the_terminal_with_the_stages_own_words(tmp_path):
    config = yaml.safe_load((REPOSITORY / "examples/logs.yaml").read_text())
    config["environments"] = {"cpu": str(STAGE_PYTHON), "gpu": str(STAGE_PYTHON)}
    config["data"]["sources"]["support"]["path"] = str(tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").write_text('{"question": "Hi", "answer": "Hello"}\n')
    done = snakemake(tmp_path, config, "pairs_all", check=False)
    assert done.returncode != 0
    (said,) = [line for line in (tmp_path / "results/logs/logs/turns/all.log").read_text().splitlines() if "error: " in line]
    assert "Error in rule turns: Read every source into one table" in done.stderr
    assert said in done.stderr
    assert "its log: results/logs/logs/turns/all.log" in done.stderr
    assert "start the same command again" in done.stderr
    assert status.last_start(tmp_path / "results/logs").state == "failed"
