"""A new kind of anything is a module and a line: the examples of the pages, in a copy of the
repository.

The blocks of docs/adding-a-*.md with a title are written where the title says, the lines go into
plugins.py, and nothing else is touched. Then the configuration, the plan and the stages know them.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.conftest import REPOSITORY, chat_logs, tiny_config
from tests.documents import blocks

KINDS = ("source", "labeler", "side", "ranker", "verdict", "benchmark", "check")
# The name of each example in the configuration.
EXAMPLES = {
    "source": "tsv",
    "labeler": "shouting",
    "side": "brief",
    "ranker": "brevity",
    "verdict": "yes-no",
    "benchmark": "questions",
    "check": "lower_case",
}
COPIED = ("Snakefile", "rules", "scripts", "tools", "demo", "config.yaml", "config.schema.json", "pyproject.toml")
PLUGINS = "scripts/drift/plugins.py"
CONVERSATIONS = 24
MODEL = "models/tiny"
DRIVER = ".venv/snakemake/bin"


def examples(kind: str) -> dict[str, str]:
    """The blocks of a kind's page with a title, by it."""
    return {block.title: block.text for block in blocks(REPOSITORY / f"docs/adding-a-{kind}.md") if block.title}


def merged(*sections: dict) -> dict:
    """One configuration of several: tables are joined, lists are appended."""
    whole: dict = {}
    for section in sections:
        for key, value in section.items():
            if isinstance(value, dict):
                whole[key] = merged(whole.get(key, {}), value)
            elif isinstance(value, list):
                whole[key] = [*whole.get(key, []), *(item for item in value if item not in whole.get(key, []))]
            else:
                whole[key] = value
    return whole


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository with every example in it."""
    root = tmp_path_factory.mktemp("plugins") / "repository"
    root.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    (root / ".venv").symlink_to((REPOSITORY / ".venv").resolve())
    for kind in KINDS:
        for title, text in examples(kind).items():
            if title.startswith(f"{PLUGINS}: "):
                registry = title.removeprefix(f"{PLUGINS}: ")
                lines = (root / PLUGINS).read_text()
                assert f"\n{registry} = {{\n" in lines, f"{PLUGINS} has no table {registry}"
                (root / PLUGINS).write_text(lines.replace(f"\n{registry} = {{\n", f"\n{registry} = {{\n{text}"))
            elif "/" in title:
                assert not (root / title).exists(), f"{kind}: {title} is there already; an example only adds files"
                (root / title).write_text(text)
    return root


@pytest.fixture(scope="module")
def config(repository, warm_environments) -> dict:
    """A run of every example, on a tiny model and few conversations."""
    lines = [
        f"{log['id']}\t{message['role']}\t{message['content']}"
        for log in chat_logs(CONVERSATIONS)
        for message in log["messages"]
    ]
    lines += ["c900\tuser\tHow late is it?", "c900\tassistant\tLate.", "c900\tuser\tTELL ME THE TIME!", "not a message"]
    (repository / "chats.tsv").write_text("\n".join(lines) + "\n")
    for kind in KINDS:
        for title, text in examples(kind).items():
            if title.startswith("data: "):
                (repository / title.removeprefix("data: ")).write_text(text)
    # Only what is run needs a model there.
    (repository / MODEL).mkdir(parents=True)
    tiny = tiny_config(Path(MODEL), Path("chats.tsv")) | {"environments": warm_environments}
    shared = ("models", "sampling", "training", "engine", "environments")
    small = {key: tiny[key] for key in shared} | {
        "run": "plugins",
        "iterations": 1,
        "methods": [],
        "data": {
            "labelers": {"lexical": {"kind": "lexical"}},
            "labeler": "lexical",
            "test_conversations": 4,
            "test_correction_conversations": 4,
        },
        "evaluation": {"bootstrap": 100},
    }
    small["training"]["diagnostics"] = {"pairs": 0, "prompts": 0}
    small["training"]["pair_quality"] = {"pairs": 0}
    small["sampling"]["cut"] = "drop"
    pages = [yaml.safe_load(examples(kind)["configuration"]) for kind in KINDS]
    whole = merged(small, *pages)
    # A warm-up would show nothing of the examples, and take a quarter of the run.
    for row in whole["recipes"].values():
        row["start"] = "base"
    whole["evaluation"]["judges"]["tiny"] |= {"path": MODEL, "trusted": False}
    for row in whole["evaluation"]["benchmarks"].values():
        row["decoding"] = {"max_tokens": 48}
    (repository / "plugins.yaml").write_text(yaml.safe_dump(whole))
    return whole


def call(repository: Path, *command: str) -> subprocess.CompletedProcess:
    """Run a command in the copy."""
    environment = os.environ | {"PYTHONPATH": str(repository / "scripts")}
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, env=environment)


def snakemake(repository: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The command of the README, with the examples' configuration."""
    configuration = ("--configfile=plugins.yaml",)
    return call(repository, f"{DRIVER}/snakemake", "--profile", "demo", *configuration, *arguments)


