"""What a program means, as hashes: the syntax trees of what it runs, without comments and
docstrings.

Snakemake compares file times, which a checkout or a reformatting changes. A rule that carries this
fingerprint in its params reruns exactly when the code that it runs has changed. Of a module that it
imports, only what it uses counts, directly or through other definitions: a column that is added to
one table does not concern programs that never touch that table. Definitions count by their own
name, not by their module's: code that moves, or a module that is renamed, reruns nothing.
"""

import ast
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Modules that shape no result: how a stage is called, when it stops, what it waits for, what it
# prints, and which plug-ins there are (a rule lists the file of each that it uses). A reworded
# error must not retrain a policy.
NO_RESULT = (
    "_python.py",
    "drift/cli.py",
    "drift/locks.py",
    "drift/plugins.py",
    "drift/progress.py",
    "drift/training/behaviour_gate.py",
    "drift/training/deadline.py",
)

# A function or class with a decorator other than these may be reached through what the decorator
# did (a registry), and not only by its name.
_HARMLESS = {"cache", "contextmanager", "dataclass", "lru_cache"}
# Names with underscores that change nothing when a module is imported: __all__ matters to `import
# *` alone, for which everything counts.
_HARMLESS_NAMES = {"__all__", "__version__"}
_ALL = "*"
# Keyword arguments that say what something is, and change nothing.
DOCUMENTATION = {"description"}
# The function of settings/base.py that gives a setting the description of a configuration's key.
_DESCRIBED_AS = "like"
# The key of statements that define nothing: what modules do when they are imported.
ON_IMPORT = "on import"


class Code:
    """The fingerprints of the programs in a folder, as params of rules.

    A fingerprint is made when a job that carries it is looked at, and once: each Slurm job starts
    snakemake twice, for one job.
    """

    def __init__(self, scripts: Path):
        # Plug-ins are listed by their real paths.
        self._scripts = scripts.resolve()
        self._known: dict[tuple[str, tuple], str] = {}

    def __call__(self, program: str, *others: str | Path | Callable) -> Callable:
        """A param: the fingerprint of `program` (without .py) and of the files that it loads by
        name.

        `others` are patterns in the folder, paths, or functions of the wildcards that return a path
        or several.
        """

        def of_job(wildcards) -> str:
            named = tuple(file for other in others for file in _named(other, wildcards))
            if (program, named) not in self._known:
                self._known[program, named] = fingerprint(self._scripts / f"{program}.py", *self._files(named))
            return self._known[program, named]

        return of_job

    def _files(self, named: tuple[str | Path, ...]) -> Iterator[Path]:
        for name in named:
            if isinstance(name, Path):
                yield name
            else:
                yield from self._scripts.glob(name)


def _named(other: str | Path | Callable, wildcards) -> tuple[str | Path, ...]:
    files = other(wildcards) if callable(other) else other
    return files if isinstance(files, tuple) else (files,)


def fingerprint(program: Path, *others: Path) -> str:
    """Hashes of what `program` runs, as JSON: of definitions by name, of data files by path.

    The whole of `program` counts; of local modules what is used of them, and what they do when they
    are imported. A module that is passed on as a value, or imported with *, counts whole. `others`
    are modules that the program loads by name (.py: whole, with what they use) and data files
    (their bytes, by the path relative to the program's folder). NO_RESULT modules do not count.
    Raises SyntaxError where a file does not parse.
    """
    root = program.parent
    meanings = defaultdict(list)
    for path, parts in _used(root, [program, *(path for path in others if path.suffix == ".py")]).items():
        if str(path.relative_to(root)) not in NO_RESULT:
            named = defaultdict(list)
            for part in sorted(parts, key=lambda part: part.line):
                named[part.name].append(part.meaning)
            for name, those in named.items():
                meanings[name].append("".join(those))
    # Several modules may have a definition of one name: sorted, so that which module does not
    # count.
    hashes = {name: _short_hash(repr(sorted(those)).encode()) for name, those in meanings.items()}
    data = {str(path.relative_to(root)): _short_hash(path.read_bytes()) for path in others if path.suffix != ".py"}
    return json.dumps({"code": hashes | data}, sort_keys=True)


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


@dataclass(frozen=True)
class _Part:
    """A statement of a module's top level, and what it defines (ON_IMPORT: nothing)."""

    name: str
    line: int
    meaning: str
    # Names of the module's top level, and dotted names of imported things, that it uses.
    names: frozenset[str]
    imported: frozenset[str]


@dataclass(frozen=True)
class _Outline:
    """A module's top level: what it does on import, what it only defines, imports by local name."""

    effects: list[_Part]
    definitions: dict[str, list[_Part]]
    imports: dict[str, str]


