"""What a recomputation of published figures found: differences by metric, what was left out, and what is past its tolerance."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from drift import cli

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
    """A published figure is not on file; the message says which, and where it is not."""


class Report:
    """Differences from published figures by metric, and what could not be compared."""

    def __init__(self) -> None:
        self.differences: dict[str, list[tuple[float, str]]] = {metric: [] for metric in TOLERANCES}
        self.skipped: dict[tuple[str, str], list[str]] = defaultdict(list)

    def compare(self, metric: str, case: str, computed: float | None, figure: float) -> None:
        """Take down how far `computed` is from the published `figure`; a value that is not defined is infinitely far."""
        difference = math.nan if computed is None else abs(computed - figure)
        self.differences[metric].append((math.inf if math.isnan(difference) else difference, case))

    def skip(self, what: str, reason: str, *cases: str) -> None:
        """Take down that `what` was left out for `reason`, once for each of `cases`."""
        if cases:
            self.skipped[what, reason].extend(cases)

    @contextmanager
    def where_there(self, what: str, case: str) -> Iterator[None]:
        """Leave `what` of a case out where a figure that it takes is not on file."""
        try:
            yield
        except AbsentError as absent:
            self.skip(what, str(absent), case)

    def lines(self) -> Iterator[str]:
        """The report as it is printed."""
        width = max(map(len, TOLERANCES))
        yield f"{'metric':{width}}  cases  largest difference  tolerance"
        for metric, found in self.differences.items():
            worst = f"{max(found)[0]:18.2g}" if found else f"{'-':>18}"
            verdict = "FAILED" if metric in self.failed() else "ok" if found else "not checked"
            yield f"{metric:{width}}  {len(found):5}  {worst}  {TOLERANCES[metric]:9g}  {verdict}"
        yield "left out:" if self.skipped else "left out: nothing"
        for (what, reason), cases in self.skipped.items():
            named = sorted(set(cases))
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            yield f"{len(cases):6}  {what}: {reason} ({', '.join(named[:3])}{more})"

    def failed(self) -> dict[str, tuple[float, str]]:
        """The metrics that are past their tolerance: the largest difference and its case."""
        worst = {metric: max(found) for metric, found in self.differences.items() if found}
        return {metric: found for metric, found in worst.items() if found[0] > TOLERANCES[metric]}

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