def test_only_plugins_py_differs_and_all_else_is_new(repository):
    changed = [
        str(path.relative_to(repository))
        for name in COPIED
        for path in ([repository / name] if (repository / name).is_file() else (repository / name).rglob("*.*"))
        if path.suffix != ".pyc"
        and (original := REPOSITORY / path.relative_to(repository)).exists()
        and path.is_file()
        and path.read_bytes() != original.read_bytes()
    ]
    assert changed == [PLUGINS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_one_module_one_line_and_a_configuration(kind):
    titles = list(examples(kind))
    assert len([title for title in titles if re.fullmatch(r"scripts/drift/\w+/\w+\.py", title)]) == 1
    (line,) = (text for title, text in examples(kind).items() if title.startswith(f"{PLUGINS}: "))
    assert re.fullmatch(rf'    "{EXAMPLES[kind]}": "drift\.\w+\.\w+",\n', line)
    assert "configuration" in titles


def test_the_configuration_knows_every_example(repository, config):
    # With the driver's Python: rules load these modules too, without the libraries of the stages.
    program = (
        "import json, yaml; from drift.config import Config, load;"
        "load(yaml.safe_load(open('plugins.yaml'))); print(json.dumps(Config.model_json_schema()))"
    )
    done = call(repository, f"{DRIVER}/python", "-c", program)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r'"enum": \[([^\]]*)\]', done.stdout)
    for name in (name for kind, name in EXAMPLES.items() if kind != "check"):  # checks are named in tasks
        assert any(f'"{name}"' in names for names in listed), f"the JSON schema does not list {name}"


def test_a_mistyped_example_is_named(repository, config):
    wrong = json.loads(json.dumps(config).replace('"kind": "tsv"', '"kind": "tvs"'))
    (repository / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    program = "import yaml; from drift.config import load; load(yaml.safe_load(open('wrong.yaml')))"
    assert "did you mean 'tsv'" in call(repository, f"{DRIVER}/python", "-c", program).stderr


def test_the_run_is_planned(repository, config):
    done = snakemake(repository, "-n")
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout + done.stderr
    for rule in ("turns", "labels", "tasks", "rewards", "judge_requests", "scores", "report"):
        assert re.search(rf"^{rule} +\d+$", printed, re.MULTILINE), f"{rule} is not planned"


def test_the_plan_counts_every_example(repository, config):
    size = ("--parameters", "6e6")
    done = call(repository, f"{DRIVER}/python", "tools/plan.py", "--configfile", "plugins.yaml", "--machine", "h100-80", *size)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("sample", "respond", "judge"):
        assert re.search(rf"^{stage} +\S+ +[\d,]+", done.stdout, re.MULTILINE), f"no {stage} in the plan"


@pytest.fixture(scope="module")
def results(repository, config, tiny_model) -> Path:
    """The folder of the run. What could be made is there, so that each kind's test says what
    failed."""
    (repository / MODEL).rmdir()
    (repository / MODEL).symlink_to(tiny_model)
    done = snakemake(repository, "--keep-going")
    folder = repository / "results/plugins"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "terminal.txt").write_text(done.stdout + done.stderr)
    return folder


def table(results: Path, pattern: str) -> pl.DataFrame:
    """The tables of a pattern; fails with what the run printed where there is none."""
    files = sorted(results.glob(pattern))
    assert files, f"{pattern} was not made:\n" + (results / "terminal.txt").read_text()[-6000:]
    return pl.concat([pl.read_parquet(file) for file in files], how="diagonal")


