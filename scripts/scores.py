"""Turn what policies answered, how they were judged, and their log-probabilities into scores with
intervals, and compare the policies.

Reads:  the Tasks of every benchmark (--tasks) and the files that its metrics need (--file); the
        Corrections (--corrections); of every policy (--policy) its Responses to each benchmark
        (--responses), the Checks of these where code makes them (--checks), the Judgments of each
        judge about them (--judgments), and its Logps of the held-out corrections (--logps).
        Further ones are not read: the settings say which benchmarks and judges there are.
Writes: Scores (--scores) and Comparisons (--comparisons). A method's policies of several seeds have
        a score each, and their mean one as seed 0; comparisons are of the means.
"""

import _python  # noqa: F401 - before what may be missing
import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import polars as pl

from drift import benchmarks, cli, tables
from drift.metrics import answer_metrics, pair_metrics, resampling, shown
from drift.metrics.comparisons import Family, Measure, Policy, Replicated, Resampling, contrasts
from drift.names import HELDOUT_PAIRS, UNJUDGED
from drift.settings.evaluation import ScoresSettings

Samples = list[float]  # a statistic's values for each sample of the answers by itself


@dataclass(frozen=True)
class Files:
    """Where the tables are that scores are made of: patterns with {policy}, {benchmark}, {judge}. A
    path for each table of a large run would be more than a command line takes."""

    tasks: str
    corrections: Path
    responses: str
    checks: str
    judgments: str
    logps: str
    # What a benchmark's metrics need besides, by the benchmark and the file's name.
    extra: dict[str, dict[str, Path]]


@dataclass(frozen=True)
class Measured:
    """A number of one policy with its replicates, and what it is of; `statistic` is None where it
    takes all policies together."""

    statistic: resampling.Statistic | None
    value: float  # NaN where it is not defined
    replicates: np.ndarray | None  # None: it has no interval
    n: int  # items behind it
    samples: Samples


class Run:
    """The policies of a run and their tables. StageError where one that is needed is not there."""

    def __init__(self, policies: dict[str, Policy], files: Files, settings: ScoresSettings):
        self.policies, self.settings, self._files = policies, settings, files
        self.tasks = {name: self._read(tables.Tasks, files.tasks, benchmark=name) for name in settings.benchmarks}

    @cached_property
    def clusters(self) -> dict[str, resampling.Clusters]:
        """Of every benchmark, and of the held-out corrections, which items belong together."""
        corrections = tables.read_table(tables.Corrections, self._files.corrections)
        items = self.tasks | {HELDOUT_PAIRS: corrections.filter(split="test")}
        return {name: resampling.Clusters.of(rows["prompt_id"], rows["cluster"]) for name, rows in items.items()}

    def measured(self, name: str) -> Iterator[tuple[Measure, Measured]]:
        """Every statistic of the policy of that name."""
        for benchmark, row in self.settings.benchmarks.items():
            tasks = self.tasks[benchmark]
            responses = self._read(tables.Responses, self._files.responses, policy=name, benchmark=benchmark)
            by_judge = {UNJUDGED: {}}
            # Of answers that are read off, nothing was written.
            if not benchmarks.choices(row.kind):
                by_judge[UNJUDGED] = by_sample(responses, answer_metrics.response_statistics)
            if benchmarks.checked(row.kind):
                base = self._checks(self.base_of(name), benchmark) if self.policies[name].iteration >= 0 else None
                measure = partial(benchmarks.checked_statistics, row.kind, base=base, tasks=tasks)
                by_judge[UNJUDGED] |= by_sample(self._checks(name, benchmark), measure)
            for judge in row.judges:
                judgments = self.judgments(name, benchmark, judge)
                measure = partial(benchmarks.statistics, row.kind, tasks=tasks, files=self._files.extra.get(benchmark, {}))
                by_judge[judge] = by_sample(judgments, measure) if len(judgments) else {}
            for judge, statistics in by_judge.items():
                for metric, (statistic, samples) in statistics.items():
                    yield (benchmark, judge, metric), self.replicated(benchmark, statistic, samples)
        if not self.settings.heldout_pairs:
            return
        logps, base = (self._logps(policy) for policy in (name, self.base_of(name)))
        for metric, statistic in pair_metrics.pair_statistics(logps, base, self.settings.beta).items():
            yield (HELDOUT_PAIRS, UNJUDGED, metric), self.replicated(HELDOUT_PAIRS, statistic, [statistic.value()])

    def replicated(self, benchmark: str, statistic: resampling.Statistic, samples: Samples) -> Measured:
        """A statistic on a benchmark's items with its replicates."""
        n = len(statistic.keys)
        replicates = resampling.bootstrap(statistic, self.settings.bootstrap, self.settings.seed, self.clusters[benchmark])
        return Measured(statistic, statistic.value() if n else np.nan, replicates, n, samples)

    def effective_clusters(self, benchmark: str, measured: Measured) -> float:
        """The effective number of clusters behind a number."""
        clusters = self.clusters[benchmark]
        return clusters.effective(clusters.keys if measured.statistic is None else measured.statistic.keys)

    def base_of(self, name: str) -> str:
        """The name of the base model of a policy: of the same model, iteration -1."""
        model = self.policies[name].model
        for candidate, policy in self.policies.items():
            if policy.model == model and policy.iteration == -1:
                return candidate
        raise cli.StageError(
            f"no base model among the policies of '{model}': add --policy NAME {model} base -1 0; "
            "margins and gains are measured against it."
        )

    def judgments(self, name: str, benchmark: str, judge: str) -> pl.DataFrame:
        """One judge's verdicts on a policy's answers."""
        return self._read(tables.Judgments, self._files.judgments, policy=name, benchmark=benchmark, judge=judge)

    def _checks(self, name: str, benchmark: str) -> pl.DataFrame:
        """What code found in a policy's answers, with these and their lengths."""
        checks = self._read(tables.Checks, self._files.checks, policy=name, benchmark=benchmark)
        responses = self._read(tables.Responses, self._files.responses, policy=name, benchmark=benchmark)
        answers = responses.select("prompt_id", "sample", "response", tokens="completion_tokens")
        return checks.join(answers, on=["prompt_id", "sample"], validate="m:1")

    def _logps(self, name: str) -> pl.DataFrame:
        return self._read(tables.Logps, self._files.logps, policy=name)

    @staticmethod
    def _read(schema: type, pattern: str, **names: str) -> pl.DataFrame:
        path = Path(pattern.format(**names))
        if not path.is_file():
            raise cli.StageError(f"there is no {schema.__name__} table of {', '.join(names.values())}: {path}")
        return tables.read_table(schema, path)


