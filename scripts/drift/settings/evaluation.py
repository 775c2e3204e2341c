"""Settings of the stages that evaluate policies."""

from pydantic import Field

from drift.config import Benchmark, Evaluation
from drift.settings.base import Settings, like


class TasksSettings(Settings):
    """Of tasks.py: the tasks of a benchmark."""

    kind: str = like(Benchmark, "kind")
    max_tasks: int | None = like(Benchmark, "max_tasks")
    shots: int | None = like(Benchmark, "shots", default=None)
    seed: int = Field(description="of the hash by which tasks are picked")


class ChecksSettings(Settings):
    """Of checks.py: how a benchmark's answers are checked."""

    kind: str = like(Benchmark, "kind")


class JudgedBenchmark(Settings):
    """A benchmark whose answers are scored."""

    kind: str = like(Benchmark, "kind")
    judges: dict[str, str | None] = Field(
        description="who judged it; SHA-256 of the judge prompt by the judge's name, null where it is not known"
    )


class PrimaryFamily(Settings):
    """The comparisons of the last iteration that are declared before the run."""

    metrics: dict[str, list[str]] = Field(
        description="metrics by benchmark, the most wanted first: the first that a judge's verdicts give counts"
    )
    against: str = Field(description="what each method is compared with: a method, or base")


class ScoresSettings(Settings):
    """Of scores.py: which scores there are, and the uncertainty of each."""

    benchmarks: dict[str, JudgedBenchmark] = Field(description="benchmarks by name, in the order of the table")
    beta: float = Field(description="training.beta of the run: margins of all methods are on one scale")
    bootstrap: int = like(Evaluation, "bootstrap")
    heldout_pairs: bool = Field(description="whether policies are scored by held-out corrections")
    primary: PrimaryFamily = Field(description="the comparisons that decide; all others are exploratory")
    starts: dict[str, str] = Field(description="the policy that iteration 1 starts from, base or warmup, by method")
    seed: int = Field(description="of all resampling and of the order of votes")
