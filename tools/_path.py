"""Imported for its effect: the modules of scripts/ can be imported, and a Python that lacks the
program's packages is named with the right one (scripts/_python.py)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import _python  # noqa: F401 - it is in scripts/
