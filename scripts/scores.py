"""Turn what policies answered, how they were judged, and their log-probabilities into scores with
intervals, and compare the policies.

Reads:  the Tasks of every benchmark (--tasks) and the files that its metrics need (--file); of
        every policy (--policy) its Responses to each benchmark (--responses), the Judgments of each
        judge about these (--judgments), and its Logps of the held-out corrections (--logps).
        Further ones are not read: the settings say which benchmarks and judges there are.
Writes: Scores (--scores) and Comparisons (--comparisons).
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from drift import benchmarks, cli, tables
from drift.metrics import answer_metrics, judge_metrics, pair_metrics, resampling
from drift.metrics.comparisons import Policy, Scored, contrasts
from drift.names import HELDOUT_PAIRS, UNJUDGED
from drift.settings.evaluation import ScoresSettings

Samples = list[float]  # a statistic's values for each sample of the answers by itself


@dataclass(frozen=True)
class Files:
    """Where the tables are that scores are made of: by benchmark, or by a policy's name first."""

    tasks: dict[str, Path]
    responses: dict[tuple[str, str], Path]
    judgments: dict[tuple[str, str, str], Path]
    logps: dict[str, Path]
    # What a benchmark's metrics need besides, by the benchmark and the file's name.
    extra: dict[str, dict[str, Path]]


@dataclass(frozen=True)
class Measured:
    """A statistic of a policy, and what it is of."""

    benchmark: str
    judge: str
    metric: str
    statistic: resampling.Statistic
    # Items that there are; the statistic has those with a verdict.
    total: int
    samples: Samples


class Run:
    """The policies of a run and their tables. StageError where one that is needed was not named."""

    def __init__(self, policies: dict[str, Policy], files: Files, settings: ScoresSettings):
        self.policies, self.settings, self._files = policies, settings, files
        self.tasks = {name: self._read(tables.Tasks, files.tasks, "--tasks", name) for name in settings.benchmarks}

    def measured(self, name: str) -> Iterator[Measured]:
        """Every statistic of the policy of that name."""
        for benchmark, row in self.settings.benchmarks.items():
            tasks = self.tasks[benchmark]
            responses = self._read(tables.Responses, self._files.responses, "--responses", name, benchmark)
            by_judge = {UNJUDGED: by_sample(responses, answer_metrics.response_statistics)}
            for judge in row.judges:
                judgments = self.judgments(name, benchmark, judge)
                measure = partial(benchmarks.statistics, row.kind, tasks=tasks, files=self._files.extra.get(benchmark, {}))
                by_judge[judge] = by_sample(judgments, measure) if len(judgments) else {}
            for judge, statistics in by_judge.items():
                for metric, (statistic, samples) in statistics.items():
                    yield Measured(benchmark, judge, metric, statistic, len(tasks), samples)
        logps, base = (self._logps(policy) for policy in (name, self.base_of(name)))
        for metric, statistic in pair_metrics.pair_statistics(logps, base, self.settings.beta).items():
            yield Measured(HELDOUT_PAIRS, UNJUDGED, metric, statistic, len(logps), [statistic.value()])

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
        return self._read(tables.Judgments, self._files.judgments, "--judgments", name, benchmark, judge)

    def _logps(self, name: str) -> pl.DataFrame:
        return self._read(tables.Logps, self._files.logps, "--logps", name)

    @staticmethod
    def _read(schema: type, paths: dict, option: str, *key: str) -> pl.DataFrame:
        path = paths.get(key if len(key) > 1 else key[0])
        if path is None:
            raise cli.StageError(f"no {schema.__name__} table of {', '.join(key)}: add {option} {' '.join(key)} PATH")
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


def summarise(scored: Scored, total: int, samples: Samples) -> dict:
    """A statistic's value with its interval, how many of `total` items are behind it, and its
    spread over `samples`' values."""
    value = scored.statistic.value() if len(scored.statistic.keys) else np.nan
    defined = not np.isnan(value)
    low, high = (resampling.interval(scored.replicates) if defined else None) or (None, None)
    return {
        "value": value if defined else None,
        "low": low,
        "high": high,
        "n": len(scored.statistic.keys),
        "total": total,
        "samples": len(samples),
        "spread": float(np.std(samples, ddof=1)) if len(samples) > 1 else None,
    }


