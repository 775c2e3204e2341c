"""The documentation holds: links, paths, targets and commands exist, and generated pages are
current."""

import json
import re
import shlex
import shutil
import subprocess

import duckdb
import pytest
import yaml

import catalog
from drift.config import Config, load
from drift.config.reference import page as configuration_page
from tests.conftest import REPOSITORY, SNAKEMAKE
from tests.documents import PAGES, anchors, blocks, prose

README = REPOSITORY / "README.md"
LONGEST_README = 150
LONGEST_LINE = 100
UNVERIFIED = "not verified here"
# A timing program is run by hand; the paragraph after the command says when that was.
MEASURED = re.compile(r"make bench-\w+")
DATE = "November 2026"

# Every other shell command of the pages, and what runs it. Patterns of whole lines.
RUN_BY = {
    r"make (envs|test|test-slurm|demo|taste)": ".ci/run",
    r"make check-logs LOGS=.*": "tests/unit/test_check_logs.py, on other logs",
    r"make study": "tests/unit/test_study.py plans it",
    r"\.venv/snakemake/bin/python tools/usage\.py results/paper": "tests/unit/test_usage.py, on another run",
    r"make docs schema": "test_make_targets_write_the_generated_files",
    r"make (plan .*|why( PROFILE=demo)?|status)": "test_what_make_calls_runs",
    r"make prune": "tests/dag/test_rerun.py",
    r"\.venv/cpu/bin/python tools/(chat|compare|export)\.py +results/.*": "test_finished_runs.py, on other results",
    r"source \.venv/snakemake/bin/activate": "test_the_own_data_command_runs",
    r"snakemake --profile local --configfile examples/logs\.yaml .* pairs_all": "test_the_own_data_command_runs",
    r"snakemake --profile demo --configfile examples/sharegpt\.yaml -n": "test_a_dry_run_of_the_demo_plans_it",
    r"snakemake --profile demo --configfile examples/methods\.yaml -n": "tests/dag/test_dag.py",
    r"snakemake --profile demo --configfile examples/pairs\.yaml -n": "test_a_dry_run_of_the_demo_plans_it",
    r"snakemake --profile demo -n": "test_a_dry_run_of_the_demo_plans_it",
    r"snakemake --profile demo --configfile=examples/(loop|noise)\.yaml": "test_a_dry_run_of_the_demo_plans_it",
    r"snakemake --profile demo --configfile examples/noise\.yaml examples/effects\.yaml": "the same, with an encoder's path",
    r"\.venv/cpu/bin/python -c .*docs/study/on-prompt\.sql.*": "tests/unit/test_study.py",
    r"snakemake --profile slurm( -n)?": "tests/slurm/test_pipeline.py, with another configuration",
    r"\.venv/(cpu|snakemake)/bin/python \S+\.py --help": "test_every_program_that_a_page_names_has_help",
    r"\.venv/cpu/bin/python tools/check_labels\.py .* --half held_out": "tests/unit/test_published_labels.py",
    r"\.venv/cpu/bin/python -m pytest .*": "the suite itself",
}
SHELLS = {"", "sh", "bash", "shell", "console"}
# What begins a line of a shell command, in blocks without a language.
COMMANDS = ("make", "snakemake", "source", "python", ".venv/", "duckdb", "squeue", "$EDITOR", "pip", "git")


def names(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(REPOSITORY)))


def commands(block) -> list[str]:
    """The shell commands of a block, without their comments."""
    lines = block.text.replace("\\\n", " ").splitlines() if block.language in SHELLS else []
    return [re.sub(r" +#.*$", "", line) for line in lines if line.startswith(COMMANDS)]


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


@names(PAGES)
def test_lines_are_short(page):
    text = page.read_text(encoding="utf-8")
    long = [line for line in text.splitlines() if len(line) > LONGEST_LINE and not line.startswith("|") and "](" not in line]
    assert long == []


@names(PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def tracked() -> set[str]:
    """The first parts of paths in the repository, what git ignores apart."""
    ignored = {line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()}
    return {path.name for path in REPOSITORY.iterdir()} - ignored - {".git"}


# What the changelog calls by its old name is gone.
@names([page for page in PAGES if page.name != "CHANGELOG.md"])
def test_paths_exist(page):
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        path = code.split(" ")[0]
        first = path.split("/")[0]
        if "/" in path and first in tracked() and not re.search(r"[*{<:]|[A-Z]{3}", path):
            assert (REPOSITORY / path).exists(), code


@names(PAGES)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z][a-z0-9 -]*):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    known = {target for line in targets for target in line.split()}
    written = re.findall(r"`make ([^`]+)`", prose(page))
    written += [
        command.removeprefix("make ") for block in blocks(page) for command in commands(block) if command.startswith("make ")
    ]
    for arguments in written:
        words = re.sub(r'"[^"]*"', "", arguments).split()
        wanted = [word for word in words if "=" not in word]
        assert set(wanted) <= known, arguments


