"""What a program means, as a hash: its syntax tree and those of the local modules it imports, without comments and docstrings.

Snakemake compares file times, which a checkout or a reformatting changes. A rule that carries this fingerprint in its params
reruns exactly when the code that it runs has changed.
"""

import ast
import hashlib
from pathlib import Path

# How a stage is called, what it prints and whom it waits for shapes no result: a reworded error must not retrain a policy.
NO_RESULT = ("drift/cli.py", "drift/locks.py", "drift/progress.py")


def fingerprint(program: Path, *data: Path) -> str:
    """Hash of `program`, of every module beside it that it imports, directly or not, and of the bytes of the `data` files.

    NO_RESULT modules do not count. Imports are found in the syntax trees, those inside functions included. Raises SyntaxError where a file does not parse.
    """
    root = program.parent
    modules = {str(path.relative_to(root)): path for path in sorted(_local_imports(program, root))}
    parts = [(name, _meaning(path)) for name, path in modules.items() if name not in NO_RESULT]
    parts += [(str(path.relative_to(root)), path.read_bytes().hex()) for path in sorted(data)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _local_imports(program: Path, root: Path) -> set[Path]:
    found, waiting = set(), [program]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [module for name in _imported_names(path, root) if (module := _module_file(name, root))]
    return found


def _imported_names(path: Path, root: Path) -> set[str]:
    names = set()
    package = path.parent.relative_to(root).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    # Importing a.b.c runs a/__init__.py and a/b/__init__.py as well.
    return {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}


def _module_file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree)