def by_sample(
    rows: pl.DataFrame, statistics: Callable[[pl.DataFrame], dict[str, resampling.Statistic]]
) -> dict[str, tuple[resampling.Statistic, Samples]]:
    """Each statistic of `rows` together with its values for each sample of the answers by
    itself."""
    samples = rows["sample"].unique().sort()
    alone = [statistics(rows.filter(sample=sample)) for sample in samples] if len(samples) > 1 else []
    return {
        name: (statistic, [one[name].value() for one in alone if name in one] if alone else [statistic.value()])
        for name, statistic in statistics(rows).items()
    }


def summarise(each: Sequence[Measured], total: int, clusters: float) -> dict:
    """The columns of a score that is the mean over seeds, or of one seed; `total`: items that there
    are, `clusters`: the effective number behind it."""
    values = [one.value for one in each]
    defined = not np.isnan(values).any()
    ends = None
    if defined and all(one.replicates is not None for one in each):
        ends = resampling.interval_over_seeds(values, [one.replicates for one in each], clusters)
    low, high = ends or (None, None)
    spreads = [np.std(one.samples, ddof=1) for one in each if len(one.samples) > 1]
    return {
        "value": float(np.mean(values)) if defined else None,
        "low": low,
        "high": high,
        "n": min(one.n for one in each),
        "total": total,
        "samples": max(len(one.samples) for one in each),
        "spread": float(np.mean(spreads)) if spreads and not np.isnan(spreads).any() else None,
        "seeds": len(each),
        "seed_spread": float(np.std(values, ddof=1)) if defined and len(each) > 1 else None,
    }


def score(run: Run) -> tuple[list[dict], list[dict]]:
    """Rows of Scores and of Comparisons."""
    by_seed: dict[tuple[Policy, *Measure], dict[int, Measured]] = {}
    for name, policy in run.policies.items():
        for measure, measured in run.measured(name):
            by_seed.setdefault((policy.over_seeds, *measure), {})[policy.seed] = measured
    for policy, measure, measured in run_measures(run):
        by_seed.setdefault((policy.over_seeds, *measure), {})[policy.seed] = measured

    seeds_of: dict[Policy, set[int]] = {}
    for policy in run.policies.values():
        seeds_of.setdefault(policy.over_seeds, set()).add(policy.seed)
    rows, scored = [], {}
    for (policy, *measure), measured in by_seed.items():
        for seed, one in measured.items():
            if seed:
                rows.append(score_row(run, replace(policy, seed=seed), tuple(measure), {seed: one}))
        # A mean over some of the seeds would be one of other policies.
        if measured.keys() == seeds_of[policy]:
            rows.append(score_row(run, policy, tuple(measure), measured))
            if all(one.statistic is not None for one in measured.values()):
                scored[policy, *measure] = {seed: Replicated(one.statistic, one.replicates) for seed, one in measured.items()}
    settings = run.settings
    family = Family(settings.primary.metrics, settings.primary.against)
    how = Resampling(run.clusters, settings.bootstrap, settings.seed)
    compared = contrasts(list(run.policies.values()), scored, headlines(settings), family, settings.starts, how)
    return rows, compared