def slow(test):
    """A test of the whole run, which the first one waits for: minutes on two cores, more on a busy
    machine."""
    return pytest.mark.slow(pytest.mark.timeout(2400)(test))


@slow
def test_the_source_is_read_and_its_ledger_adds_up(results):
    turns = table(results, "data/turns.parquet")
    assert set(turns["source"]) == {"chats"}
    assert turns["conversation_id"].n_unique() == CONVERSATIONS + 1
    ledger = table(results, "data/ledgers/turns.parquet")
    assert ledger.filter(reason="not a line of conversation, role and text")["dropped"].to_list() == [1]


@slow
def test_the_labeler_labels_and_its_ledger_adds_up(results):
    labels = table(results, "data/labels.parquet").filter(labeler="shouting")
    assert labels["conversation_id"].to_list() == ["chats:c900"]
    assert labels["label"].to_list() == ["DSAT"]


@slow
def test_the_side_is_asked_for_and_makes_pairs_on_the_plain_prompt(results):
    requests = table(results, "tiny/brief/seed42/iter1/requests.parquet")
    assert set(requests["kind"]) == {"brief"}
    assert all(messages[-1]["content"].endswith("Answer in one sentence.") for messages in requests["messages"].to_list())
    pairs = table(results, "tiny/brief/seed42/iter1/pairs.parquet")
    assert pairs["chosen_from"].str.contains("#brief-0").all()
    assert not any("one sentence" in prompt[-1]["content"] for prompt in pairs["prompt"].to_list())


@slow
def test_the_ranker_chooses_the_shortest_candidate(results):
    pairs = table(results, "tiny/shortest/seed42/iter1/pairs.parquet")
    requests = table(results, "tiny/shortest/seed42/iter1/requests.parquet").select("request_id", "prompt_id")
    completions = table(results, "tiny/shortest/seed42/iter1/completions/*.parquet").filter(finish_reason="stop")
    candidates = requests.join(completions, on="request_id").with_columns(pl.col("text").str.strip_chars())
    candidates = candidates.filter(pl.col("text") != "")  # empty replies are not ranked
    shortest = candidates.group_by("prompt_id").agg(pl.col("text").str.len_chars().min().alias("shortest"))
    chosen = pairs.join(shortest, left_on="pair_id", right_on="prompt_id")
    assert chosen.height == pairs.height > 0
    # A shorter one may have been passed over for a reason of `pairs`; none that was not sampled is
    # chosen.
    assert (chosen["chosen"].str.len_chars() >= chosen["shortest"]).all()
    assert (chosen["chosen"].str.len_chars() == chosen["shortest"]).mean() > 0.5


@slow
def test_the_verdict_is_read_off_the_judges_first_word(results):
    judgments = table(results, "tiny/base/eval/*/judge/tiny/judgments.parquet")
    assert set(judgments["kind"]) == {"score"}
    assert judgments["error"].null_count() == judgments.height
    assert judgments["score"].is_between(1, 10).all()
    assert judgments["mass"].is_between(0, 1, closed="right").all()


@slow
def test_the_benchmark_has_tasks_and_a_metric_of_its_own(results):
    tasks = table(results, "data/benchmarks/questions.parquet")
    assert tasks["prompt_id"].sort().to_list() == ["1", "2"]
    scores = table(results, "eval/scores.parquet").filter(benchmark="questions", metric="good_answers", seed=0)
    # The base model and an iteration of both methods.
    assert scores.height == 3
    assert scores["value"].is_between(0, 1).all()


@slow
def test_the_check_is_made_on_every_answer_and_asks_no_judge(results):
    checks = table(results, "tiny/*/**/eval/lower/checks.parquet")
    assert set(checks["check"]) == {"lower_case"}
    scores = table(results, "eval/scores.parquet").filter(benchmark="lower", metric="pass_rate:lower_case", seed=0)
    assert scores.height == 3
    assert not list(results.glob("tiny/**/eval/lower/judge"))


@slow
def test_the_report_shows_the_metric(results):
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Good answers" in page
