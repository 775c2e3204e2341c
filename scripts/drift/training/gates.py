"""Correctness gates: checks that fail their stage with the cause and the cure, and are recorded in gates.json."""

import json
from pathlib import Path

from drift.cli import StageError
from drift.files import atomic_path


class Gates:
    """The gates of one stage. `check` as you go; `close` records them all and stops the stage where one did not hold."""

    def __init__(self) -> None:
        self.results: list[dict] = []

    def check(self, gate: str, passed: bool, detail: str) -> None:
        """Record that `gate` held or not; `detail` gives the figures, or the cause and the cure."""
        self.results.append({"gate": gate, "passed": bool(passed), "detail": detail})

    def close(self) -> None:
        """Raise StageError that lists every gate that did not hold."""
        failed = [result for result in self.results if not result["passed"]]
        if failed:
            raise StageError("; ".join(f"gate '{result['gate']}' failed: {result['detail']}" for result in failed))

    def write(self, path: Path) -> None:
        """Write gates.json."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"gates": self.results}, indent=2) + "\n")
