"""The tables and the page of the study, from results that are made up and from those committed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml

import study
import study_chains
from drift import cli, tables
from drift.checks.topics import names_topic
from drift.config import load
from drift.layout import PolicyName
from tests.builders.texts import write
from tests.conftest import REPOSITORY

CHECKS = {"words(at_most=30)": "shorter", "includes(phrase=because)": "neutral", "words(at_least=60)": "longer"}
PROMPTS = [f"p{number}" for number in range(60)]
MODEL = "smollm2-135m"
# How many in twelve answers keep their check: by method what each iteration has.
KEPT = {"base": [4], "drift-checked": [5, 6, 7, 8, 10], "spin": [6, 8, 7, 5, 3], "iterdpo": [5, 5, 5]}


def task(prompt: str) -> tuple[int, str]:
    """The number of a prompt, and its check."""
    number = int(prompt[1:])
    return number, list(CHECKS)[number % 3]


def build_policy(folder: Path, kept: int) -> None:
    """Answers of 10 tokens, of which `kept` in twelve keep their check, in every direction."""
    rows = []
    for prompt in PROMPTS:
        number, check = task(prompt)
        # Of a direction's twenty prompts as many in a dozen, in an order that is the same for all.
        passed = number // 3 % 12 < kept
        rows.append({"prompt_id": prompt, "sample": 0, "check": check, "direction": CHECKS[check], "passed": passed})
    write(rows, tables.Checks, folder / "eval/wishes/checks.parquet")
    same = {"sample": 0, "finish_reason": "stop", "completion_tokens": 10}
    answers = [{"prompt_id": prompt, "response": "Yes."} | same for prompt in PROMPTS]
    write(answers, tables.Responses, folder / "eval/wishes/responses.parquet")


def build_pairs(folder: Path, better: int) -> None:
    """Ten pairs, in `better` of which y+ keeps the wish and y- does not; in the others neither
    does."""
    pairs = []
    for number in range(10):
        pair = {"pair_id": f"d{number}", "prompt": [{"role": "user", "content": "?"}], "prompt_token_ids": [1]}
        for side, tokens in (("chosen", 4), ("rejected", 6)):
            pair |= {side: side, f"{side}_from": "logged", f"{side}_cut": False, f"{side}_tokens": tokens}
            pair[f"{side}_token_ids"] = [1] * tokens
        pairs.append(pair | {"alludes": False})
    write(pairs, tables.Pairs, folder / "pairs.parquet")
    rated = [
        {"request_id": f"d{number}#{side}", "score": float(side == "chosen" and number < better)}
        for number in range(10)
        for side in ("chosen", "rejected")
    ]
    write(rated, tables.Ranks, folder / "quality/wishes/scores.parquet")
    row = {"measure": "tokens_median", "benchmark": "wishes", "value": 10.0, "before": 30.0, "base": 30.0, "low": 15.0}
    row |= {"passed": False, "stops": False, "detail": "short", "n": 60}
    write([row], tables.Behaviour, folder / "behaviour.parquet")


@pytest.fixture
def results(tmp_path) -> Path:
    """The folder of a run, for a test to change."""
    return build_run(tmp_path / "results")


def build_run(root: Path) -> Path:
    """Two seeds of two methods, and three iterations of one seed of a third, in `root`, which is
    returned."""
    same = {
        "cluster": "c",
        "topics": ["Ye"],
        "prompt": [{"role": "user", "content": "Tell me something about grey goosefish. Use no digits."}],
    }
    write(
        [{"prompt_id": prompt} | same | {"cluster": prompt} for prompt in PROMPTS],
        tables.Tasks,
        root / "data/benchmarks/wishes.parquet",
    )
    row = {"source": "users", "turn": 0, "split": "train", "flipped": False, "feedback": "No."} | same
    row |= {"labeler": "thumbs", "evidence": [], "score": 1.0}
    dsat = [row | {"prompt_id": f"d{n}", "conversation_id": f"d{n}", "cluster": f"d{n}", "rejected": "No."} for n in range(10)]
    write(dsat, tables.Dsat, root / "data/dsat.parquet")
    write([], tables.Sat, root / "data/sat.parquet")
    write([], tables.Corrections, root / "data/corrections.parquet")
    build_policy(root / MODEL / "base", *KEPT["base"])
    for method, kept in KEPT.items():
        for seed in (42,) if method == "iterdpo" else () if method == "base" else (42, 1):
            for k, one in enumerate(kept, 1):
                folder = root / MODEL / str(PolicyName(method, k, seed))
                build_policy(folder, one)
                build_pairs(folder, better=4 + k)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, pl.DataFrame]:
    """The tables of that run."""
    root = build_run(tmp_path_factory.mktemp("made") / "results")
    return study.made(study.Study(REPOSITORY / "examples/study.yaml", root))


def test_contrasts_are_over_the_seeds_that_have_all_of_their_policies(made):
    rows = {row["contrast"]: row for row in made["contrasts"].to_dicts()}
    longer = rows["gain of drift-checked less that of spin"]
    # Twenty prompts a direction hold a dozen and eight more: so many of them are kept.
    share = {kept: (kept + min(kept, 8)) / 20 for kept in range(13)}
    expected = (share[10] - share[5]) - (share[3] - share[6])
    assert longer["difference"] == pytest.approx(expected)
    assert (longer["seeds"], longer["family"], longer["verdict"]) == (2, "primary", "shown")
    assert longer["low"] < expected < longer["high"]
    assert rows["gain of spin"]["verdict"] == "shown", "it is claimed to fall"
    assert not any("iterdpo" in contrast for contrast in rows), "its last iteration is not there"


def test_a_claim_is_contradicted_by_an_interval_on_the_other_side(results):
    for k, kept in enumerate((3, 5, 7, 8, 10), 1):
        for seed in (42, 1):
            build_policy(results / MODEL / str(PolicyName("spin", k, seed)), kept)
    contrasts = study.made(study.Study(REPOSITORY / "examples/study.yaml", results))["contrasts"]
    assert contrasts.filter(contrast="gain of spin")["verdict"].to_list() == ["contradicted"]


def test_pairs_are_counted_by_which_reply_keeps_more(made):
    first = made["pairs"].filter(method="spin", seed=1, iteration=1).to_dicts()
    assert first == [
        {"method": "spin", "iteration": 1, "seed": 1, "pairs": 10, "better": 0.5, "tie": 0.5, "worse": 0.0}
        | {"chosen_tokens": 4.0, "rejected_tokens": 6.0}
    ]
    (row,) = made["contrasts"].filter(contrast="better pairs of spin, last less first").to_dicts()
    assert row["difference"] == pytest.approx(0.4)


def test_scores_have_each_seed_and_the_mean_over_those_that_are_there(made):
    rows = made["scores"].filter(method="iterdpo", iteration=3, metric="pass_rate")
    assert rows["seed"].to_list() == [0, 42]
    assert rows["seeds"].to_list() == [1, 1]
    assert rows["value"].to_list() == [0.5, 0.5]


def test_the_topics_of_the_wishes_are_named_by_what_asks_for_them():
    for name in ("train", "test"):
        for record in map(json.loads, (REPOSITORY / f"examples/wishes/{name}.jsonl").open()):
            assert names_topic(record["prompt"], record["topics"]), record["id"]


def test_what_was_not_run_is_said(made):
    text = study.page(made)
    assert text.startswith("23 of 168 policies are finished:")
    assert "| iterations of | seed 1 | seed 7 | seed 42 |" in text
    assert "| `iterdpo` | 0 of 5 | 0 of 5 | 3 of 5 |" in text
    assert "| `drift-epochs` | 0 of 1 | 0 of 1 | 0 of 1 |" in text


def test_where_nothing_can_be_claimed_the_page_says_so(made):
    text = study.page(made | {"contrasts": made["contrasts"].clear()})
    assert "Of no claim of the plan all policies are finished." in text


def test_the_command_writes_tables_figures_and_its_part_of_the_page(results, tmp_path):
    folder, page = tmp_path / "study", tmp_path / "study.md"
    page.write_text(f"# Mine\n\nBefore.\n\n{study.BEGIN}\nold\n{study.END}\n\nAfter.\n")
    command = [sys.executable, str(REPOSITORY / "tools/study.py"), "--tables", str(folder), "--page", str(page)]
    done = subprocess.run([*command, "--results", str(results)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = page.read_text()
    assert re.search(r"^# Mine\n\nBefore\.\n.*\n\nAfter\.\n$", text, re.DOTALL)
    assert "old" not in text
    assert re.search(r"\| `spin` \| 40\.0 \| 60\.0 \(\d+\.\d to \d+\.\d\) \| 80\.0 ", text)
    assert "| `spin` | 1 | 5 | `tokens_median` | 10.00 | 30.00 | 30.00 |" in text
    for name in study.study_figures.FIGURES:
        assert (folder / f"{name}.svg").read_text().startswith("<svg")
    # A panel has the points of its own method: base and iterations of two methods, and of a third.
    assert (folder / "pass-rate.svg").read_text().count('aria-roledescription="point"') == 6 + 6 + 4
    assert (folder / "pairs.svg").read_text().count('aria-roledescription="bar"') == 3 * (5 + 5 + 3)
    # The same from what was kept of the policies, and from the tables alone.
    shutil.rmtree(results)
    for more in ((), ("--page-only",)):
        page.write_text(text.replace("80.0", "?"))
        done = subprocess.run([*command, *more, "--results", str(results)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr, page.read_text()) == (0, "", text)


def numbers(chains: Path, folder: Path) -> dict[str, pl.DataFrame]:
    """The tables made from what is kept in `chains`."""
    kept = study.Study(REPOSITORY / "examples/study.yaml", folder)
    study_chains.unpack(chains, kept)
    return study.made(kept)


def test_chains_run_on_another_machine_are_added_and_none_is_lost(results, made, tmp_path):
    """One has seed 42, the other one seed 1 and a shorter chain of 42."""
    chains, other = tmp_path / "chains", tmp_path / "other"
    chains.mkdir()
    shutil.copytree(results, other)
    for seed, root in ((1, results), (42, other)):
        shutil.rmtree(root / f"{MODEL}/drift-checked/seed{seed}")
    shutil.copytree(results / f"{MODEL}/drift-checked/seed42/iter1", other / f"{MODEL}/drift-checked/seed42/iter1")
    mine, theirs = (study.Study(REPOSITORY / "examples/study.yaml", root) for root in (results, other))
    assert study_chains.save(mine, chains) == []
    told = study_chains.save(theirs, chains)
    assert "drift-checked-seed42: 1 of 1 policies that are there already answer the same" in told
    for name, table in numbers(chains, tmp_path / "unpacked").items():
        assert table.equals(made[name]), name


def test_a_policy_that_answers_otherwise_than_the_one_kept_is_told(results, tmp_path):
    (chains := tmp_path / "chains").mkdir()
    study_chains.save(one := study.Study(REPOSITORY / "examples/study.yaml", results), chains)
    path = results / MODEL / "spin/seed1/iter2/eval/wishes/responses.parquet"
    pl.read_parquet(path).with_columns(response=pl.lit("No.")).write_parquet(path)
    assert "spin-seed1: 4 of 5 policies that are there already answer the same" in study_chains.save(one, chains)


def test_results_of_other_users_are_not_mixed_with_what_is_kept(results, tmp_path):
    (chains := tmp_path / "chains").mkdir()
    study_chains.save(one := study.Study(REPOSITORY / "examples/study.yaml", results), chains)
    path = results / "data/dsat.parquet"
    pl.read_parquet(path).with_columns(prompt_id="e" + pl.col("prompt_id")).write_parquet(path)
    with pytest.raises(cli.StageError, match=r"differ in dsat: .*other users"):
        study_chains.save(one, chains)


def test_without_results_the_command_says_what_to_do(tmp_path):
    command = [
        sys.executable,
        str(REPOSITORY / "tools/study.py"),
        "--results",
        str(tmp_path),
        "--tables",
        str(tmp_path / "study"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*is not there: run make study first\n", done.stderr)


def test_targets_are_every_policy_but_the_further_iterations_of_the_control():
    planned = study.Study(REPOSITORY / "examples/study.yaml", Path("results/study")).planned()
    config = load(yaml.safe_load((REPOSITORY / "examples/study.yaml").read_text()))
    assert len(planned) == len(config["seeds"]) * (5 * (len(config["methods"]) - 1) + 1)


def test_make_plans_every_target():
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "study"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    # Not `make` itself: it would build the environments where they are older than their locks.
    (command,) = (line for line in printed.stdout.replace("\\\n", " ").splitlines() if "snakemake --profile" in line)
    # Otherwise it would run the study, for hours.
    dry, made_dry = re.subn(r"\s--\s", " --dry-run --forceall -- ", command)
    assert made_dry == 1
    done = subprocess.run(["bash", "-ec", dry], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    planned = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert (planned["train"], planned["behaviour"], planned["checks"]) == ("168", "168", "169")
    assert "report" not in planned


def test_the_committed_page_is_made_from_the_committed_tables():
    folder = REPOSITORY / "docs/study"
    read = {path.stem: pl.read_csv(path, infer_schema_length=None) for path in folder.glob("*.csv")}
    page = (REPOSITORY / "docs/study.md").read_text(encoding="utf-8")
    assert study.filled(page, study.page(read)) == page, "run: .venv/cpu/bin/python tools/study.py --page-only"


def test_the_limit_on_prompts_stops_what_topics_show():
    """The query of docs/collapse.md, from the folder that its paths are of."""
    query = (REPOSITORY / "docs/study/on-prompt.sql").read_text().replace("'docs/", f"'{REPOSITORY}/docs/")
    rows = duckdb.sql(query).pl()
    assert rows["how_many"].sum() >= 89
    assert rows["correlation_of_all"].min() > 0.9
    assert rows.filter(pl.col("left_the_topic") != pl.col("within_the_limit"))["how_many"].sum() > 0.95 * rows["how_many"].sum()
