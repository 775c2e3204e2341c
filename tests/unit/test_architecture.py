"""How the code is put together: what may import what, what rules may use, and how large things may
grow."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from drift import plugins
from tests.conftest import REPOSITORY, SNAKEMAKE

SCRIPTS = REPOSITORY / "scripts"
WORKFLOW = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]
PYTHON = sorted(path for folder in ("scripts", "tools", "tests", "perf") for path in (REPOSITORY / folder).rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SCRIPTS / "drift").rglob("*.py"))
}

# Packages of scripts/drift from the bottom to the top: none imports one that is further up.
LAYERS = (
    {"cli", "files", "ledger", "tables", "seeds", "progress", "locks", "policies", "chat", "downloads", "layout", "plugins"}
    | {"names"},
    {"config"},
    {"settings"},
    {"data", "metrics", "engines", "checks", "exploration"},
    {"sources", "labelers", "sides", "verdicts", "training", "losses"},
    {"judging", "benchmarks"},
    {"rankers"},
    {"report"},
    {"workflow"},
)
# Kinds of plug-ins whose modules rules import: what they compute with is imported where it is used.
LIGHT = {
    "SIDES": plugins.SIDES,
    "RANKERS": plugins.RANKERS,
    "LOSSES": plugins.LOSSES,
    "BENCHMARKS": plugins.BENCHMARKS,
    "VERDICTS": plugins.VERDICTS,
}

MAX_FILE, MAX_FUNCTION, MAX_TOP_MODULES = 400, 60, 12


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of what a file imports; of `from package import x` that of x."""
    package = path.parent.relative_to(SCRIPTS).parts if path.is_relative_to(SCRIPTS) else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def module_of(name: str) -> str | None:
    """The module of drift that a dotted name leads to."""
    parts = name.split(".")
    return next((found for n in range(len(parts), 0, -1) if (found := ".".join(parts[:n])) in MODULES), None)


def layer(module: str) -> int:
    """The number of a module's layer, counted from the bottom."""
    package = module.split(".")[1]
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


def inner_imports(module: str) -> Iterator[tuple[str, str]]:
    """The modules of drift that one of them imports, each with FILE:LINE."""
    path = MODULES[module]
    for line, name in imports(path):
        imported = module_of(name)
        if imported not in (None, "drift", module):
            yield imported, f"{path.relative_to(REPOSITORY)}:{line}"


def test_every_package_of_the_library_has_a_layer():
    known = set().union(*LAYERS)
    assert {module.split(".")[1] for module in MODULES if module != "drift"} <= known


def test_no_module_imports_from_a_layer_above_its_own():
    upwards = [
        f"{where} imports {imported}"
        for module in MODULES
        if module != "drift"
        for imported, where in inner_imports(module)
        if layer(imported) > layer(module)
    ]
    assert upwards == []


def test_no_module_imports_itself_through_others():
    graph = {module: {imported for imported, _ in inner_imports(module)} for module in MODULES}
    # A package runs before its modules, so its own imports of them are no circles.
    for module in graph:
        graph[module] -= {other for other in graph[module] if other.startswith(f"{module}.")}
    circles, done = [], set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            circles.append(" -> ".join([*trail[trail.index(module) :], module]))
        elif module not in done:
            for imported in sorted(graph[module]):
                visit(imported, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    assert circles == []


def test_rules_import_nothing_of_the_library_but_workflow():
    others = [
        f"{path.name}: {line}"
        for path in WORKFLOW
        for line in re.findall(r"^[ \t]*(?:from|import) .+", path.read_text(), re.MULTILINE)
        if re.match(r"\s*(from|import) drift\b(?!\.workflow\b)", line) and not line.startswith("from drift import workflow")
    ]
    assert others == []


def test_what_rules_import_needs_nothing_but_the_drivers_environment():
    modules = [module for module in MODULES if module.startswith("drift.workflow")]
    modules += [module for registry in LIGHT.values() for module in registry.values()]
    program = f"""
import importlib, json, sys
sys.path.insert(0, {str(SCRIPTS)!r})
faults = {{}}
for name in {modules}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        faults[name] = str(error)
print(json.dumps(faults))
"""
    done = subprocess.run([SNAKEMAKE.parent / "python", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


@pytest.mark.parametrize("kind", ["SOURCES", "LABELERS", "SIDES", "RANKERS", "LOSSES", "TRAINERS", "BENCHMARKS", "VERDICTS"])
def test_every_plugin_has_a_module_of_its_own(kind):
    registry = getattr(plugins, kind)
    assert [name for name in registry if not plugins.source_of(registry, name).is_file()] == []
    assert len(set(registry.values())) == len(registry)


def test_no_file_is_too_long_to_be_read_at_once():
    files = [*PYTHON, *WORKFLOW]
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > MAX_FILE} == {}


def test_no_function_is_too_long_to_be_read_at_once():
    long = {}
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION:
                    long[f"{path.relative_to(REPOSITORY)}: {node.name}"] = length
    assert long == {}


def test_the_library_is_packages_and_few_modules_at_its_top():
    top = [path.name for path in (SCRIPTS / "drift").glob("*.py") if path.name != "__init__.py"]
    assert len(top) <= MAX_TOP_MODULES, sorted(top)


def test_no_test_module_imports_another():
    borrowed = [
        f"{path.relative_to(REPOSITORY)}:{line} imports {name}"
        for path in PYTHON
        if path.name.startswith("test_")
        for line, name in imports(path)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[:-1])
    ]
    assert borrowed == []


def rule_docstrings() -> dict[str, str | None]:
    """The docstring that stands in every rule's own text; None where there is none."""
    docstrings = {}
    for path in WORKFLOW:
        rule = r'^(?:use rule \w+ as (\w+) with|rule (\w+)):\n(?:    """(.+?)""")?'
        for match in re.finditer(rule, path.read_text(), re.MULTILINE | re.DOTALL):
            docstrings[match[1] or match[2]] = match[3]
    return docstrings


def test_every_rule_says_what_it_does_in_a_sentence_of_its_own():
    docstrings = rule_docstrings()
    assert len(docstrings) > 40
    assert [rule for rule, text in docstrings.items() if text is None] == []
    assert [rule for rule, text in docstrings.items() if text and not re.match(r"[A-Z].*[.?]$", text, re.DOTALL)] == []
    sentences = list(docstrings.values())
    assert [rule for rule, text in docstrings.items() if text is not None and sentences.count(text) > 1] == []
