"""The report's judges: who judged what and how, and how far each agrees with published verdicts."""

from dataclasses import dataclass

from drift.benchmarks import KINDS
from drift.config import Benchmark, Config, Evaluation, Judge
from drift.judging.protocols import judging
from drift.report.metric_labels import Metric, minus, percent, whole


def coefficient(value: float) -> str:
    return minus(f"{value:.2f}")


AGREEMENT = (
    Metric("pearson", "Pearson", coefficient, help="correlation of the judge's scores with the published ones"),
    Metric("spearman", "Spearman", coefficient, help="the same of their ranks"),
    Metric("kappa", "Kappa", coefficient, help="Cohen's kappa: agreement beyond chance; of scores with quadratic weights"),
    Metric("agreement", "Agreement", percent, help="share of items with the same verdict; of scores: within a point"),
    Metric("rank_agreement", "Ranks of models", coefficient, help="Kendall's tau between the models' means"),
    Metric(
        "position_flip_rate", "Verdict flips", percent, help="share of items whose verdict changes with the order of answers"
    ),
    Metric("judged", "Judged", percent, help="share of the published items that got a verdict"),
)


@dataclass(frozen=True)
class Measure:
    """A measure of agreement as it is shown."""

    text: str
    interval: str | None
    n: str


@dataclass(frozen=True)
class JudgeRow:
    """A judge of a benchmark; a measure a metric, None where it is not defined."""

    judge: str
    benchmark: str
    model: str
    how: str
    measures: list[Measure | None]
    validated: bool  # whether it was compared with published verdicts


@dataclass(frozen=True)
class JudgeTable:
    """Every judge of every benchmark."""

    metrics: tuple[Metric, ...]
    rows: list[JudgeRow]


def judged_by(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Every benchmark with each of its judges, in the order of the configuration."""
    pairs = []
    for name, benchmark in evaluation.benchmarks.items():
        judges = benchmark.judge or evaluation.judge
        pairs += [(name, judge) for judge in ([judges] if isinstance(judges, str) else judges)]
    return pairs


def judge_table(validation: list[dict], config: Config) -> JudgeTable:
    """A row a benchmark and judge, from the rows of a Validation table."""
    evaluation = config.evaluation
    measured = {(row["judge"], row["benchmark"], row["metric"]): row for row in validation}
    rows = []
    for name, judge_name in judged_by(evaluation):
        benchmark, judge = evaluation.benchmarks[name], evaluation.judges[judge_name]
        its_rows = [measured.get((judge_name, name, metric.name)) for metric in AGREEMENT]
        rows.append(
            JudgeRow(
                judge=judge_name,
                benchmark=name,
                model=judge.endpoint.model if judge.endpoint else judge.path,
                how=described(benchmark, judge),
                measures=[measure(row, metric) for row, metric in zip(its_rows, AGREEMENT, strict=True)],
                validated=any(its_rows),
            )
        )
    return JudgeTable(AGREEMENT, rows)


def described(benchmark: Benchmark, judge: Judge) -> str:
    """How a judge judges a benchmark, in a few words."""
    how = judging(benchmark.model_dump(), judge.model_dump(), KINDS[benchmark.kind].JUDGING)
    if how["verdict"] == "score":
        asked = "score 1 to 10"
    else:
        order = {"both": "both orders", "random": "one order a task", "alpacaeval": "AlpacaEval's order"}[how["order"]]
        asked = f"{'letter' if how['verdict'] == 'letter' else 'choice of five'}, {order}"
    return asked + (f", {how['votes']} votes" if how["votes"] > 1 else "") + (", own template" if judge.template else "")


def measure(row: dict | None, metric: Metric) -> Measure | None:
    """A measure as it is shown; None where it is not defined."""
    if row is None or row["value"] is None:
        return None
    ends = None if row["low"] is None else f"{metric.text(row['low']).rstrip('%')} to {metric.text(row['high']).rstrip('%')}"
    return Measure(metric.text(row["value"]), ends, whole(row["n"]))
