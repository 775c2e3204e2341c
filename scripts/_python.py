"""Imported for its effect: a program that is started with a Python that lacks its packages says
which one to use, in place of a traceback. So it is imported before them."""

import re
import sys
from types import TracebackType

# Where a program's docstring names no Python, it is one of the stages'.
_NAMED, _STAGES = re.compile(r"\.venv/\w+/bin/python\b"), ".venv/cpu/bin/python"


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, ModuleNotFoundError):
        sys.__excepthook__(kind, error, trace)
        return
    named = _NAMED.search(sys.modules["__main__"].__doc__ or "")
    python = named[0] if named else _STAGES
    print(
        f"error: {sys.executable} has no module {error.name}: start {sys.argv[0]} with {python} of this repository, "
        "which `make envs` builds",
        file=sys.stderr,
    )


sys.excepthook = _explain
