"""The report's judges: who judged what and how, and how far each agrees with published verdicts."""

from dataclasses import dataclass, replace

from drift.config import Config
from drift.judging.protocols import judged, protocol_of, words
from drift.metrics.display import Metric, hundredths, percent
from drift.report.judge_behaviour import Behaviour
from drift.report.metric_labels import Measure, measure, without_empty

AGREEMENT = (
    Metric("pearson", "Pearson", hundredths, help="correlation of the judge's scores with the published ones"),
    Metric("spearman", "Spearman", hundredths, help="the same of their ranks"),
    Metric("kappa", "Kappa", hundredths, help="Cohen's kappa: agreement beyond chance; of scores with quadratic weights"),
    Metric("agreement", "Agreement", percent, help="share of items with the same verdict; of scores: within a point"),
    Metric("rank_agreement", "Ranks of models", hundredths, help="Kendall's tau between the models' means"),
    Metric(
        "position_flip_rate", "Verdict flips", percent, help="share of items whose verdict changes with the order of answers"
    ),
    Metric("judged", "Judged", percent, help="share of the published items that got a verdict"),
)


@dataclass(frozen=True)
class JudgeRow:
    """A judge of a benchmark; a measure a metric, None where it is not defined."""

    judge: str
    benchmark: str
    model: str
    how: str
    measures: list[Measure | None]
    validated: bool  # whether it was compared with published verdicts
    reading: str | None  # what to think of its verdicts here; None where it gave none


@dataclass(frozen=True)
class JudgeTable:
    """Every judge of every benchmark, and the metrics that any of them has."""

    metrics: tuple[Metric, ...]
    rows: list[JudgeRow]


def judged_by(config: Config) -> list[tuple[str, str]]:
    """Every benchmark with each of its judges, in the order of the configuration."""
    return judged(config.model_dump(mode="json"))


def judges(config: Config) -> list[str]:
    """The judges of a run, by name."""
    return sorted({judge for _, judge in judged_by(config)})


def unjudged(config: Config) -> list[str]:
    """The benchmarks that nobody judges, in the order of the configuration."""
    judged_ones = {benchmark for benchmark, _ in judged_by(config)}
    return [name for name in config.evaluation.benchmarks if name not in judged_ones]


def judge_table(validation: list[dict], behaved: list[Behaviour], config: Config) -> JudgeTable:
    """A row a benchmark and judge, from the rows of a Validation table and from how each
    behaved."""
    readings = {(one.judge, one.benchmark): one.reading for one in behaved}
    measured = {(row["judge"], row["benchmark"], row["metric"]): row for row in validation}
    values = config.model_dump(mode="json")
    rows = []
    for benchmark, name in judged(values):
        judge = config.evaluation.judges[name]
        its_rows = [measured.get((name, benchmark, metric.name)) for metric in AGREEMENT]
        rows.append(
            JudgeRow(
                judge=name,
                benchmark=benchmark,
                model=judge.endpoint.model if judge.endpoint else judge.path,
                how=words(protocol_of(values, benchmark, name)) + (", own template" if judge.template else ""),
                measures=[measure(row, metric.text) for row, metric in zip(its_rows, AGREEMENT, strict=True)],
                validated=any(its_rows),
                reading=readings.get((name, benchmark)),
            )
        )
    metrics, measures = without_empty(AGREEMENT, [row.measures for row in rows])
    return JudgeTable(metrics, [replace(row, measures=its) for row, its in zip(rows, measures, strict=True)])