def score_row(run: Run, policy: Policy, measure: Measure, measured: Mapping[int, Measured]) -> dict:
    """A row of Scores."""
    benchmark, judge, metric = measure
    each, total = list(measured.values()), len(run.clusters[benchmark].keys)
    row = summarise(each, total, min(run.effective_clusters(benchmark, one) for one in each))
    if policy.iteration == -1 and benchmark == HELDOUT_PAIRS and metric not in pair_metrics.ABSOLUTE:
        # Measured from the base model itself: nothing, by definition.
        row |= dict.fromkeys(("value", "low", "high"))
    kind = run.settings.benchmarks.get(benchmark)
    return {
        **{"model": policy.model, "method": policy.method, "iteration": policy.iteration, "seed": policy.seed},
        **{"benchmark": benchmark, "judge": judge, "metric": metric, "judge_prompt": kind and kind.judges.get(judge)},
        **row,
    }


def run_measures(run: Run) -> Iterator[tuple[Policy, Measure, Measured]]:
    """What takes all policies together, every seed's being one."""
    settings = run.settings
    for benchmark, row in settings.benchmarks.items():
        together = benchmarks.run_metrics(row.kind)
        for judge in row.judges if together else ():
            judged = [run.judgments(name, benchmark, judge) for name in run.policies]
            by_policy = together(judged, run.tasks[benchmark], settings.bootstrap, settings.seed)
            for policy, estimates in zip(run.policies.values(), by_policy, strict=True):
                for metric, known in estimates.items():
                    measured = Measured(None, known.value, known.replicates, known.n, [known.value])
                    yield policy, (benchmark, judge, metric), measured


def headlines(settings: ScoresSettings) -> set[str]:
    """The metrics by which policies are compared."""
    kinds = {row.kind for row in settings.benchmarks.values()}
    metrics = [*shown.JUDGED, *shown.PAIRS, *(one for kind in kinds for one in benchmarks.metrics_shown(kind))]
    return {metric.name for metric in metrics if metric.headline}


def named_policies(values: Iterable[tuple[str, str, str, str, str]]) -> dict[str, Policy]:
    """Every --policy of the command line, by name."""
    policies = {}
    for name, model, method, iteration, seed in values:
        option = f"--policy {name} {model} {method} {iteration} {seed}"
        try:
            policies[name] = Policy(model, method, int(iteration), int(seed))
        except ValueError as error:
            raise cli.StageError(f"{option}: the iteration and the seed must be whole numbers") from error
        if (policies[name].iteration > 0) != (policies[name].seed > 0):
            raise cli.StageError(
                f"{option}: base and warmup, which all seeds share, have seed 0; the policies of a method have 1 or more"
            )
    return policies


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.parser(__doc__, ScoresSettings)

    def repeated(option: str, *names: str, help: str, required: bool = False) -> None:
        command.add_argument(option, nargs=len(names), action="append", default=[], required=required, metavar=names, help=help)

    repeated(
        "--policy",
        *("NAME", "MODEL", "METHOD", "ITERATION", "SEED"),
        required=True,
        help="a policy to score; METHOD is base for iteration -1 and warmup for 0, both of seed 0",
    )
    command.add_argument("--tasks", required=True, help="Tasks tables: a path with {benchmark}")
    command.add_argument("--corrections", required=True, type=Path, help="Corrections table, of whose test rows --logps are")
    repeated("--file", "BENCHMARK", "NAME", "PATH", help="a file that a benchmark's metrics need, as gamed of alpacaeval")
    command.add_argument("--responses", required=True, help="Responses tables: a path with {policy}, {benchmark}")
    command.add_argument("--checks", required=True, help="Checks tables: a path with {policy}, {benchmark}")
    command.add_argument("--judgments", required=True, help="Judgments tables: a path with {policy}, {benchmark}, {judge}")
    command.add_argument("--logps", required=True, help="Logps tables of held-out corrections: a path with {policy}")
    command.add_argument("--scores", required=True, help="Scores table to write")
    command.add_argument("--comparisons", required=True, help="Comparisons table to write")
    return command


def files_of(arguments: argparse.Namespace) -> Files:
    """The tables and files of the command line."""
    extra: dict[str, dict[str, Path]] = {}
    for benchmark, name, path in arguments.file:
        extra.setdefault(benchmark, {})[name] = Path(path)
    return Files(
        tasks=arguments.tasks,
        corrections=arguments.corrections,
        responses=arguments.responses,
        checks=arguments.checks,
        judgments=arguments.judgments,
        logps=arguments.logps,
        extra=extra,
    )


def main() -> None:
    arguments = parser().parse_args()
    rows, compared = score(Run(named_policies(arguments.policy), files_of(arguments), arguments.settings))
    for made, schema, path in (
        (rows, tables.Scores, arguments.scores),
        (compared, tables.Comparisons, arguments.comparisons),
    ):
        tables.write_table(pl.DataFrame(made, schema=schema.create_empty().schema), schema, path)


if __name__ == "__main__":
    cli.run(main)
