"""What policies are asked, and who judges the answers."""

from typing import Literal

from pydantic import Field, model_validator

from drift import plugins
from drift.config.base import Name, Section, kind_of, listed, one_answerer, unknown
from drift.config.endpoint import Endpoint
from drift.config.training import Greedy, samples_can_differ
from drift.names import BASELINE, HELDOUT_PAIRS

Order = Literal["random", "both", "alpacaeval"]


_ORDERS = (
    "which answer is shown first: random, a coin per task; both, each task is asked twice; "
    "alpacaeval, the published coin per instruction; null: {}"
)


class Benchmark(Section):
    """An evaluation set: what policies are asked, and who judges the answers."""

    kind: kind_of(plugins.BENCHMARKS) = Field(
        description="heldout: the test split's DSAT prompts, against the user's disappointing reply; the others are readers in "
        "scripts/drift/benchmarks/"
    )
    path: str | None = Field(
        None, description="file of tasks: hf-dataset:ORG/NAME@REVISION/FILE#sha256=..., or local; heldout has none"
    )
    baseline: str | None = Field(None, description="file of answers to compare with, where the task file holds none")
    references: dict[Name, str] = Field({}, description="files of other models' answers to compare with as well, by model")
    difficulty: str | None = Field(
        None, description="alpacaeval: instruction_difficulty.csv, for the length-controlled win rate"
    )
    gamed: str | None = Field(None, description="alpacaeval: df_gamed.csv, for the length-controlled win rate")
    examples: str | None = Field(
        None, description="gsm8k, multiple-choice: solved examples that are shown before each task; null: none (zero-shot)"
    )
    shots: int | None = Field(
        None,
        ge=1,
        description="how many of `examples`, of multiple choice those of the task's subject, by their order in the file",
    )
    keep_out: bool = Field(
        True,
        description="no training row holds a prompt of it; false: for a benchmark that is added after the training, which is not "
        "repeated: what the training rows hold of it is counted",
    )
    judge: str | list[str] | None = Field(
        None,
        description="who judges it; several judge independently; null: evaluation.judge, of answers that code checks nobody; "
        "[]: nobody",
    )
    order: Order | None = Field(None, description=_ORDERS.format("as the benchmark is published"))
    max_tasks: int | None = Field(None, ge=1, description="the first by seeded hash; null: all")
    decoding: Greedy = Field(Greedy(), description="greedy by default")
    context: int | None = Field(None, ge=64, description="prompt and answer together, tokens; null: as sampling.context")
    samples: int = Field(1, ge=1, description="answers per task, each with a seed of its own")
    shards: int = Field(1, ge=1, description="jobs the answering and the judging are split into")

    @model_validator(mode="after")
    def _files_fit_the_kind(self) -> "Benchmark":
        taken = _files_of(self.kind)
        refused = [name for name in FILES if getattr(self, name) and name not in taken]
        if refused:
            kinds = [kind for kind in plugins.BENCHMARKS if set(refused) <= set(_files_of(kind))]
            raise ValueError(
                f"kind {self.kind} takes no {' and no '.join(refused)}; remove {'it' if len(refused) == 1 else 'them'}"
                + (f", or use kind {' or '.join(kinds)}" if kinds else "")
            )
        if "path" in taken and self.path is None:
            raise ValueError("path: where are the tasks?")
        if "path" not in taken and not self.keep_out:
            raise ValueError(f"kind {self.kind} is split off from the run's own data: keep_out cannot be false")
        if BASELINE in self.references:
            raise ValueError(f"references: '{BASELINE}' is what the judgments call the baseline; choose another name")
        return self

    @model_validator(mode="after")
    def _examples_are_counted(self) -> "Benchmark":
        if (self.examples is None) != (self.shots is None):
            raise ValueError("give both examples (a file) and shots (how many of them), or neither")
        return self

    @model_validator(mode="after")
    def _answers_fit_the_kind(self) -> "Benchmark":
        if in_words(self.kind):
            samples_can_differ(self.samples, self.decoding)
        elif self.judge or self.samples > 1:
            raise ValueError(f"kind {self.kind} reads a letter off instead of an answer in words: remove judge and samples")
        return self


# The keys of Benchmark that name files of tasks, answers or estimates.
FILES = ("path", "baseline", "references", "difficulty", "gamed", "examples")


def _files_of(kind: str) -> tuple[str, ...]:
    """Which of FILES a kind of benchmark takes: its module says so."""
    return plugins.load(plugins.BENCHMARKS, kind).FILES


def in_words(kind: str) -> bool:
    """Whether policies answer a kind of benchmark in words, rather than with one of a few."""
    return not hasattr(plugins.load(plugins.BENCHMARKS, kind), "CHOICES")