def _used(root: Path, programs: list[Path]) -> dict[Path, set[_Part]]:
    """The statements that count, by file."""
    counted, seen, outlines = defaultdict(set), set(), {}
    # A file and what is used of it: a name, all of it, or None for its import alone.
    waiting = [(path, _ALL) for path in programs]
    while waiting:
        if (item := waiting.pop()) in seen:
            continue
        seen.add(item)
        path, name = item
        if path not in outlines:
            outlines[path] = _outline(path.read_text(encoding="utf-8"), path.parent.relative_to(root).parts)
        outline = outlines[path]
        if name == _ALL:
            parts = [*outline.effects, *(part for parts in outline.definitions.values() for part in parts)]
        elif name is None:
            parts = outline.effects
            # Modules that this one imports are run by that, whether they are used or not.
            waiting += [(module, None) for dotted in outline.imports.values() for module, _ in _resolved(root, dotted)]
        else:
            parts = outline.definitions.get(name, [])
            waiting += _resolved(root, outline.imports.get(name, ""))
        counted[path] |= set(parts)
        waiting += [(path, None)]
        for part in parts:
            waiting += [(path, used) for used in part.names]
            waiting += [target for dotted in part.imported for target in _resolved(root, dotted)]
    return counted


@cache
def _resolved(root: Path, dotted: str) -> tuple[tuple[Path, str | None], ...]:
    """The local files that a dotted name leads through, each with what is used of it.

    Cached: the programs of a workflow share most of their names, and modules do not come and go
    while it is read.
    """
    names = dotted.split(".")
    modules = [
        (count, path) for count in range(1, len(names) + 1) if (path := _module_file(root.joinpath(*names[:count]))) is not None
    ]
    if not modules:
        return ()
    count, path = modules[-1]
    return (*((path, None) for _, path in modules), (path, names[count] if count < len(names) else _ALL))


def _module_file(path: Path) -> Path | None:
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _outline(source: str, package: tuple[str, ...]) -> _Outline:
    """Cached by content: rules share most modules, and a file may change while a process lives."""
    body = _strip_documentation(ast.parse(source)).body
    imported = [_imports(statement, package) for statement in body]
    imports = {}
    for statement, own in zip(body, imported, strict=True):
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            imports |= own
    names = {name for statement in body for name in _defined(statement)} | imports.keys()
    effects, definitions = [], defaultdict(list)
    for position, (statement, own) in enumerate(zip(body, imported, strict=True)):
        if isinstance(statement, ast.Import | ast.ImportFrom) or (position == 0 and _is_text(statement)):
            continue
        part = _part(statement, names, imports | own)
        for name in _defined(statement):
            definitions[name].append(part)
        if not _defined(statement):
            effects.append(part)
    whole = frozenset(dotted for local, dotted in imports.items() if local.endswith(_ALL))
    return _Outline([*effects, _Part(ON_IMPORT, 0, "", frozenset(), whole)], dict(definitions), imports)


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement binds if it does nothing else; none where it does more."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        decorators = {_dotted(getattr(node, "func", node)).rpartition(".")[2] for node in statement.decorator_list}
        return [statement.name] if decorators <= _HARMLESS and not _is_dunder(statement.name) else []
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in (target.elts if isinstance(target, ast.Tuple) else [target])]
        if all(isinstance(node, ast.Name) and (node.id in _HARMLESS_NAMES or not _is_dunder(node.id)) for node in nodes):
            return [node.id for node in nodes]
    return []


def _is_dunder(name: str) -> bool:
    return name.startswith("__")


def _imports(statement: ast.stmt, package: tuple[str, ...]) -> dict[str, str]:
    """Local names that imports in `statement` bind, and the dotted names that they stand for."""
    bound = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            # `import a.b` binds a, by which a.b is then reached.
            bound |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names if alias.asname}
            bound |= {alias.name: alias.name for alias in node.names if not alias.asname}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                local = f"{module}.{_ALL}" if alias.name == _ALL else alias.asname or alias.name
                bound[local] = f"{module}.{alias.name}"
    return bound


def _part(statement: ast.stmt, names: set[str], imports: dict[str, str]) -> _Part:
    chains = set(_chains(statement))
    imported = set()
    for chain in chains:
        for local, dotted in imports.items():
            if chain == local or chain.startswith(local + "."):
                imported.add(dotted + chain[len(local) :])
    defined = {chain.split(".")[0] for chain in chains} & (names - imports.keys())
    name = ", ".join(_defined(statement)) or ON_IMPORT
    return _Part(name, statement.lineno, ast.dump(statement), frozenset(defined), frozenset(imported))


def _chains(node: ast.AST) -> Iterator[str]:
    """Every name and attribute of a name in `node`, as written: a, a.b.c."""
    if dotted := _dotted(node):
        yield dotted
        return
    for child in ast.iter_child_nodes(node):
        yield from _chains(child)


def _dotted(node: ast.AST) -> str:
    """a.b.c for that expression; an empty string for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := _dotted(node.value)):
        return f"{value}.{node.attr}"
    return ""


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    )


def _strip_documentation(module: ast.Module) -> ast.Module:
    """The module without what only says what something is: docstrings, descriptions of fields, and
    the section of the configuration that a setting takes its description from."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _is_text(node.body[0]):
            node.body = node.body[1:]
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in DOCUMENTATION]
            if _dotted(node.func).rpartition(".")[2] == _DESCRIBED_AS:
                node.args = []
    return module
