"""The report's measures of training: how good the pairs of each iteration were, and what it did."""

from collections.abc import Callable
from dataclasses import dataclass

from drift.config import Config
from drift.judging.protocols import raters_of
from drift.metrics.display import percent, plain
from drift.metrics.gradient_signal import ENOUGH
from drift.report.metric_labels import Measure, interval, measure, without_empty
from drift.report.reading import Catalog, Policy, configured


@dataclass(frozen=True)
class QualityRow:
    """How often the y+ of a policy's pairs beat their y-, by one rater."""

    policy: Policy
    rater: str
    value: str | None  # None: no pair was rated
    interval: str | None
    ties: str | None
    n: int
    total: int


def pair_quality(catalog: Catalog, config: Config) -> list[dict]:
    """The rows of the view for the configured policies and raters."""
    raters = raters_of(config.model_dump(mode="json"))
    rows = configured(catalog.query("SELECT * FROM pair_quality"), config)
    return sorted((row for row in rows if row["rater"] in raters), key=lambda row: raters.index(row["rater"]))


def quality_table(rows: list[dict]) -> list[QualityRow]:
    """Rows of `pair_quality` as they are shown."""
    return [
        QualityRow(
            policy=Policy.of(row),
            rater=row["rater"],
            value=None if row["value"] is None else percent(row["value"]),
            interval=interval(row, percent),
            ties=None if row["ties"] is None else percent(row["ties"]),
            n=row["n"],
            total=row["total"],
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Column:
    """A metric of the diagnostics as a column of the table."""

    metric: str
    moment: str
    label: str
    help: str
    text: Callable[[float], str] = plain


COLUMNS = (
    Column("pair_gradient_norm", "before", "Norm of a pair's gradient", "mean over single pairs; what Lemma 1 bounds"),
    Column(
        "mean_gradient_norm_squared",
        "before",
        "Squared norm of the mean gradient",
        "what the optimizer follows, without bias; the interval is a jackknife's over pairs",
    ),
    Column(
        "gradient_signal_to_noise",
        "before",
        "Signal to noise of a pair",
        "the squared norm of the mean gradient over the variance of single ones; of a step as many times as much as it has pairs",
    ),
    Column(
        "kl_previous", "after", "KL from the policy before", "nats a token, on the policy's own replies to held-out prompts"
    ),
    Column("kl_initial", "after", "KL from the first policy", "the same, from the policy that the method started from"),
    Column("kl_logged_previous", "after", "KL from the policy before, logged", "along logged replies that disappointed"),
    Column("kl_logged_initial", "after", "KL from the first policy, logged", "along logged replies that disappointed"),
    Column("chosen_logp_fell", "after", "y+ less likely", "share of pairs whose y+ is less likely than before", percent),
)


@dataclass(frozen=True)
class DiagnosticsTable:
    """A row of cells a policy, one a column (None where it was not measured) of those that any of
    them has, and what to keep in mind about them."""

    columns: tuple[Column, ...]
    rows: list[tuple[Policy, list[Measure | None]]]
    cautions: list[str]


def diagnostics_table(catalog: Catalog, config: Config) -> DiagnosticsTable:
    """What every iteration of the configured policies did."""
    found: dict[Policy, dict[tuple[str, str], dict]] = {}
    for row in configured(catalog.query("SELECT * FROM diagnostics"), config):
        found.setdefault(Policy.of(row), {})[row["metric"], row["moment"]] = row
    columns, rows = without_empty(
        COLUMNS,
        [
            [measure(measured.get((column.metric, column.moment)), column.text) for column in COLUMNS]
            for measured in found.values()
        ],
    )
    pairs = {policy: row["n"] for policy, measured in found.items() if (row := measured.get(("pair_gradient_norm", "before")))}
    return DiagnosticsTable(columns, list(zip(found, rows, strict=True)), cautions(pairs, config))


def cautions(pairs: dict[Policy, int], config: Config) -> list[str]:
    """What the numbers of pairs forbid to conclude; `pairs`: whose gradients were measured."""
    said = []
    if pairs and min(pairs.values()) < ENOUGH:
        said.append(
            f"Gradients were measured on as few as {min(pairs.values())} pairs. Below {ENOUGH} their squared norm and signal to "
            "noise say next to nothing; raise training.diagnostics.pairs, or give the iteration more pairs."
        )
    if len(set(pairs.values())) > 1:
        counts = ", ".join(f"{policy.named(config)}: {n}" for policy, n in pairs.items())
        said.append(f"Gradients were measured on different numbers of pairs ({counts}), so that their precision differs.")
    return said
