"""Which comparisons a run declares to be primary: the one place that resolves evaluation.primary.

Rules and the report read it, so it imports no library of the stages.
"""

from collections.abc import Sequence
from typing import Any

from drift import benchmarks
from drift.config import ConfigError, unknown
from drift.layout import BASE
from drift.metrics import shown
from drift.metrics.display import Metric
from drift.names import HELDOUT_PAIRS
from drift.settings.evaluation import PrimaryFamily


def family(config: dict[str, Any]) -> PrimaryFamily:
    """The primary family of the validated configuration. ConfigError for a metric that the
    benchmark does not have."""
    evaluation, methods = config["evaluation"], config["methods"]
    rows, named = evaluation["benchmarks"], evaluation["primary"]["metrics"]
    if named is None:
        metrics = {name: [metric.name for metric in measured(row["kind"]) if metric.headline] for name, row in rows.items()}
    else:
        metrics = {name: [metric] for name, metric in named.items()}
        for name, metric in named.items():
            # Of held-out corrections the headline alone: margins grow with beta and lengths.
            pairs = [one for one in shown.PAIRS if one.headline]
            known = [one.name for one in (pairs if name == HELDOUT_PAIRS else measured(rows[name]["kind"]))]
            if metric.partition(":")[0] not in known:
                raise ConfigError(f"evaluation.primary.metrics.{name}: {unknown(metric, known)}")
    against = evaluation["primary"]["against"] or (methods[0] if len(methods) > 1 else BASE)
    return PrimaryFamily(metrics=metrics, against=against)


def measured(kind: str) -> Sequence[Metric]:
    """The metrics of verdicts on a kind of benchmark, its own first."""
    return [*benchmarks.metrics_shown(kind), *shown.JUDGED]
