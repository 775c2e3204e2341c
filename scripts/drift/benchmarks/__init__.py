"""What policies are asked: one module a kind of benchmark, and what all of them share.

A new kind of benchmark is one such module, and one line in BENCHMARKS of drift/plugins.py. It has
what `Benchmark` lists, and may have what `Extras` lists: without these its answers get what answers
to any benchmark get, which are win rates, mean scores, lengths, and how far the judge can be
believed.

Rules load these modules, so their top level imports neither polars nor numpy: functions that need
them import them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from drift import plugins
from drift.benchmarks.records import Judging
from drift.metrics.display import Metric

if TYPE_CHECKING:
    import polars as pl

    from drift.metrics.resampling import Estimate, Statistic


class Benchmark(Protocol):
    """What a module of this package has.

    A record is a row of a JSON, JSON Lines or Parquet file, as a dict. `key` and `task` raise
    ValueError (or KeyError for a field that is missing) with what is wrong; the caller names file
    and row.
    """

    # How its answers are judged, unless the configuration says otherwise.
    JUDGING: Judging
    # How many tasks are published; None where that says nothing.
    SIZE: int | None
    # Which of the files that a row of evaluation.benchmarks can name it takes: path, baseline,
    # references, difficulty, gamed, examples. Without path it is made from the run's own data.
    FILES: tuple[str, ...]

    def key(self, record: dict[str, Any]) -> str:
        """The id of the task that a record of the task file, or of a file of answers, is about."""

    def task(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The task of a record of the task file, as columns of Tasks without prompt_id; None where
        it is not a task of this benchmark. Without `cluster` the task is a cluster by itself."""


class Extras(Protocol):
    """What a module of this package may have."""

    # How the metrics that it adds are shown, the most telling first, and which are headlines: by
    # those policies are compared.
    METRICS: tuple[Metric, ...]
    # Which of FILES `metrics` reads.
    SCORE_FILES: tuple[str, ...]

    def difficulties(self, path: Path) -> list[float]:
        """The difficulty of each task, in the order of the task file (needs "difficulty" in
        FILES)."""

    # Of a kind that has `check`: files that it needs, as addresses (drift/downloads.py) by name.
    CHECK_FILES: Mapping[str, str]
    # The words, each a token, that answers are one of: their probabilities as the first token are
    # read off (Responses.choice_logprobs), and nothing is written. Needs `check`.
    CHOICES: tuple[str, ...]

    def example(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record of the file of solved examples: `messages`, which end with the assistant's, and
        `categories`; it is shown before tasks that have the same (needs "examples" in FILES)."""

    def check(self, task: dict[str, Any], answer: dict[str, Any], files: Mapping[str, Path]) -> list[dict[str, Any]]:
        """What code finds in an answer (a row of Responses) to a row of Tasks: check, direction and
        passed of Checks, a row a check. A kind that has this is judged by code; judges are asked
        where they are named. `files`: CHECK_FILES, fetched; a file or the folder that holds it."""

    def check_metrics(
        self, checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame"
    ) -> "dict[str, Statistic]":
        """Every metric of one policy's Checks, in place of check_metrics.check_statistics. `base`:
        those of the base model, None for itself; both with the answers (`response`) and their
        lengths (`tokens`)."""

    def metrics(self, judgments: "pl.DataFrame", tasks: "pl.DataFrame", files: Mapping[str, Path]) -> "dict[str, Statistic]":
        """Every metric of one judge's Judgments of one policy, in place of
        judge_metrics.verdict_statistics. `files`: those of SCORE_FILES that are configured."""

    def run_metrics(
        self, judged: "Sequence[pl.DataFrame]", tasks: "pl.DataFrame", resamples: int, seed: int
    ) -> "list[dict[str, Estimate]]":
        """Metrics that take all policies of a run together: for each policy's Judgments by one
        judge, in their order, its metrics. Their replicates are over `resampling.resampled` of the
        tasks' clusters, as those of all statistics are."""


def load(kind: str) -> Benchmark:
    """The module of a kind of benchmark."""
    return cast(Benchmark, plugins.load(plugins.BENCHMARKS, kind))


def score_files(kind: str) -> tuple[str, ...]:
    """Which of a benchmark's files its metrics need."""
    return getattr(load(kind), "SCORE_FILES", ())


def checked(kind: str) -> bool:
    """Whether code checks the answers to a kind of benchmark."""
    return hasattr(load(kind), "check")


def check_files(kind: str) -> Mapping[str, str]:
    """The addresses of the files that the check of a kind of benchmark needs, by name."""
    return getattr(load(kind), "CHECK_FILES", {})


def choices(kind: str) -> tuple[str, ...] | None:
    """What answers to a kind of benchmark are one of; None where they are in words."""
    return getattr(load(kind), "CHOICES", None)


def metrics_shown(kind: str) -> tuple[Metric, ...]:
    """How the metrics are shown that a kind of benchmark adds."""
    return getattr(load(kind), "METRICS", ())


def statistics(
    kind: str, judgments: "pl.DataFrame", tasks: "pl.DataFrame", files: Mapping[str, Path]
) -> "dict[str, Statistic]":
    """Every statistic, by metric, of one judge's Judgments of one policy on a benchmark of this
    kind.

    A metric that ends in :MODEL is against the answers of that reference, in :GROUP over the tasks
    of that group. `files`: see Extras.SCORE_FILES.
    """
    from drift.metrics import judge_metrics

    module = load(kind)
    if hasattr(module, "metrics"):
        measured = module.metrics(judgments, tasks, files)
    else:
        measured = judge_metrics.verdict_statistics(judgments, tasks)
    return measured | judge_metrics.reliability(judgments)


def checked_statistics(
    kind: str, checks: "pl.DataFrame", base: "pl.DataFrame | None", tasks: "pl.DataFrame"
) -> "dict[str, Statistic]":
    """Every statistic, by metric, of what code found in one policy's answers (see
    Extras.check_metrics)."""
    from drift.metrics import check_metrics

    module = load(kind)
    if hasattr(module, "check_metrics"):
        return module.check_metrics(checks, base, tasks)
    return check_metrics.check_statistics(checks)


def run_metrics(kind: str) -> "Callable[..., list[dict[str, Estimate]]] | None":
    """What measures all policies of a run together (see Extras.run_metrics); None where nothing
    does."""
    return getattr(load(kind), "run_metrics", None)
