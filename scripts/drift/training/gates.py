"""Correctness gates: checks that fail their stage with cause and cure, and are recorded in
gates.json."""

import json
from pathlib import Path

from drift.cli import StageError
from drift.files import write_text


class Gates:
    """The gates of one stage. `check` as you go; `close` stops the stage where one failed."""

    def __init__(self) -> None:
        self.results: list[dict] = []

    def check(self, gate: str, passed: bool, found: str, cure: str = "") -> None:
        """Record whether `gate` passed: with what was `found`, and where it failed also with the
        cause and the `cure`."""
        detail = found if passed or not cure else f"{found}; {cure}"
        self.results.append({"gate": gate, "passed": bool(passed), "detail": detail})

    def close(self) -> None:
        """Raise StageError that lists every gate that failed."""
        failed = [result for result in self.results if not result["passed"]]
        if failed:
            raise StageError("; ".join(f"gate '{result['gate']}' failed: {result['detail']}" for result in failed))

    def write(self, path: Path) -> None:
        """Write gates.json."""
        write_text(path, json.dumps({"gates": self.results}, indent=2) + "\n")