class Verdict(Greedy):
    """Decoding for judges."""

    max_tokens: int = Field(1024, ge=1, description="longest verdict, tokens")


def votes_can_differ(votes: int, decoding: Greedy) -> None:
    """Refuse several votes that would be the same one several times: without sampling."""
    if votes > 1 and decoding.temperature == 0:
        raise ValueError(f"votes {votes} without sampling are {votes} times the same; raise decoding.temperature")


def _read_off(verdict: str | None) -> bool:
    """Whether a verdict is read off the probabilities of its allowed replies; one that the
    benchmark decides may not be."""
    return verdict is not None and plugins.load(plugins.VERDICTS, verdict).choices(("A", "B")) is not None


class Judge(Section):
    """Who judges: a model here (`path`) or behind an endpoint, and how it is asked where that
    differs from the benchmark."""

    path: str | None = Field(None, description="as models.NAME.path")
    endpoint: Endpoint | None = Field(None, description="instead of path: a model behind an OpenAI-compatible endpoint")
    context: int = Field(8192, ge=64, description="prompt and verdict together, tokens")
    trusted: bool = Field(
        True,
        description="false: the report says that its verdicts mean nothing by themselves; true vouches for nothing: what the "
        "judge's behaviour says of it is said in any case",
    )
    verdict: kind_of(plugins.VERDICTS) | None = Field(
        None,
        description="letter: which of two answers, from the probabilities of two letters; choice: the "
        "same in five levels; score: one answer, 1 to 10; others are modules in scripts/drift/verdicts/; "
        "null: as the benchmark has it",
    )
    template: str | None = Field(
        None,
        description="a file with the judge prompt; null: ours for the verdict (scripts/templates/judge-*.txt)",
    )
    order: Order | None = Field(None, description=_ORDERS.format("as the benchmark has it"))
    votes: int = Field(1, ge=1, description="how often each question is asked")
    decoding: Verdict = Field(
        Verdict(), description="of a choice or a score; greedy by default. A letter is read off, not sampled"
    )
    min_verdicts: float = Field(
        0.95, ge=0, le=1, description="share of questions that must get a verdict, else the stage fails"
    )
    least_mass: float = Field(
        0.05,
        ge=0,
        le=1,
        description="of a letter: the probability of both letters together as the first token, below which their "
        "ratio is noise and there is no verdict",
    )

    @model_validator(mode="after")
    def _votes_can_differ(self) -> "Judge":
        if self.path:
            votes_can_differ(self.votes, Greedy() if _read_off(self.verdict) else self.decoding)
        return self

    @model_validator(mode="after")
    def _one_answerer(self) -> "Judge":
        one_answerer(self)
        return self


class Primary(Section):
    """The comparisons that are declared before the run, at the last iteration; all others are
    exploratory."""

    metrics: dict[Name, str] | None = Field(
        None,
        description="the metric of each benchmark, or of heldout-pairs; null: the headline of every benchmark, which is "
        "length_controlled_win_rate of alpacaeval, wb_score_task_macro of wildbench, win_rate or judge_score of the others",
    )
    against: str | None = Field(
        None,
        description="the method that every other one is compared with, or base; null: the first of methods, and base where there "
        "is one method",
    )


class Evaluation(Section):
    benchmarks: dict[Name, Benchmark] = Field(
        {"heldout": Benchmark(kind="heldout")}, min_length=1, description="what policies are asked"
    )
    judge: str | None = Field(
        None, description="who judges the answers, where a benchmark does not name its own; null: nobody does"
    )
    judges: dict[Name, Judge] = Field({}, description="models that can judge")
    validation: str | None = Field(
        None,
        description="answers with published figures, by which the judges are validated "
        "(scripts/validation_tasks.py); null: none",
    )
    bootstrap: int = Field(1000, ge=100, description="resamples behind each interval")
    primary: Primary = Field(Primary(), description="the comparisons that decide")

    @model_validator(mode="after")
    def _judges_are_rows(self) -> "Evaluation":
        if self.judge is not None and self.judge not in self.judges:
            raise ValueError(f"judge: {unknown(self.judge, self.judges)}")
        for name, row in self.benchmarks.items():
            for judge in listed(row.judge):
                if judge not in self.judges:
                    raise ValueError(f"benchmarks.{name}.judge: {unknown(judge, self.judges)}")
        return self

    @model_validator(mode="after")
    def _primary_benchmarks_are_rows(self) -> "Evaluation":
        if self.primary.metrics == {}:
            raise ValueError("primary.metrics: name at least one benchmark with its metric, or null for all headlines")
        for name in self.primary.metrics or {}:
            if name not in (known := [*self.benchmarks, HELDOUT_PAIRS]):
                raise ValueError(f"primary.metrics: {unknown(name, known)}")
        return self