@names(PAGES)
def test_every_command_is_run_by_something_or_says_that_it_is_not(page):
    for block in blocks(page):
        if UNVERIFIED in f"{block.before} {block.after}".replace("\n", " ").lower():
            continue
        for command in commands(block):
            if MEASURED.fullmatch(command):
                assert DATE in block.after.replace("\n", " "), f"{command}: when was it run?"
                continue
            assert any(re.fullmatch(pattern, command) for pattern in RUN_BY), (
                f"{command}: list in RUN_BY what runs it, or say '{UNVERIFIED}' in the paragraph before or after it"
            )


def test_every_listed_command_is_in_a_page():
    written = [command for page in PAGES for block in blocks(page) for command in commands(block)]
    unused = [pattern for pattern in RUN_BY if not any(re.fullmatch(pattern, command) for command in written)]
    assert unused == []


def test_generated_files_are_current():
    page = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(Config.model_json_schema()), "run: make docs"


def test_the_configuration_page_has_every_key():
    page = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")
    schema = Config.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key in section.get("properties", {}):
            assert f"| `{key}` |" in page


def test_make_targets_write_the_generated_files():
    for target, file in (("docs", "docs/configuration.md"), ("schema", "config.schema.json")):
        planned = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert f"> {file}" in planned.stdout


@pytest.mark.parametrize("arguments", ['plan MACHINE=h100-80 PLAN_OPTIONS="--gpus 8"', "why PROFILE=demo"])
def test_what_make_calls_runs(arguments):
    # Not `make` itself: it would build the environments where they are older than their locks.
    printed = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", *shlex.split(arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    called = printed.stdout.splitlines()[-1]
    assert "tools/" in called
    done = subprocess.run(shlex.split(called), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--configfile examples/sharegpt.yaml",
        "--configfile examples/pairs.yaml",
        "--configfile=examples/loop.yaml",
        "--configfile=examples/noise.yaml",
        "--configfile examples/noise.yaml examples/effects.yaml {encoder}",
    ],
)
def test_a_dry_run_of_the_demo_plans_it(options, tmp_path):
    encoder = tmp_path / "encoder.yaml"
    encoder.write_text(json.dumps({"rankers": {"medoid": {"path": str(tmp_path)}}}))
    options = options.format(encoder=encoder)
    command = [str(SNAKEMAKE), "--profile", "demo", *options.split(), "-n"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def whole_recipes() -> list[str]:
    """Blocks of a configuration with methods and their rows."""
    found = [block.text for page in PAGES for block in blocks(page) if block.language == "yaml" and not block.title]
    return [text for text in found if {"methods", "recipes"} <= yaml.safe_load(text).keys()]


@pytest.mark.parametrize("text", whole_recipes())
def test_methods_of_a_page_can_be_pasted_into_a_configuration(text):
    load(yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | yaml.safe_load(text))


def helped() -> list[str]:
    """Programs that a page calls with --help."""
    written = {command for page in PAGES for block in blocks(page) for command in commands(block)}
    return sorted(command for command in written if re.fullmatch(r"\.venv/\w+/bin/python \S+\.py --help", command))


@pytest.mark.parametrize("command", helped())
def test_every_program_that_a_page_names_has_help(command):
    done = subprocess.run(command.split(), cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_the_own_data_command_runs(tmp_path):
    for name in ("Snakefile", "rules", "scripts", "local", "examples", "config.yaml"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / ".venv").symlink_to((REPOSITORY / ".venv").resolve())
    (block,) = (block for block in blocks(README) if "examples/logs.yaml" in block.text)
    done = subprocess.run(["bash", "-ec", block.text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results/logs/data/dsat.parquet").is_file()


QUERIES = [(page.name, block.text) for page in PAGES for block in blocks(page) if block.language == "sql"]


@pytest.mark.parametrize(("page", "query"), QUERIES, ids=[f"{page}-{place}" for place, (page, _) in enumerate(QUERIES)])
def test_every_query_runs(page, query):
    # Views over no files have the columns and types of full ones.
    with duckdb.connect() as connection:
        for statement in catalog.statements("nowhere", []):
            connection.execute(statement)
        assert connection.execute(query).description
