"""What a recomputation of published figures gives: differences by metric, what was left out, and
what is past its tolerance."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drift import cli

# Columns of AlpacaEval's leaderboard, in per cent where they are rates.
COUNT_FIGURES = ("n_wins", "n_wins_base", "n_draws", "n_total")
RATE_FIGURES = ("win_rate", "standard_error", "discrete_win_rate")
LC_WEIGHTS, LC_ERROR = "LC win rate, published weights", "LC standard error, published weights"
LC_OWN, LC_CV = "LC win rate, own fit at the weights' C", "LC win rate, own fit, C by cross-validation"

EXACT = 1e-6  # published files round to 10 digits or more
TOLERANCES = {  # how far each metric may be from what was published, in its own unit
    "preference": EXACT,
    **dict.fromkeys((*RATE_FIGURES, "counts", "avg_length"), EXACT),
    **dict.fromkeys((LC_WEIGHTS, LC_ERROR), EXACT),
    LC_OWN: 0.02,  # liblinear stops early
    LC_CV: 0.2,  # and its early stop decides between close values of C
    "WB-Score raw": EXACT,
    "WB-Score adjusted": EXACT,
    "WB-Score x10": EXACT,
    "WB-Score task macro": EXACT,
    "WB-Score tasks": EXACT,
    "WB-Score average length": EXACT,
    "WB-Reward": EXACT,
    "WB-Reward by group": EXACT,
    "WB-Reward task macro": EXACT,
    "WB-Reward x100": EXACT,
    "WB-Reward mix": EXACT,
    "WildBench mean of score and reward": EXACT,
}


class AbsentError(Exception):
    """A published figure is not in its file; the message says which figure and which file."""


class Report:
    """Differences from published figures by metric, and what could not be compared."""

    def __init__(self) -> None:
        self.differences: dict[str, list[tuple[float, str]]] = {metric: [] for metric in TOLERANCES}
        self.skipped: dict[tuple[str, str], list[str]] = defaultdict(list)

    def compare(self, metric: str, case: str, computed: float | None, published: float) -> None:
        """Record how far `computed` is from the `published` figure; a value that is not defined
        (None, NaN) is infinitely far."""
        difference = math.nan if computed is None else abs(computed - published)
        self.differences[metric].append((math.inf if math.isnan(difference) else difference, case))

    def skip(self, what: str, reason: str, *cases: str) -> None:
        """Record that `what` was left out for `reason`, once for each of `cases`."""
        if cases:
            self.skipped[what, reason].extend(cases)

    @contextmanager
    def where_there(self, what: str, case: str) -> Iterator[None]:
        """Leave `what` of a case out where a figure that it needs is not in its file."""
        try:
            yield
        except AbsentError as absent:
            self.skip(what, str(absent), case)

    def lines(self) -> Iterator[str]:
        """The report as it is printed."""
        width = max(map(len, TOLERANCES))
        yield f"{'metric':{width}}  cases  largest difference  tolerance"
        failed = self.failed()
        for metric, differences in self.differences.items():
            worst = f"{max(differences)[0]:18.2g}" if differences else f"{'-':>18}"
            verdict = "FAILED" if metric in failed else "ok" if differences else "not checked"
            yield f"{metric:{width}}  {len(differences):5}  {worst}  {TOLERANCES[metric]:9g}  {verdict}"
        yield "left out:" if self.skipped else "left out: nothing"
        for (what, reason), cases in self.skipped.items():
            named = sorted(set(cases))
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            yield f"{len(cases):6}  {what}: {reason} ({', '.join(named[:3])}{more})"

    def failed(self) -> dict[str, tuple[float, str]]:
        """The metrics that are past their tolerance: the largest difference and its case."""
        worst = {metric: max(differences) for metric, differences in self.differences.items() if differences}
        return {metric: largest for metric, largest in worst.items() if largest[0] > TOLERANCES[metric]}

    def close(self) -> None:
        """Raise StageError where a figure is not met, or where there was none to meet."""
        if not any(self.differences.values()):
            raise cli.StageError(
                "no published figure could be recomputed: give a folder that holds items and their leaderboard"
            )
        failed = [
            f"{metric} is off by {difference:.2g} ({case}; tolerance {TOLERANCES[metric]:g})"
            for metric, (difference, case) in self.failed().items()
        ]
        if failed:
            raise cli.StageError(
                f"published figures are not met: {'; '.join(failed)}. Either the files or the metrics here are not as published."
            )


def present(path: Path, what: str, report: Report) -> bool:
    """Whether there is a file; where there is none, `what` is left out for that reason."""
    if not path.is_file():
        report.skip(what, "no such file", path.name)
    return path.is_file()