def score(run: Run) -> tuple[list[dict], list[dict]]:
    """Rows of Scores and of Comparisons."""
    settings = run.settings
    rows, scored = [], {}
    for name, policy in run.policies.items():
        is_base = name == run.base_of(name)
        for one in run.measured(name):
            replicates = resampling.bootstrap(one.statistic, settings.bootstrap, settings.seed)
            known = scored[policy, one.benchmark, one.judge, one.metric] = Scored(one.statistic, replicates)
            row = summarise(known, one.total, one.samples)
            if is_base and one.benchmark == HELDOUT_PAIRS and one.metric not in pair_metrics.ABSOLUTE:
                # Measured from the base model itself: 0 by definition, or nothing.
                row |= dict.fromkeys(("value", "low", "high"))
            rows.append({**policy_columns(policy), "benchmark": one.benchmark, "judge": one.judge, "metric": one.metric, **row})
    rows += run_rows(run)
    for row in rows:
        benchmark = settings.benchmarks.get(row["benchmark"])
        row["judge_prompt"] = benchmark and benchmark.judges.get(row["judge"])
    compared = contrasts(list(run.policies.values()), scored, headlines(settings), settings.bootstrap, settings.seed)
    return rows, compared


def run_rows(run: Run) -> Iterator[dict]:
    """Rows of the metrics that take all policies together."""
    settings = run.settings
    for benchmark, row in settings.benchmarks.items():
        together = benchmarks.run_metrics(row.kind)
        for judge in row.judges if together else ():
            judged = [run.judgments(name, benchmark, judge) for name in run.policies]
            tasks = run.tasks[benchmark]
            by_policy = together(judged, tasks, settings.bootstrap, settings.seed)
            for policy, estimates in zip(run.policies.values(), by_policy, strict=True):
                for metric, estimate in estimates.items():
                    yield (
                        policy_columns(policy)
                        | {"benchmark": benchmark, "judge": judge, "metric": metric, "total": len(tasks), "samples": 1}
                        | {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}
                    )


def headlines(settings: ScoresSettings) -> set[str]:
    """The metrics by which policies are compared."""
    kinds = {row.kind for row in settings.benchmarks.values()}
    shown = [*judge_metrics.METRICS, *pair_metrics.METRICS, *(one for kind in kinds for one in benchmarks.metrics_shown(kind))]
    return {metric.name for metric in shown if metric.headline}


def policy_columns(policy: Policy) -> dict:
    """A policy's key columns."""
    return {"model": policy.model, "method": policy.method, "iteration": policy.iteration, "seed": policy.seed}


def named_policies(values: Iterable[tuple[str, str, str, str, str]]) -> dict[str, Policy]:
    """Every --policy of the command line, by name."""
    policies = {}
    for name, model, method, iteration, seed in values:
        try:
            policies[name] = Policy(model, method, int(iteration), int(seed))
        except ValueError as error:
            raise cli.StageError(
                f"--policy {name} {model} {method} {iteration} {seed}: the iteration and the seed must be whole numbers"
            ) from error
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
        help="a policy to score; METHOD is base for iteration -1 and warmup for 0, and SEED is 0 for both",
    )
    repeated("--tasks", "BENCHMARK", "PATH", help="a benchmark's Tasks table")
    repeated("--file", "BENCHMARK", "NAME", "PATH", help="a file that a benchmark's metrics need, as gamed of alpacaeval")
    repeated("--responses", "POLICY", "BENCHMARK", "PATH", help="a policy's Responses table")
    repeated("--judgments", "POLICY", "BENCHMARK", "JUDGE", "PATH", help="a judge's Judgments table of a policy")
    repeated("--logps", "POLICY", "PATH", help="a policy's Logps table of held-out corrections")
    command.add_argument("--scores", required=True, help="Scores table to write")
    command.add_argument("--comparisons", required=True, help="Comparisons table to write")
    return command


def files_of(arguments: argparse.Namespace) -> Files:
    """The tables and files of the command line."""
    extra: dict[str, dict[str, Path]] = {}
    for benchmark, name, path in arguments.file:
        extra.setdefault(benchmark, {})[name] = Path(path)
    return Files(
        tasks={benchmark: Path(path) for benchmark, path in arguments.tasks},
        responses={(policy, benchmark): Path(path) for policy, benchmark, path in arguments.responses},
        judgments={(policy, benchmark, judge): Path(path) for policy, benchmark, judge, path in arguments.judgments},
        logps={policy: Path(path) for policy, path in arguments.logps},
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
