"""The report on the data: agreement of labels, and benchmark prompts in the conversations."""

from dataclasses import dataclass, field

from drift.config import Config
from drift.labelers.agreement import METRICS
from drift.report.excerpts import Excerpt, excerpt
from drift.report.reading import Catalog


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval, as text."""

    text: str
    interval: str


@dataclass(frozen=True)
class Agreement:
    """How far a labeler agrees with a reference on one label; an undefined estimate is None."""

    labeler: str
    reference: str
    target: str
    n: int  # replies that both have labelled
    positives: int  # those to which the reference gives the label
    estimates: dict[str, Estimate | None] = field(default_factory=dict)


@dataclass(frozen=True)
class AgreementTable:
    """Every labeler and every reference."""

    metrics: list[str]
    rows: list[Agreement]


def agreement_table(catalog: Catalog) -> AgreementTable:
    """Agreement of every labeler with every reference: a row a label, a column a metric."""
    agreements: dict[tuple, Agreement] = {}
    for row in catalog.query("SELECT * FROM agreement ORDER BY labeler, reference, target"):
        key = (row["labeler"], row["reference"], row["target"])
        agreement = agreements.setdefault(key, Agreement(*key, row["n"], row["positives"]))
        agreement.estimates[row["metric"]] = (
            None if row["value"] is None else Estimate(f"{row['value']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}")
        )
    return AgreementTable(list(METRICS), list(agreements.values()))


@dataclass(frozen=True)
class Quarantined:
    """A candidate for a pool that holds a benchmark's prompt."""

    prompt_id: str
    benchmark: str
    task: str
    how: str
    evidence: Excerpt


@dataclass(frozen=True)
class Contamination:
    """Benchmark prompts in the conversations."""

    counts: list[dict]  # candidates left out, n by pool, benchmark and how
    examples: list[Quarantined]
    late: list[dict]  # benchmarks that were not kept out: tasks held, of how many, by how many rows


def contamination(catalog: Catalog, config: Config) -> Contamination:
    """What was left out of the pools, examples picked by hash, and what training rows hold of the
    benchmarks that were not kept out."""
    found = _of_all_data("quarantine", "pool, prompt_id, benchmark, task, how, evidence")
    counts = catalog.query(
        f"SELECT pool, benchmark, how, count(*) AS n FROM ({found}) GROUP BY ALL ORDER BY ALL", config.iterations
    )
    examples = catalog.query(
        f"SELECT prompt_id, benchmark, task, how, evidence FROM ({found}) ORDER BY sha256(pool || prompt_id) LIMIT 5",
        config.iterations,
    )
    return Contamination(
        counts,
        [Quarantined(**row | {"evidence": excerpt(row["evidence"])}) for row in examples],
        late_tasks(catalog, config),
    )


def _of_all_data(view: str, columns: str) -> str:
    """The query of a view's rows and of what came after the start, up to an iteration: each once,
    as later data hold those of the start again."""
    return f"SELECT {columns} FROM {view} UNION SELECT {columns} FROM later_{view} WHERE iteration <= ?"


def late_tasks(catalog: Catalog, config: Config) -> list[dict]:
    """Of the benchmarks that were not kept out: how many tasks are held, of how many, by how many
    training rows."""
    held = catalog.query(
        f"""
        SELECT
            benchmark,
            any_value(tasks) AS tasks,
            count(DISTINCT found.task) AS held,
            count(found.task) AS rows
        FROM (SELECT benchmark, count(*) AS tasks FROM tasks GROUP BY ALL)
        LEFT JOIN ({_of_all_data("contamination", "pool, prompt_id, benchmark, task")}) AS found USING (benchmark)
        GROUP BY ALL
        ORDER BY benchmark
        """,
        config.iterations,
    )
    late = {name for name, benchmark in config.evaluation.benchmarks.items() if not benchmark.keep_out}
    return [row for row in held if row["benchmark"] in late]
